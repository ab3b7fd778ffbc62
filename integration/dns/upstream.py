#!/usr/bin/env python3
"""upstream.py FILE ADDR:PORT [--ttl N] [--back ADDR:PORT [--all-back]] [--lies]: an upstream name server as the cases file describes it ("mock_upstream"), with
faults on purpose. Names it knows besides those of the file:
  8.8.8.8.in-addr.arpa PTR   dns.example.
  spoof.*                    answers that must not be believed: wrong id, wrong question, wrong case
  *.loop.example             asked of --back, as an upstream does that forwards to its client
--ttl replaces every TTL (0 or more). --all-back: every name is asked of --back. --lies: whatever is asked gets answers that must not be
believed, as spoof.* does, and one with records about another name, with the right id."""
import argparse
import json
import re
import socket
import struct
import threading
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "RRSIG": 46}


def wire(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.strip(".").split(".") if x) + b"\0"


def rdata(kind, text):
    if kind == "A":
        return socket.inet_aton(text)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, text)
    if kind in ("CNAME", "NS", "PTR"):
        return wire(text)
    if kind == "TXT":
        t = text.strip('"').encode()
        return bytes([len(t)]) + t
    if kind == "RRSIG":  # the file leaves it out: any, well-formed
        return struct.pack(">HBBIIIH", 1, 13, 2, 300, 2 ** 31 - 1, 0, 4711) + wire("example.") + bytes(64)
    raise ValueError(f"no rdata for {kind}")


def soa(zone, minimum):
    data = wire("ns." + zone) + wire("hostmaster." + zone) + struct.pack(">5I", 1, 7200, 1800, 86400, minimum)
    return wire(zone) + struct.pack(">HHIH", 6, 1, minimum, len(data)) + data


class Upstream:
    def __init__(self, spec, ttl, back, all_back=False, lies=False):
        self.answers = {k.lower(): v for k, v in spec.items()}
        self.answers.setdefault("8.8.8.8.in-addr.arpa. ptr", ["8.8.8.8.in-addr.arpa. 300 PTR dns.example."])
        self.ttl, self.back, self.all_back, self.lies = ttl, back, all_back, lies

    def record(self, text):
        owner, ttl, kind, data = text.split(" ", 3)
        data = rdata(kind, data)
        return wire(owner) + struct.pack(">HHIH", TYPES[kind], 1, int(ttl) if self.ttl is None else self.ttl, len(data)) + data

    def reply(self, q, end, rcode=0, answers=(), authority=(), tc=False):
        head = q[:2] + struct.pack(">5H", 0x8180 | (0x200 if tc else 0) | rcode, 1, len(answers), len(authority), 0)
        return head + q[12:end] + b"".join(answers) + b"".join(authority)

    def answer(self, q, tcp):
        """-> the messages to send back, in order."""
        labels, p = [], 12
        while q[p]:
            labels.append(q[p + 1:p + 1 + q[p]].decode("latin1").lower())
            p += 1 + q[p]
        end, kind = p + 5, struct.unpack(">H", q[p + 1:p + 3])[0]
        name = ".".join(labels) + "."
        zone = labels[-1] + "." if labels else "."
        if self.all_back or name.endswith("loop.example."):
            return self.around(q)
        if self.lies or labels and labels[0] == "spoof":
            good = self.reply(q, end, 0, [self.record(f"{name} 300 A 192.0.2.66")])
            other = q[:12] + wire("other.example.") + q[end - 4:end]
            swapped = good[:12] + good[12:end].swapcase() + good[end:]
            foreign = self.reply(q, end, 0, [self.record(f"{name} 300 A 192.0.2.66"), self.record("www.bank.example. 300 A 192.0.2.66")])
            return [bytes([good[0] ^ 255]) + good[1:], self.reply(other, len(other), 0, [self.record("other.example. 300 A 192.0.2.66")]),
                    foreign if self.lies else swapped]
        said = self.answers.get(f"{name} {next((k for k, v in TYPES.items() if v == kind), kind)}".lower())
        if said is None:
            known = any(k.startswith(name + " ") for k in self.answers)
            return [self.reply(q, end, 0 if known else 3, (), [soa(zone, 60)])]
        if isinstance(said, list):
            return [self.reply(q, end, 0, [self.record(r) for r in said])]
        return self.described(q, end, name, zone, said, tcp)

    def described(self, q, end, name, zone, said, tcp):
        number = int((re.findall(r"\d+", said) or ["60"])[0])
        if said.startswith(("NODATA", "NXDOMAIN")):
            return [self.reply(q, end, 3 if said.startswith("NX") else 0, (), [soa(zone, number)])]
        if said.startswith("SERVFAIL"):
            return [self.reply(q, end, 2)]
        if said.startswith("REFUSED"):
            return [self.reply(q, end, 5)]
        if said.startswith("answers after"):
            time.sleep(number)
            return [self.reply(q, end, 0, [self.record(f"{name} 300 A 192.0.2.90")])]
        if said.startswith("TC"):
            many = [self.record(f"{name} 300 A 192.0.2.{i + 1}") for i in range(number)]
            return [self.reply(q, end, 0, many) if tcp else self.reply(q, end, tc=True)]
        raise ValueError(f"mock_upstream says {said!r} about {name}")

    def around(self, q):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.sendto(q, self.back)
            try:
                return [s.recv(4096)]
            except OSError:
                return []

    def udp(self, at):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(at)
        while True:
            q, who = s.recvfrom(4096)
            threading.Thread(target=lambda q=q, who=who: [s.sendto(m, who) for m in self.answer(q, False)], daemon=True).start()

    def tcp(self, at):
        listener = socket.create_server(at, reuse_port=False)
        while True:
            threading.Thread(target=self.connection, args=(listener.accept()[0],), daemon=True).start()

    def connection(self, c):
        with c, c.makefile("rb") as f:
            while len(head := f.read(2)) == 2:
                q = f.read(struct.unpack(">H", head)[0])
                for m in self.answer(q, True):
                    c.sendall(struct.pack(">H", len(m)) + m)

    def serve(self, at):
        threading.Thread(target=self.tcp, args=(at,), daemon=True).start()
        self.udp(at)


def address(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("file")
    args.add_argument("at", type=address)
    args.add_argument("--ttl", type=int)
    args.add_argument("--back", type=address)
    args.add_argument("--all-back", action="store_true")
    args.add_argument("--lies", action="store_true")
    a = args.parse_args()
    with open(a.file) as f:
        Upstream(json.load(f).get("mock_upstream", {}), a.ttl, a.back, a.all_back, a.lies).serve(a.at)
