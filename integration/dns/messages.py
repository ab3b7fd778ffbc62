"""Generated DNS queries, well-formed and not, and what an answer to one says. Deterministic by seed."""
import random
import socket
import struct

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DS": 43, "DNSKEY": 48, "HTTPS": 65, "TYPE65280": 65280}
ZONE = "cluster.local"


def wire(name):
    return b"".join(bytes([len(x)]) + x.encode("latin-1") for x in name.strip(".").split(".") if x) + b"\0"


def random_case(r, name):
    return "".join(c.upper() if r.random() < .5 else c for c in name)


def option(code, data):
    return struct.pack(">HH", code, len(data)) + data


def opt(size=1232, version=0, flags=0, options=b"", owner=b"\0"):
    return owner + struct.pack(">HHBBHH", 41, size, 0, version, flags, len(options)) + options


class Message:
    """One query: its octets, and in words what is special about it."""

    def __init__(self, data, name, qtype, special=(), well_formed=True):
        self.data, self.name, self.qtype, self.special, self.well_formed = data, name, qtype, set(special), well_formed

    def text(self):
        return f"{self.name} type {self.qtype} {' '.join(sorted(self.special))} {self.data.hex()}"


def pick_name(r, names):
    """-> (name, what is special). names: those of the zone."""
    base = r.choice(names)
    x = r.random()
    if x < .45:
        return base, ()
    if x < .60:
        return r.choice(["no", "x-1", "_tcp", "a.b", "*"]) + "." + base, ()
    if x < .72:
        return base.split(".", r.randrange(1, 3))[-1], ()
    if x < .84:
        parts = base.split(".")
        parts[r.randrange(len(parts) - 2)] = "n" * r.randrange(1, 64)
        return ".".join(parts), ()
    if x < .90:
        return ".".join("l" * r.randrange(1, 9) for _ in range(r.randrange(1, 20))) + "." + ZONE, ()
    if x < .96:
        return r.choice(["www.example.com", "local", "x.local", "cluster.local.example", "com"]), {"outside"}
    return r.choice([ZONE, "svc." + ZONE, "ns.dns." + ZONE, "dns." + ZONE, "dns-version." + ZONE, "pod." + ZONE]), ()


def additional(r):
    """-> (octets, number of records, what is special)."""
    x = r.random()
    if x < .35:
        return b"", 0, {"no-opt"}
    if x < .65:
        return opt(r.choice([0, 511, 512, 1232, 4096, 65535])), 1, ()
    if x < .75:
        return opt(1232, flags=0x8000), 1, {"do"}
    if x < .80:
        return opt(1232, options=option(r.choice([3, 5, 8 if r.random() < .1 else 12, 65001]), bytes(r.randrange(0, 9)))), 1, {"option"}
    if x < .84:
        return opt(1232, options=option(10, bytes(r.randrange(256) for _ in range(r.choice([8, 16, 24, 32]))))), 1, {"cookie"}
    if x < .86:
        return opt(1232, options=option(10, bytes(r.choice([0, 7, 9, 41])))), 1, {"bad-cookie"}
    if x < .90:
        return opt(1232, version=r.choice([1, 255])), 1, {"edns-version"}
    if x < .93:
        return opt() + opt(), 2, {"two-opt"}
    if x < .95:
        return opt(owner=b"\1x\0"), 1, {"opt-owner"}
    if x < .97:
        return opt(options=b"\0\x0a\0\xff\0"), 1, {"option-cut"}
    if x < .985:
        return b"\0" + struct.pack(">HHIH", 1, 1, 5, 4) + bytes(4) + opt(), 2, {"extra-record"}
    return opt(1232, flags=r.randrange(1, 0x8000)), 1, {"edns-z"}


def generate(r, names):
    name, special = pick_name(r, names)
    special = set(special)
    qtype = r.choice([1, 1, 1, 28, 28, 33, 33, *TYPES.values()])
    if r.random() < .02:
        qtype = r.choice([255, 251, 252, 41, 0, 249, 250, 253, 254])
        special.add("meta-type")
    qclass = 1
    if r.random() < .03:
        qclass = r.choice([3, 4, 254, 255, 0, 2])
        special.add("class")
    flags = r.choice([0, 0x100, 0x100, 0x110, 0x120])
    if r.random() < .04:
        flags = r.randrange(65536) & 0x87FF
        special.add("flags")
    if r.random() < .02:
        flags |= r.randrange(1, 16) << 11
        special.add("opcode")
    extra, count, more = additional(r)
    special |= set(more)
    counts = [1, 0, 0, count]
    owner = wire(random_case(r, name))
    well_formed = True
    if len(owner) > 255:
        special.add("long-name")
        well_formed = False
    question = owner + struct.pack(">HH", qtype, qclass)
    data = bytearray(struct.pack(">2H", 0, flags) + struct.pack(">4H", *counts) + question + extra)
    x = r.random()
    if x < .10:
        well_formed = False
        how = r.randrange(6)
        special.add(("cut", "trailing", "flipped", "counts", "pointer", "random")[how])
        if how == 0:
            del data[r.randrange(0, len(data)):]
        elif how == 1:
            data += bytes(r.randrange(256) for _ in range(r.randrange(1, 20)))
        elif how == 2:
            for _ in range(r.randrange(1, 4)):
                data[r.randrange(2, len(data))] ^= 1 << r.randrange(8)
        elif how == 3:
            data[r.choice([5, 7, 9, 11])] = r.randrange(4)
        elif how == 4:
            at = r.randrange(12, 12 + len(owner))
            data[at:12 + len(owner)] = struct.pack(">H", 0xC000 | r.choice([0, 12, at, 100]))
        else:
            data = bytearray(r.randrange(256) for _ in range(r.randrange(0, 80)))
    return Message(bytes(data), name, qtype, special, well_formed)


# ---- answers

def read_name(m, p):
    labels, end, hops = [], None, 0
    while True:
        n = m[p]
        if n >= 192:
            end, p, hops = end or p + 2, (n & 63) << 8 | m[p + 1], hops + 1
            if hops > 64:
                raise ValueError("pointer loop")
            continue
        p += 1
        if not n:
            return ".".join(labels).lower() + ".", end or p
        labels.append(m[p:p + n].decode("latin-1"))
        p += n


def data_of(m, kind, p, n):
    if kind in (2, 5, 12):
        return read_name(m, p)[0]
    if kind == 6:
        a, q = read_name(m, p)
        b, q = read_name(m, q)
        return f"{a} {b} {struct.unpack('>5I', m[q:q + 20])[1:]}"  # the serial is each server's own
    if kind == 33:
        return f"{struct.unpack('>3H', m[p:p + 6])} {read_name(m, p + 6)[0]}"
    return m[p:p + n].hex()


class Answer:
    """rcode, flags and sections of one reply; None-like when there was none (rcode None)."""

    def __init__(self, m):
        self.rcode, self.sections, self.opt, self.flags, self.broken, self.question = None, ([], [], []), None, 0, False, b""
        self.ede = None
        if m is None:
            return
        try:
            self.read(m)
        except (IndexError, struct.error, ValueError):
            self.broken = True

    def read(self, m):
        _, self.flags, qd, *counts = struct.unpack(">6H", m[:12])
        self.rcode = self.flags & 15
        p = 12
        for _ in range(qd):
            start = p
            _, p = read_name(m, p)
            p += 4
            self.question += m[start:p]
        for section, count in zip(self.sections, counts):
            for _ in range(count):
                owner, p = read_name(m, p)
                kind, klass, ttl, n = struct.unpack(">HHIH", m[p:p + 10])
                p += 10
                if p + n > len(m):
                    raise ValueError("cut")
                if kind == 41:
                    self.opt = (klass, ttl >> 16 & 255, m[p:p + n])
                    self.rcode |= ttl >> 24 << 4
                else:
                    section.append((owner, kind, klass, ttl, data_of(m, kind, p, n)))
                p += n
        if p != len(m):
            raise ValueError("octets behind the message")

    def has(self, bit):
        return bool(self.flags & bit)

    def rrset(self, s):
        return sorted((o, k, c, d) for o, k, c, _, d in self.sections[s])

    def text(self):
        if self.broken:
            return "cannot be read"
        if self.rcode is None:
            return "no answer"
        return f"rcode {self.rcode} flags {self.flags:04x} opt {self.opt and self.opt[:2]} {[[(o, k, d) for o, k, _, _, d in s] for s in self.sections]}"


def exchange(addresses, messages, patience=0.25):
    """Sends each message to each address; -> for each address the list of replies (None: none)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        s.settimeout(patience)
        place = {a: i for i, a in enumerate(addresses)}
        got = [[None] * len(messages) for _ in addresses]
        left = len(messages) * len(addresses)
        for n, m in enumerate(messages):
            data = struct.pack(">H", n) + m.data[2:] if len(m.data) >= 2 else m.data
            for a in addresses:
                s.sendto(data, a)
        while left:
            try:
                reply, who = s.recvfrom(65535)
            except OSError:
                break
            n = struct.unpack(">H", reply[:2])[0] if len(reply) > 1 else len(messages)
            if n < len(messages) and got[place[who]][n] is None:
                got[place[who]][n] = reply
                left -= 1
        return got


def seeded(seed):
    return random.Random(seed)
