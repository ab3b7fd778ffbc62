"""l4-kernel: a ClusterIP beside the pod's own address, same client, same server: what interception costs per operation. Three pairs of
half the length in each round, and who is first changes with every pair: the first of a pair costs up to a tenth more, and the ratio of
one pair spreads as widely as the limits leave room."""
import manifests
from fixtures import shop
from lab import Lab, wait_for
from load import measure, serve
from topology import one_node

VIP, PORT = "10.96.0.7", 7000
LIMITS = {"bulk": 1.10, "http": 1.20, "conn": 1.25}
PAIRS = 3


def run(report, args):
    with Lab("bench-l4", args.build) as lab:
        node = one_node(lab, 2)
        client, server = node.pods.values()
        node.apply("shop.yaml", *shop([server], ips=[VIP], ports=[manifests.port(PORT, PORT, "load")]))
        node.start()
        process = serve(lab, server.ns, PORT)
        wait_for("the service answers", lambda: client.client("connect", VIP, PORT, 1)["result"] == "connected", 10)
        pids = [process.pid, node.daemon.pid]
        subjects = [("ours", VIP), ("direct", server.ip)]
        for kind in LIMITS:  # nothing is counted before each has run once
            for _, ip in subjects:
                measure(lab, client.ns, ip, PORT, kind, 0.3, pids)
        for _ in range(args.rounds * PAIRS):
            for kind in LIMITS:
                for subject, ip in subjects:
                    rate, cost = measure(lab, client.ns, ip, PORT, kind, args.seconds / 2, pids)
                    report.add(f"cpu_per_op_{kind}", subject, cost * 1e6)
                    report.add(f"rate_{kind}", subject, rate)
            subjects.reverse()
    for kind, most in LIMITS.items():
        report.figure(f"cpu_per_op_{kind}", "us/gbit" if kind == "bulk" else "us", "direct", most=most)
        report.figure(f"rate_{kind}", "gbit/s" if kind == "bulk" else "op/s", "direct")
    return report.kept
