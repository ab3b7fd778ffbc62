"""idle: what the daemon holds in memory when nobody calls anything."""
import time

from fixtures import shop
from lab import Lab
from topology import one_node

SERVICES = 20


def run(report, args):
    with Lab("bench-idle", args.build) as lab:
        node = one_node(lab, 4)
        for i in range(SERVICES):
            node.apply(f"s{i}.yaml", *shop(list(node.pods.values()), f"s{i}", [f"10.96.1.{i + 1}", f"fd96::1:{i + 1}"]))
        node.start()
        time.sleep(5)
        for _ in range(args.rounds):
            rss, cpu = node.rss_kib(), node.cpu_seconds()
            time.sleep(1)
            report.add("rss_idle_mib", "ours", rss["VmRSS"] / 1024)
            report.add("rss_anon_idle_mib", "ours", rss["RssAnon"] / 1024)
            report.add("cpu_idle", "ours", node.cpu_seconds() - cpu)
    report.figure("rss_idle_mib", "MiB", most=16)
    report.figure("rss_anon_idle_mib", "MiB", most=4)
    report.figure("cpu_idle", "cores", most=0.01)
    return report.kept
