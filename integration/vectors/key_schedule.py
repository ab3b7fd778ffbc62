#!/usr/bin/env python3
"""Test vectors of the tunnel's key schedule, computed from the text of docs/reference/tunnel-protocol.md with nothing but
hashlib and hmac: independent of the C++ code. Prints what tunnel/session/key_schedule_vectors.inc holds; `--check FILE` compares."""
import hashlib
import hmac
import struct
import sys

AEAD_KEY_BYTES = {1: 16, 2: 32}
CASES = [
    # cluster, client, server, leaf seeds, indices, aead, psk
    ("mesh.example", "edge-a", "edge-b", b"leaf of a", b"leaf of b", 0x01020304, 0xFFFFFFFE, 1, b""),
    ("mesh.example", "edge-a", "edge-b", b"leaf of a", b"leaf of b", 0x01020304, 0xFFFFFFFE, 2, b"an old friend's secret of 32 b.."),
    ("t", "n", "a-node-with-a-much-longer-name.example", b"", b"\x00" * 700, 1, 2, 1, b"\x80" * 64),
]


def field(b):
    return struct.pack(">I", len(b)) + b


def expand(prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def psk_id(psk):
    return hmac.new(psk, b"edgemesh psk id", hashlib.sha256).digest()[:8] if psk else b""


def vector(case):
    cluster, client, server, leaf_c, leaf_s, index_c, index_s, aead, psk = case
    secret = hashlib.sha256(b"exported " + repr(case[:3]).encode()).digest()
    parts = [b"\x01", cluster.encode(), client.encode(), server.encode(), hashlib.sha256(leaf_c).digest(),
             hashlib.sha256(leaf_s).digest(), struct.pack(">I", index_c), struct.pack(">I", index_s), bytes([aead]), psk_id(psk)]
    context = hashlib.sha256(b"".join(map(field, parts))).digest()
    prk = hmac.new(psk or bytes(32), secret, hashlib.sha256).digest()
    row = [cluster, client, server, hashlib.sha256(leaf_c).hexdigest(), hashlib.sha256(leaf_s).hexdigest(), index_c, index_s, aead,
           psk.hex(), psk_id(psk).hex(), secret.hex(), context.hex()]
    for role in (b"client", b"server"):
        row.append(expand(prk, b"edgemesh " + role + b" key", AEAD_KEY_BYTES[aead]).hex())
        row.append(expand(prk, b"edgemesh " + role + b" iv", 12).hex())
        row.append(hmac.new(expand(prk, b"edgemesh " + role + b" confirm", 32), context, hashlib.sha256).hexdigest())
    return "{" + ", ".join(f"{x}u" if isinstance(x, int) else f'"{x}"' for x in row) + "},\n"


def main():
    text = "".join(map(vector, CASES))
    if sys.argv[1:2] == ["--check"]:
        sys.exit(0 if open(sys.argv[2]).read() == text else "the vectors differ: run this script and look why")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
