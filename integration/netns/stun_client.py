#!/usr/bin/env python3
"""stun_client.py TARGET PORT COUNT SOURCE...: COUNT STUN Binding requests from these addresses in turn, each as long as the longest
answer, as fast as they go; before them one of 20 bytes from each, which no answer may exceed. Prints what came back as JSON."""
import json
import os
import select
import socket
import struct
import sys
import time
import zlib

MAGIC, ANSWER_BYTES_MAX = 0x2112A442, 52
PADDING, FINGERPRINT, FINGERPRINT_XOR = 0x0026, 0x8028, 0x5354554E
QUIET_S = 0.7  # after the last answer


def request(long):
    body = struct.pack("!HH", PADDING, ANSWER_BYTES_MAX - 32) + bytes(ANSWER_BYTES_MAX - 32) if long else b""
    head = struct.pack("!HHI", 1, len(body) + 8 if long else 0, MAGIC) + os.urandom(12)
    if not long:
        return head
    crc = zlib.crc32(head + body) ^ FINGERPRINT_XOR
    return head + body + struct.pack("!HHI", FINGERPRINT, 4, crc)


class Asker:
    def __init__(self, target, sources):
        self.sockets = {}
        for s in sources:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.bind((s, 0))
            sock.connect(target)
            sock.setblocking(False)
            self.sockets[sock] = 0

    def ask(self, n, long):
        """-> (answers, the longest of them)"""
        asked, sockets = set(), list(self.sockets)
        answers, longest = 0, 0
        for i in range(n):
            r = request(long)
            asked.add(r[8:20])
            sockets[i % len(sockets)].send(r)
        while ready := select.select(sockets, [], [], QUIET_S)[0]:
            for s in ready:
                data = s.recv(2048)
                if data[:2] == b"\x01\x01" and data[8:20] in asked:
                    asked.remove(data[8:20])
                    answers, longest = answers + 1, max(longest, len(data))
        return answers, longest


def main():
    target, port, count, *sources = sys.argv[1:]
    asker = Asker((target, int(port)), sources)
    short, _ = asker.ask(len(sources), False)
    t = time.monotonic()
    answers, longest = asker.ask(int(count), True)
    print(json.dumps({"short_answers": short, "asked": int(count), "answers": answers, "longest": longest, "request": ANSWER_BYTES_MAX,
                      "seconds": time.monotonic() - t}))


main()
