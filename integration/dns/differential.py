#!/usr/bin/env python3
"""differential.py [--build DIR] [--count N] [--seed S] [--show N]: the same generated messages (messages.py) to our name server and to knot and
nsd, which serve the same names. Every difference must have its reason in differences.py; exit status 1 when one has none."""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "conformance", "dns"), os.path.join(HERE, "..", "benches"), os.path.join(HERE, "..", "netns")]
import dns_peers
from differences import reason_for
from every import free_port
from messages import Answer, Message, exchange, generate, seeded, wire

SERVICES, NAMESPACES, TTL = 120, 6, 5
BATCH = 400


def services():
    """(name, namespace, addresses, ports): one in three of two families, one in ten without named ports."""
    for i in range(SERVICES):
        addresses = [f"10.96.{i // 250}.{i % 250 + 1}"] if i % 5 else []
        if i % 3 == 0 or not addresses:
            addresses.append(f"fd96::{i + 1:x}")
        yield f"svc-{i:03d}", f"team-{i % NAMESPACES}", addresses, [] if i % 10 == 0 else [("http", 80), ("metrics", 9100)][:1 + i % 2]


def write_data(d):
    """objects for us, zone files for the others; -> the names in them."""
    objects = {"namespaces": [{"metadata": {"name": f"team-{i}", "uid": f"n{i}"}} for i in range(NAMESPACES)], "services": [], "endpointslices": [], "pods": []}
    zone = ["$ORIGIN cluster.local.", f"$TTL {TTL}", f"@ SOA ns.dns hostmaster 1 7200 1800 86400 {TTL}", "@ NS ns.dns", "ns.dns A 127.0.0.1", 'dns-version TXT "1.1.0"']
    names = []
    for name, ns, addresses, ports in services():
        listed = [{"name": p, "protocol": "TCP", "port": n} for p, n in ports] or [{"protocol": "TCP", "port": 80}]
        objects["services"].append({"metadata": {"name": name, "namespace": ns, "uid": f"u-{name}"},
                                    "spec": {"type": "ClusterIP", "clusterIP": addresses[0], "clusterIPs": addresses, "ports": listed}})
        full = f"{name}.{ns}.svc"
        names.append(full + ".cluster.local")
        zone += [f"{full} {'AAAA' if ':' in a else 'A'} {a}" for a in addresses]
        weight = 100 // len(listed)
        zone += [f"{full} SRV 0 {weight} {p['port']} {full}" for p in listed]
        for port, number in ports:
            zone.append(f"_{port}._tcp.{full} SRV 0 100 {number} {full}")
            names.append(f"_{port}._tcp.{full}.cluster.local")
    with open(os.path.join(d, "cluster.zone"), "w") as f:
        f.write("\n".join(zone) + "\n")
    with open(os.path.join(d, "cases.json"), "w") as f:
        json.dump({"objects": objects, "configs": {"c": {"pods": "disabled", "ttl": TTL}}}, f)
    return names


FIELDS = ("answered", "readable", "rcode", "aa", "tc", "question", "opt", "answer", "authority", "extra")


def differing(q, a, b):
    """The fields in which the answers differ; what follows from an earlier one is left out."""
    if (a.rcode is None and not a.broken) != (b.rcode is None and not b.broken):
        return ["answered"]
    if a.rcode is None:
        return []
    if a.broken != b.broken:
        return ["readable"]
    if a.rcode != b.rcode:
        return ["rcode"]
    out = [f for f, x, y in (("aa", a.has(0x400), b.has(0x400)), ("tc", a.has(0x200), b.has(0x200)), ("question", a.question, b.question),
                             ("opt", a.opt is None, b.opt is None)) if x != y]
    if a.has(0x200) or b.has(0x200):
        return out  # how much of it fits is each server's own
    out += [f for f, s in (("answer", 0), ("authority", 1)) if a.rrset(s) != b.rrset(s)]
    return out


class Servers:
    """Programs that answer on 127.0.0.1, each ready when `probe` is answered as `is_ready` wants it."""

    def __init__(self, probe, is_ready=bool):
        self.running, self.at, self.probe, self.is_ready = [], {}, probe, is_ready

    def start(self, d, name, argv, port):
        log = open(os.path.join(d, name + ".log"), "w")
        self.running.append(subprocess.Popen(argv, stdout=log, stderr=log))
        self.at[name] = ("127.0.0.1", port)
        for _ in range(200):
            if self.is_ready(exchange([self.at[name]], [self.probe], 0.2)[0][0]):
                return
            if self.running[-1].poll() is not None:
                break
            time.sleep(0.05)
        with open(log.name) as f:
            sys.exit(f"{name} does not answer: {f.read()[-500:]}")

    def close(self):
        for p in self.running:
            p.terminate()
            p.wait()


class Place(Servers):
    def __init__(self, d, build):
        self.names = write_data(d)
        super().__init__(Message(b"\0\0\1\0\0\1\0\0\0\0\0\0" + wire(self.names[0]) + b"\0\x06\0\1", "", 6))
        us = free_port()
        self.start(d, "us", [os.path.join(build, "bin", "dns_serve"), os.path.join(d, "cases.json"), f"127.0.0.1:{us}", "c"], us)
        for peer in ("knot", "nsd"):
            os.makedirs(os.path.join(d, peer))
            port = free_port()
            self.start(d, peer, dns_peers.PEERS[peer](port, os.path.join(d, peer), d), port)


def ask_all(place, batch):
    """-> {server: [Answer]}. Who did not answer is asked again, alone and with patience: a busy machine loses datagrams too."""
    raw = dict(zip(place.at, exchange(list(place.at.values()), batch)))
    missing = [n for n in range(len(batch)) if len({r[n] is None for r in raw.values()}) > 1]
    if missing:
        for name, replies in zip(place.at, exchange(list(place.at.values()), [batch[n] for n in missing], 0.5)):
            for n, reply in zip(missing, replies):
                raw[name][n] = raw[name][n] or reply
    return {name: [Answer(m) for m in replies] for name, replies in raw.items()}


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--build", default="build/release")
    args.add_argument("--count", type=int, default=100_000)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--show", type=int, default=12, help="differences without a reason that are printed")
    a = args.parse_args()
    r, began = seeded(a.seed), time.monotonic()
    explained, alone, unexplained, equal = collections.Counter(), collections.Counter(), [], 0
    with tempfile.TemporaryDirectory() as d:
        place = Place(d, a.build)
        try:
            for start in range(0, a.count, BATCH):
                batch = [generate(r, place.names) for _ in range(min(BATCH, a.count - start))]
                answers = ask_all(place, batch)
                for n, q in enumerate(batch):
                    for peer in ("knot", "nsd"):
                        ours, theirs = answers["us"][n], answers[peer][n]
                        fields = differing(q, ours, theirs)
                        if fields == ["answered"] and not reason_for(peer, "answered", q, ours, theirs):
                            ours, theirs = (Answer(exchange([place.at[s]], [q], 3)[0][0]) for s in ("us", peer))
                            fields = differing(q, ours, theirs)
                        equal += not fields
                        for f in fields:
                            reason = reason_for(peer, f, q, ours, theirs)
                            if reason:
                                explained[peer, f, reason] += 1
                            else:
                                alone[peer, f, " ".join(sorted(q.special))] += 1
                                unexplained.append((peer, f, q, ours, theirs))
        finally:
            place.close()
    for (peer, field, reason), n in sorted(explained.items(), key=lambda x: -x[1]):
        print(f"{n:7d} {peer:5} {field:9} {reason}")
    for (peer, f, special), n in sorted(alone.items(), key=lambda x: -x[1])[:60]:
        print(f"{n:7d} {peer:5} {f:9} WITHOUT A REASON: {special}")
    for peer, f, q, ours, theirs in unexplained[:a.show]:
        print(f"\n{peer} {f}: {q.text()}\n  ours   {ours.text()}\n  theirs {theirs.text()}")
    print(f"{'FAIL' if unexplained else 'PASS'} {a.count} messages, two peers: {equal} answers equal, {sum(explained.values())} differences with a reason, "
          f"{len(unexplained)} without, {time.monotonic() - began:.0f} s")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
