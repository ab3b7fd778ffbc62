"""A router's port mapping: NAT-PMP (RFC 6886) and PCP MAP (RFC 6887) on UDP 5351 of its LAN address, kept in the box's nft map `pmp`.
pmp_server.py PUBLIC_IP LAN_IP"""
import socket
import struct
import subprocess
import sys
import time

PORT, LIFE_MAX = 5351, 7200


class Mappings:
    def __init__(self):
        self.ports = {}  # (proto, address, inner port) -> outer port

    @staticmethod
    def nft(verb, element):
        subprocess.run(["nft", verb, "element", "ip", "nat_box", "pmp", "{ " + element + " }"], capture_output=True)

    def ask(self, proto, ip, port, wanted, life):
        """-> the outer port, 0 when the mapping was given back."""
        key = (proto, ip, port)
        if old := self.ports.pop(key, None):
            self.nft("delete", f"{proto} . {old}")
        if not life:
            return 0
        used = {v for k, v in self.ports.items() if k[0] == proto}
        outer = old or wanted or 40000 + port * 7919 % 20000
        while outer in used:
            outer = outer % 65000 + 1
        self.ports[key] = outer
        self.nft("add", f"{proto} . {outer} timeout {life}s : {ip} . {port}")
        return outer


def answer(m, d, ip, public, epoch):
    if len(d) >= 2 and d[:2] == b"\0\0":
        return struct.pack("!BBHI4s", 0, 128, 0, epoch, socket.inet_aton(public))
    if len(d) >= 12 and d[0] == 0 and d[1] in (1, 2):
        port, wanted, life = struct.unpack("!HHI", d[4:12])
        life = min(life, LIFE_MAX)
        outer = m.ask({1: "udp", 2: "tcp"}[d[1]], ip, port, wanted, life)
        return struct.pack("!BBHIHHI", 0, 128 + d[1], 0, epoch, port, outer, life)
    if len(d) >= 60 and d[:2] == b"\2\1":
        life = min(struct.unpack("!I", d[4:8])[0], LIFE_MAX)
        port, wanted = struct.unpack("!HH", d[40:44])
        outer = m.ask({17: "udp", 6: "tcp"}.get(d[36], "udp"), ip, port, wanted, life)
        mapped = b"\0" * 10 + b"\xff\xff" + socket.inet_aton(public)
        return struct.pack("!BBBBII12x", 2, 129, 0, 0, life, epoch) + d[24:36] + struct.pack("!B3xHH", d[36], port, outer) + mapped
    return None


def main():
    public, lan = sys.argv[1:]
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((lan, PORT))
    print("ready", flush=True)
    began, m = time.time(), Mappings()
    while True:
        d, who = s.recvfrom(1500)
        if a := answer(m, d, who[0], public, int(time.time() - began)):
            s.sendto(a, who)


if __name__ == "__main__":
    main()
