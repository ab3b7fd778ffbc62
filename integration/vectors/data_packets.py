#!/usr/bin/env python3
"""Writes data_packets.txt: sealed packets made by an implementation that shares nothing with the daemon's (python3-cryptography),
from docs/reference/tunnel-protocol.md alone. One line each:
aead key iv type flags index counter plaintext packet   (hex, aead and type as in the tables; "-" is an empty plaintext)
Run: integration/vectors/data_packets.py > integration/vectors/data_packets.txt"""
import hashlib
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


def stream(label, n):
    return hashlib.shake_128(label.encode()).digest(n)


def packet(aead, key, iv, kind, flags, index, counter, text):
    header = bytes([kind]) + flags.to_bytes(3, "big") + struct.pack(">IQ", index, counter)
    nonce = bytes(a ^ b for a, b in zip(iv, bytes(4) + counter.to_bytes(8, "big")))
    cipher = AESGCM(key) if aead == 1 else ChaCha20Poly1305(key)
    return header + cipher.encrypt(nonce, text, header)


def main():
    case = 0
    for aead, key_bytes in ((1, 16), (2, 32)):
        for kind in (0x80, 0x84, 0x85, 0x89):
            for length in (0, 1, 20, 1280):
                name = f"{aead}/{kind}/{length}"
                key, iv, text = stream(name + "k", key_bytes), stream(name + "i", 12), stream(name + "t", length)
                flags, index = (0, 1, 0xFFFFFF)[case % 3], int.from_bytes(stream(name + "x", 4), "big")
                counter = (case % 9) << 56 | (1, 2, 0xFFFFFFFF, (1 << 56) - 1)[case % 4]
                p = packet(aead, key, iv, kind, flags, index, counter, text)
                print(aead, key.hex(), iv.hex(), f"{kind:02x}", f"{flags:06x}", f"{index:08x}", f"{counter:016x}",
                      text.hex() or "-", p.hex())
                case += 1


main()
