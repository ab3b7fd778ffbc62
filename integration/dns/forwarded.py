#!/usr/bin/env python3
"""forwarded.py [--build DIR] [--count N] [--seed S] [--show N]: the same questions about a signed zone of the outside to our name server and
to unbound, which both forward to one knot that serves it. What is said must be the same: code, flags, answer and authority sections, no
TTL above the authority's. Differences need a reason (DIFFERENCES below); exit status 1 when one has none."""
import argparse
import collections
import json
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "conformance", "dns"), os.path.join(HERE, "..", "benches"), os.path.join(HERE, "..", "netns")]
import dns_peers
from differential import Servers, ask_all
from every import free_port
from messages import TYPES, Message, opt, random_case, seeded, struct, wire

ZONE, TTL, NEGATIVE = "world.example", 300, 20
BATCH = 100
ASKED = {**TYPES, "CAA": 257, "TLSA": 52, "DNAME": 39, "RRSIG": 46, "NSEC": 47}


def write_zone(d):
    """-> the names worth asking for."""
    lines, names = [f"$ORIGIN {ZONE}.", f"$TTL {TTL}", f"@ SOA ns hostmaster 1 7200 1800 86400 {NEGATIVE}", "@ NS ns", "ns A 192.0.2.1", "@ MX 10 a1", '@ TXT "v=spf1 -all"'], [""]
    for i in range(120):
        lines += [f"a{i} A 192.0.2.{i % 250 + 1}"] + [f"a{i} AAAA 2001:db8::{i + 1:x}"] * (i % 3 == 0)
        lines += [f'a{i} TXT "text {i}" "second"'] * (i % 7 == 0) + [f"a{i} MX {i} a{(i + 1) % 120}"] * (i % 11 == 0)
        lines += [f"c{i} CNAME a{i}", f"cc{i} CNAME c{i}", f"cx{i} CNAME missing{i}"]
        names += [f"a{i}", f"c{i}", f"cc{i}", f"cx{i}", f"n{i}", f"x.a{i}", f"w{i}.wild", f"deep{i}.ent"]
    lines += ["*.wild A 192.0.2.99", "*.wild TXT \"wild\"", "deep1.ent A 192.0.2.98", "_sip._tcp SRV 1 2 5060 a1", "_sip._tcp SRV 2 2 5060 a2",
              "https HTTPS 1 . alpn=h2 port=8443", "caa CAA 0 issue \"ca.example\"", "odd TYPE65280 \\# 4 01020304", "_443._tcp.a1 TLSA 3 1 1 " + "ab" * 32,
              "d DNAME ent", "a\\.b A 192.0.2.97", "a\\255b A 192.0.2.96", "long." + "l" * 63 + " A 192.0.2.95"] + [f"many A 198.51.100.{i}" for i in range(1, 60)]
    names += ["wild", "ent", "_sip._tcp", "_tcp", "https", "caa", "odd", "_443._tcp.a1", "d", "deep1.d", "many", "long." + "l" * 63, "ns", "no.such.thing"]
    with open(os.path.join(d, "world.zone"), "w") as f:
        f.write("\n".join(lines) + "\n")
    return [f"{n}.{ZONE}" if n else ZONE for n in names]


KNOT = """server:
    rundir: {d}
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {d}
log:
  - target: stderr
    any: error
policy:
  - id: ours
    algorithm: ecdsap256sha256
zone:
  - domain: {zone}
    file: {d}/world.zone
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    dnssec-signing: on
    dnssec-policy: ours
"""
UNBOUND = """server:
  interface: 127.0.0.1
  port: {port}
  num-threads: 1
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{d}"
  use-syslog: no
  logfile: "{d}/log"
  module-config: "iterator"
  do-not-query-localhost: no
  qname-minimisation: no
  minimal-responses: no
  max-udp-size: 4096
  edns-buffer-size: 4096
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
remote-control:
  control-enable: no
"""


def is_signed(reply):
    return reply and not reply[3] & 15 and reply[7] == 2  # the SOA and its signature


class Place(Servers):
    def __init__(self, d, build):
        self.names = write_zone(d)
        super().__init__(Message(b"\0\0\1\0\0\1\0\0\0\0\0\1" + wire(ZONE) + b"\0\x06\0\1" + opt(4096, flags=0x8000), "", 6), is_signed)
        for who in ("knot", "unbound"):
            os.makedirs(os.path.join(d, who))
        os.rename(os.path.join(d, "world.zone"), os.path.join(d, "knot", "world.zone"))
        knot, unbound, us = free_port(), free_port(), free_port()
        conf = dns_peers.put(os.path.join(d, "knot"), "conf", KNOT.format(d=os.path.join(d, "knot"), port=knot, zone=ZONE))
        self.start(d, "knot", [dns_peers.program("knot"), "-c", conf], knot)
        conf = dns_peers.put(os.path.join(d, "unbound"), "conf", UNBOUND.format(d=os.path.join(d, "unbound"), port=unbound, upstream=knot))
        self.start(d, "unbound", [dns_peers.program("unbound"), "-d", "-c", conf], unbound)
        with open(os.path.join(d, "cases.json"), "w") as f:
            json.dump({"objects": {}, "configs": {"c": {}}}, f)
        self.start(d, "us", [os.path.join(build, "bin", "dns_serve"), os.path.join(d, "cases.json"), f"127.0.0.1:{us}", "c", f"127.0.0.1:{knot}"], us)


def question(r, names):
    name = r.choice(names)
    if r.random() < .1:
        name = f"new{r.randrange(10 ** 6)}." + name
    kind = r.choice([1, 1, 1, 28, 28, *ASKED.values()])
    flags, special = r.choice([(0x100, ()), (0x100, ()), (0x110, ("cd",))])
    how = r.choice(["none", "edns", "do", "do"])
    extra = {"none": b"", "edns": opt(4096), "do": opt(4096, flags=0x8000)}[how]
    data = struct.pack(">6H", 0, flags, 1, 0, 0, 1 if extra else 0) + wire(random_case(r, name)) + struct.pack(">HH", kind, 1) + extra
    return Message(data, name, kind, {how, *special})


# ---- what may differ, and why

RRSIG, NSEC = 46, 47
DIFFERENCES = []


def because(reason, who, fields):
    def add(applies):
        DIFFERENCES.append((applies, reason, who, fields))
        return applies
    return add


def reason_for(who, field, q, ours, theirs):
    return next((reason for applies, reason, w, fields in DIFFERENCES if who in w and field in fields and applies(q, ours, theirs)), None)


@because("CD is copied by resolvers (RFC 4035 §3.2.2); an authoritative server leaves it clear", ("knot",), ("cd",))
def cd_copied(q, ours, theirs):
    return "cd" in q.special and ours.has(0x10)


@because("RRSIG and NSEC may stand beside a CNAME (RFC 4035 §2.5) and were asked for; unbound follows a CNAME it has in its cache. The authority "
         "says what we say", ("unbound",), ("rcode", "answer"))
def beside_a_cname(q, ours, theirs):
    return q.qtype in (RRSIG, NSEC) and any(k == 5 for _, k, _, _, _ in theirs.sections[0])


def differing(q, a, b):
    if (a.rcode is None) != (b.rcode is None):
        return ["answered"]
    if a.rcode is None:
        return []
    if a.broken or b.broken:
        return ["readable"]
    if a.rcode != b.rcode:
        return ["rcode"]
    out = [f for f, x, y in (("ad", a.has(0x20), b.has(0x20)), ("cd", a.has(0x10), b.has(0x10)), ("question", a.question, b.question),
                             ("opt", a.opt is None, b.opt is None)) if x != y]
    if a.has(0x200) or b.has(0x200):
        return out
    return out + [f for f, s in (("answer", 0), ("authority", 1)) if a.rrset(s) != b.rrset(s)]


def ttl_above(ours, knot):
    most = {(o, k, d): t for s in knot.sections[:2] for o, k, _, t, d in s}
    return any(t > most.get((o, k, d), 1 << 31) for s in ours.sections[:2] for o, k, _, t, d in s)


def compare(answers, n, q, tally):
    ours = answers["us"][n]
    for who in ("unbound", "knot"):
        theirs = answers[who][n]
        fields = differing(q, ours, theirs)
        if who == "knot" and not fields and ours.rcode is not None and ttl_above(ours, theirs):
            fields = ["ttl"]
        tally["equal"] += not fields
        for f in fields:
            reason = reason_for(who, f, q, ours, theirs)
            if reason:
                tally[who, f, reason] += 1
            else:
                yield who, f, q, ours, theirs


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--build", default="build/release")
    args.add_argument("--count", type=int, default=20_000)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--show", type=int, default=12)
    a = args.parse_args()
    r, began, tally, bad = seeded(a.seed), time.monotonic(), collections.Counter(), []
    with tempfile.TemporaryDirectory() as d:
        place = Place(d, a.build)
        try:
            for start in range(0, a.count, BATCH):
                batch = [question(r, place.names) for _ in range(min(BATCH, a.count - start))]
                answers = ask_all(place, batch)
                for n, q in enumerate(batch):
                    bad += compare(answers, n, q, tally)
        finally:
            place.close()
    equal = tally.pop("equal", 0)
    for (who, field, reason), n in sorted(tally.items(), key=lambda x: -x[1]):
        print(f"{n:7d} {who:8} {field:9} {reason}")
    for (who, f, special), n in sorted(collections.Counter((w, f, " ".join(sorted(q.special))) for w, f, q, _, _ in bad).items(), key=lambda x: -x[1])[:30]:
        print(f"{n:7d} {who:8} {f:9} WITHOUT A REASON: {special}")
    for who, f, q, ours, theirs in bad[:a.show]:
        print(f"\n{who} {f}: {q.text()}\n  ours   {ours.text()}\n  theirs {theirs.text()}")
    print(f"{'FAIL' if bad else 'PASS'} {a.count} questions, two peers: {equal} answers equal, {sum(tally.values())} differences with a reason, {len(bad)} without, "
          f"{time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
