#!/usr/bin/env python3
"""tap_reader.py FILE | --listen SOCKET FRAMES: reads a dnstap Frame Stream, from a file or as the receiver on a unix socket, and prints one line of
JSON per frame. Written from the specifications alone; exit status 1 with a word about it when the stream is not as they say."""
import ipaddress
import json
import os
import socket
import struct
import sys

READY, ACCEPT, START, STOP, FINISH = 4, 1, 2, 3, 5
CONTENT = b"protobuf:dnstap.Dnstap"


def need(fine, what):
    if not fine:
        sys.exit(f"tap_reader: {what}")


def take(f, n):
    data = b""
    while len(data) < n:
        more = f.read(n - len(data))
        need(more, f"ends after {len(data)} of {n} octets")
        data += more
    return data


def control(f, wanted):
    need(take(f, 4) == bytes(4), "no control frame where one must be")
    return control_body(f, wanted)


def control_body(f, *wanted):
    body = take(f, struct.unpack(">I", take(f, 4))[0])
    kind = struct.unpack(">I", body[:4])[0]
    need(kind in wanted, f"control frame {kind}, expected {wanted}")
    if kind in (READY, START):
        need(body[4:] == struct.pack(">II", 1, len(CONTENT)) + CONTENT, f"content type: {body[4:]}")
    return kind


def fields(data):
    """-> {number: value} of one protobuf message."""
    out, p = {}, 0

    def varint():
        nonlocal p
        v = shift = 0
        while True:
            b = data[p]
            p += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v
    while p < len(data):
        key = varint()
        if key & 7 == 0:
            out[key >> 3] = varint()
        elif key & 7 == 2:
            n = varint()
            need(p + n <= len(data), "a field ends behind its message")
            out[key >> 3] = data[p:p + n]
            p += n
        elif key & 7 == 5:
            out[key >> 3] = struct.unpack("<I", data[p:p + 4])[0]
            p += 4
        else:
            need(False, f"wire type {key & 7}")
    return out


def show(frame):
    top = fields(frame)
    need(top.get(15) == 1, "no message")
    m = fields(top[14])
    message = m.get(10) or m.get(14)
    labels, p = [], 12
    while message[p]:
        labels.append(message[p + 1:p + 1 + message[p]].decode())
        p += 1 + message[p]
    print(json.dumps({"identity": top.get(1, b"").decode(), "version": top[2].decode(), "type": m[1], "family": m[2], "protocol": m[3],
                      "client": str(ipaddress.ip_address(m[4])), "port": m[6], "asked": m[8] + m[9] / 1e9, "answered": m[12] + m[13] / 1e9 if 12 in m else None,
                      "name": ".".join(labels), "id": struct.unpack(">H", message[:2])[0], "rcode": message[3] & 15, "reply": bool(message[2] & 128)}), flush=True)


def frames(f, most=None):
    n = 0
    while most is None or n < most:
        size = struct.unpack(">I", take(f, 4))[0]
        if not size:
            control_body(f, STOP)
            return True
        show(take(f, size))
        n += 1
    return False


def main():
    if sys.argv[1] != "--listen":
        with open(sys.argv[1], "rb") as f:
            control(f, START)
            frames(f)
            need(not f.read(), "octets behind the end")
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[2] + ".new")
    listener.listen(1)
    os.rename(sys.argv[2] + ".new", sys.argv[2])
    f = listener.accept()[0].makefile("rwb", buffering=0)
    control(f, READY)
    f.write(struct.pack(">IIIII", 0, 12 + len(CONTENT), ACCEPT, 1, len(CONTENT)) + CONTENT)
    control(f, START)
    if frames(f, int(sys.argv[3])) or control(f, STOP):
        f.write(struct.pack(">III", 0, 4, FINISH))


if __name__ == "__main__":
    main()
