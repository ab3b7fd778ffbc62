#!/usr/bin/env python3
"""Test vectors of the handshake datagrams and of what opens the door for them, computed from the text of
docs/reference/tunnel-protocol.md with nothing but hashlib and hmac: independent of the C++ code. Prints what
tunnel/session/door_vectors.inc holds; `--check FILE` compares; `--corpus DIR` writes inputs for door_packet_fuzz."""
import hashlib
import hmac
import os
import struct
import sys

from key_schedule import expand

KNOCK, WELCOME, CALL, FRAME = 1, 2, 3, 4
CASES = [
    # exported secret's seed, psk, role of the sender, kind, sender, receiver, counter, payload
    (b"one", b"", b"client", KNOCK, 1, 0, 1, b""),
    (b"one", b"", b"server", WELCOME, 0xFFFFFFFFFFFFFFFF, 1, 2, b""),
    (b"two", b"an old friend's secret of 32 b..", b"server", CALL, 0x0102030405060708, 0x1112131415161718, 0xFFFFFFFF, b"\x01" + bytes(8)),
    (b"two", b"\x80" * 64, b"client", FRAME, 0x0102030405060708, 0x1112131415161718, 3, bytes(range(200)) * 5),
]


def resume_secret(exported, psk):
    return expand(hmac.new(psk or bytes(32), exported, hashlib.sha256).digest(), b"edgemesh resume", 32)


def datagram(secret, role, kind, sender, receiver, counter, payload):
    head = struct.pack(">BBBB8sQQI", 0x87, 1, kind, 0, expand(secret, b"edgemesh door id", 8), sender, receiver, counter) + payload
    return head + hmac.new(expand(secret, b"edgemesh " + role + b" door", 32), head, hashlib.sha256).digest()[:16]


def vector(case):
    seed, psk, role, kind, sender, receiver, counter, payload = case
    exported = hashlib.sha256(b"exported for the door " + seed).digest()
    secret = resume_secret(exported, psk)
    row = [exported.hex(), psk.hex(), secret.hex(), role == b"client", kind, sender, receiver, counter, payload.hex(),
           datagram(secret, role, kind, sender, receiver, counter, payload).hex()]
    shown = [str(x).lower() if isinstance(x, bool) else f"{x}u" if isinstance(x, int) else f'"{x}"' for x in row]
    return "{" + ", ".join(shown) + "},\n"


def corpus(folder):
    for i, (_, _, role, kind, sender, receiver, counter, payload) in enumerate(CASES):
        with open(os.path.join(folder, f"{i}-{role.decode()}"), "wb") as f:
            f.write(datagram(bytes(32), role, kind, sender, receiver, counter, payload))


def main():
    text = "".join(map(vector, CASES))
    if sys.argv[1:2] == ["--check"]:
        sys.exit(0 if open(sys.argv[2]).read() == text else "the vectors differ: run this script and look why")
    if sys.argv[1:2] == ["--corpus"]:
        return corpus(sys.argv[2])
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
