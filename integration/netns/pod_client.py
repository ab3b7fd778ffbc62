#!/usr/bin/env python3
"""Clients for the labs, each printing one JSON object: what a pod saw, nothing about how. Those that are started hundreds of times
are in pod_calls.cc.
  echo HOST PORT                server speaks first, echo, half-close, the tail that comes after it
  stream HOST PORT SECONDS MS   datagrams that far apart on one socket: how many came back, the longest time without one; ends at SIGTERM
  download HOST PORT N [MB/S [BUFFER]]   N bytes over one connection, with its SHA-256 and the longest wait for bytes; no faster than asked;
                                ends at SIGTERM with what came until then
  ping HOST 0 N                 N echo requests one after the other: who answered"""
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time

TIMEOUT = 8
STOP = []  # not empty after SIGTERM


def resolve(host, port, kind):
    # a fresh look-up each time, as a program that keeps no cache does
    return socket.getaddrinfo(host, port, type=kind)[0]


def connect(host, port, timeout=TIMEOUT):
    family, kind, proto, _, where = resolve(host, port, socket.SOCK_STREAM)
    s = socket.socket(family, kind, proto)
    s.settimeout(timeout)
    s.connect(where)
    return s


def attempt(function, *args):
    try:
        return function(*args)
    except OSError as e:
        return "!" + (e.strerror or str(e))


def tally(answers, seconds):
    counts = {}
    for a in answers:
        counts[a] = counts.get(a, 0) + 1
    return {"answers": answers, "counts": counts, "errors": sum(a.startswith("!") for a in answers), "seconds": seconds}


def echo(host, port):
    s = connect(host, port)
    f = s.makefile("rb")
    banner = f.readline().decode().strip()  # nothing sent yet: the server speaks first
    s.sendall(b"hello\n")
    back = f.readline()
    block = bytes(range(256)) * 1024
    s.sendall(block)
    s.shutdown(socket.SHUT_WR)
    rest = f.read()
    return {"banner": banner, "echo": back == b"hello\n", "after_half_close": rest == block + f"{len(block) + 6} bytes\n".encode(),
            "tail": rest[len(block):].decode(errors="replace").strip()}


def stream(host, port, seconds, every_ms):
    """Datagrams at that pace on one socket, until SIGTERM; how many came back, and the longest time without one, which ended at that
    moment of the monotonic clock."""
    family, kind, proto, _, where = resolve(host, port, socket.SOCK_DGRAM)
    n, sent, back, longest, at = int(float(seconds) * 1000 / float(every_ms)), 0, set(), 0, 0
    with socket.socket(family, kind, proto) as s:
        s.connect(where)
        s.setblocking(False)
        begun = heard = time.monotonic()
        while sent < n and not STOP:
            with contextlib.suppress(OSError):  # an ICMP error of an earlier one: it counts as lost
                s.send(b"%d" % sent)
            sent += 1
            last = sent == n or STOP
            until = begun + sent * float(every_ms) / 1000 + (0.5 if last else 0)
            while select.select([s], [], [], max(0, until - time.monotonic()))[0]:
                try:
                    back.add(s.recv(65536).partition(b"\n")[2])
                except OSError:
                    continue
                now = time.monotonic()
                if now - heard > longest:
                    longest, at = now - heard, now
                heard = now
        end = time.monotonic() - (0.5 if last else 0)
    return {"sent": sent, "back": len(back), "longest_gap": max(longest, end - heard), "at": at if longest > end - heard else end}


def download(host, port, n, mb_per_s="0", buffer="0"):
    """n bytes, or as many as came until SIGTERM; the longest wait for some ended at that moment of the monotonic clock."""
    t = time.monotonic()
    rate = float(mb_per_s) * 1e6
    digest, got, longest, at = hashlib.sha256(), 0, 0, 0
    with connect(host, port, timeout=30) as s:
        if int(buffer):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(buffer))
        s.sendall(f"GET /bytes?n={n} HTTP/1.0\r\n\r\n".encode())
        f = s.makefile("rb")
        while f.readline().strip():
            pass
        asked = time.monotonic()
        while not STOP and (data := f.read1(1 << 18)):  # what there is: to wait for all of it would add waits up
            now = time.monotonic()
            if now - asked > longest:
                longest, at = now - asked, now
            got += len(data)
            digest.update(data)
            if rate:
                time.sleep(max(0, got / rate - (time.monotonic() - t)))
            asked = time.monotonic()
    return {"bytes": got, "sha256": digest.hexdigest(), "seconds": time.monotonic() - t, "at": at, "longest_wait": longest}


def ping_once(host, number):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        s.settimeout(1)
        head, text = [0x0800, 0, os.getpid() & 0xffff, number], b"edgemesh"
        total = sum(head) + sum(struct.unpack("!4H", text))
        head[1] = ~(total % 0xffff) & 0xffff
        s.sendto(struct.pack("!4H", *head) + text, (host, 0))
        while True:
            data, (source, _) = s.recvfrom(2048)
            kind, _, ident, seq = struct.unpack("!4H", data[20:28])
            if (kind, ident, seq) == (0, head[2], number):
                return source


def ping(host, port, n):
    t = time.monotonic()
    return tally([attempt(ping_once, host, i + 1) for i in range(int(n))], time.monotonic() - t)


def main():
    what = {"echo": echo, "download": download, "ping": ping, "stream": stream}
    name, host, port, *rest = sys.argv[1:]
    if name in ("stream", "download"):
        signal.signal(signal.SIGTERM, lambda *_: STOP.append(True))
    try:
        print(json.dumps(what[name](host, int(port), *rest)))
    except OSError as e:
        print(json.dumps({"error": e.strerror or str(e), "at": time.monotonic()}))
        sys.exit(1)


if __name__ == "__main__":
    main()
