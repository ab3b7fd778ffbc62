"""relay: one TCP stream from a pod of A to a pod of B that may not talk directly, over relay R, and what that costs R. Beside it, in the
same rounds and over the same core: the two talking directly, and kernel TCP and TLS over TCP between their hosts."""
import time

import manifests
import nat
from fixtures import shop
from lab import Lab, wait_for
from load import cpu_seconds, probe
from node import Node, join
from topology import internet, leg
from tunnel import PORT, VIP, stream
from two_nodes import is_direct, is_relayed

CPU_PER_GBIT_MAX = 0.09


def country(lab):
    """A, B and R, each with a public address."""
    internet(lab)
    nodes = []
    for ns, roles in (("A", ()), ("B", ()), ("R", ("relay",))):
        lab.ns(ns, forwarding=True)
        public = leg(lab, ns, "eth0")
        nodes.append(Node(lab, ns, f"node-{ns.lower()}", public, network=f"site-{ns.lower()}", public=public, roles=roles))
        if ns != "R":
            nodes[-1].add_pod(f"{ns.lower()}0")
    return nodes


class Pair:
    """A and B, kept apart or not."""

    def __init__(self, lab, a, b):
        self.lab, self.a, self.b, self.apart = lab, a, b, False

    def put(self, apart):
        if apart != self.apart:
            pair = f"{{ {self.a.public}, {self.b.public} }}"
            rules = nat.filter_table("apart", "forward", -10, [f"meta l4proto udp ip saddr {pair} ip daddr {pair} drop"], "ip")
            self.lab.nft("inet", rules if apart else "delete table ip apart\n")
        self.apart = apart
        there = is_relayed if apart else is_direct
        wait_for("the relay carries them" if apart else "they are direct", lambda: there(self.a, self.b) and there(self.b, self.a), 30, 0.1)
        time.sleep(1)  # the search for the path's MTU is over


def run(report, args):
    with Lab("bench-relay", args.build) as lab:
        a, b, r = country(lab)
        join([a, b, r], relay=r)
        client, server = a.pods["a0"], b.pods["b0"].serve()
        ports = [manifests.port(PORT, PORT, "load"), manifests.port(80, 8080, "http")]
        for n in (a, b):
            n.apply("shop.yaml", *shop([server], ips=[VIP], ports=ports))
        for n in (r, a, b):
            n.start()
        wait_for("A calls B", lambda: client.client("http", VIP, 80, 1).get("errors") == 0, 20)
        tcpb, pair = probe(lab, "tcpb"), Pair(lab, a, b)
        stream(lab, tcpb, server.ns, server.ip, client.ns, VIP, 0.3)  # the first call of the port goes through the proxy

        def ours(apart):
            pair.put(apart)
            before = cpu_seconds(r.daemon.pid)
            gbps, cost = stream(lab, tcpb, server.ns, server.ip, client.ns, VIP, args.seconds, pids=[a.daemon.pid, b.daemon.pid])
            return gbps, cost, cpu_seconds(r.daemon.pid) - before

        for _ in range(args.rounds):
            gbps, cost, relay_cpu = ours(True)
            report.add("throughput", "ours", gbps)
            report.add("cpu_per_gbit", "ours", cost)
            report.add("relay_cpu_per_gbit", "ours", relay_cpu / (gbps * args.seconds))
            for subject, measure in (("direct", lambda: ours(False)), ("kernel-tcp", lambda: stream(lab, tcpb, b.ns, b.ip, a.ns, b.ip, args.seconds)),
                                     ("tls", lambda: stream(lab, tcpb, b.ns, b.ip, a.ns, b.ip, args.seconds, tls=True))):
                gbps, cost = measure()[:2]
                report.add("throughput", subject, gbps)
                report.add("cpu_per_gbit", subject, cost)
    for peer in ("direct", "tls", "kernel-tcp"):
        report.figure("throughput", "gbit/s", peer)
    report.figure("cpu_per_gbit", "s/gbit", "direct")
    report.figure("relay_cpu_per_gbit", "s/gbit", most=CPU_PER_GBIT_MAX)
    return report.kept
