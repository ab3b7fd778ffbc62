"""startup: 5,000 services with 4 endpoints each, from an API server, from a directory, from a snapshot: until the last service can be
called, and what the daemon holds in memory then; how soon a change is in DNS and in the kernel (daemon and client under SCHED_FIFO, where
that is allowed: what else the machine does stays out of the figures); 100,000 endpoints' CPU time."""
import json
import os
import statistics
import subprocess
import sys
import time

import cluster
import manifests
from dns import real_time
from lab import Lab, LabError, wait_for
from topology import one_node

SERVICES, PER_SERVICE, PORT, CHANGES = 5000, 4, 6443, 300
HERE = os.path.dirname(os.path.abspath(__file__))


class Client:
    def __init__(self, lab, node, services, per_service, slice_size=100):
        self.process = lab.start(node.ns, [sys.executable, os.path.join(HERE, "startup_client.py"), *map(str, (services, per_service, slice_size, PORT)),
                                           lab.full(next(iter(node.pods.values())).ns), lab.tool("changes", os.path.join(HERE, "changes.cc"))],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.line()

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise LabError("the client ended")
        return text

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def stop(self):
        self.process.kill()
        self.process.wait()


def kubeconfig(node):
    path = node.path("kubeconfig")
    manifests.write(path, {"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
                           "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                           "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{PORT}"}}]})
    return {"kubeconfig": path}


def memory_mib(node):
    with open(f"/proc/{node.daemon.pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    return {k: int(fields[k].split()[0]) / 1024 for k in ("VmRSS", "VmHWM", "RssAnon")}


def forget_state(node):
    lab_data = node.path("data")
    for name in os.listdir(lab_data) if os.path.isdir(lab_data) else []:
        os.unlink(os.path.join(lab_data, name))


class Start:
    """A start of the daemon, and when its process began: what enters the namespace before it is not its time."""

    def __init__(self, node, source):
        self.stamp = node.path("began")
        if os.path.exists(self.stamp):
            os.unlink(self.stamp)
        node.extra = {"source": source}
        node.wrapper = [node.lab.tool("stamp", os.path.join(HERE, "stamp.cc")), self.stamp]
        node.start(wait=False)

    def until(self, at):
        with open(self.stamp) as f:
            return at - float(f.read())


def loaded(node, services):
    wait_for("all services are there", lambda: node.ctl_ok("status") and node.ctl("status")["services"] == services, 120)


def write_directory(node):
    """One file per namespace and kind, without what only a server writes into objects."""
    for kind, objects in cluster.cluster(SERVICES, PER_SERVICE).items():
        by_ns = {}
        for o in objects:
            o["metadata"] = {k: v for k, v in o["metadata"].items() if k in ("name", "namespace", "labels")}
            by_ns.setdefault(o["metadata"].get("namespace", ""), []).append(o)
        for ns, some in by_ns.items():
            node.apply(f"{kind.lower()}-{ns or 'all'}.yaml", *some)


def from_api(report, node, client, changes):
    began = Start(node, kubeconfig(node))
    report.add("first_load_s", "ours", began.until(client.ask("served")["at"]))
    loaded(node, SERVICES)
    report.add("first_load_cpu_s", "ours", node.cpu_seconds())
    time.sleep(8)  # the snapshot is written meanwhile
    report.add("rss_5000_services_mib", "ours", memory_mib(node)["VmRSS"])
    report.add("rss_anon_5000_services_mib", "ours", memory_mib(node)["RssAnon"])
    report.add("peak_api_mib", "ours", memory_mib(node)["VmHWM"])
    if changes:
        real_time(node.daemon.pid, True)
        report.rounds["changes"] = client.ask(f"change {changes}")
        real_time(node.daemon.pid, False)
        report.add("rss_after_changes_mib", "ours", memory_mib(node)["VmRSS"])
    node.stop()


def from_snapshot(report, node, client, metric, source):
    began = Start(node, source)
    report.add(metric, "ours", began.until(client.ask("call")["at"]) * 1000)
    loaded(node, SERVICES)
    time.sleep(1)
    node.stop()


def from_directory(report, node, client):
    began = Start(node, {"directory": node.path("manifests")})
    report.add("first_load_dir_s", "ours", began.until(client.ask("served")["at"]))
    loaded(node, SERVICES)
    report.add("first_load_dir_cpu_s", "ours", node.cpu_seconds())
    time.sleep(8)
    report.add("peak_dir_mib", "ours", memory_mib(node)["VmHWM"])
    report.add("rss_dir_mib", "ours", memory_mib(node)["VmRSS"])
    node.stop()


def slices(report, lab, node):
    """The source's and the table's part alone: 1,000 services with 100 endpoints each."""
    client = Client(lab, node, 1000, 100)
    forget_state(node)
    node.extra = {"source": kubeconfig(node), "mesh": {"intercept": False}, "dns": {"enabled": False}}
    node.start()
    loaded(node, 1000)
    time.sleep(0.5)
    report.add("slices_100000_endpoints_cpu_s", "ours", node.cpu_seconds())
    report.add("slices_100000_endpoints_rss_mib", "ours", memory_mib(node)["VmRSS"])
    node.stop()
    client.stop()


def run(report, args):
    with Lab("bench-startup", args.build) as lab:
        node = one_node(lab, 1)
        lab.ip(node.ns, *(f"addr add {ip}/32 dev docker0" for ip in cluster.OWN_ENDPOINTS[1:]))
        client = Client(lab, node, SERVICES, PER_SERVICE)
        for k in range(args.rounds):
            forget_state(node)
            from_api(report, node, client, CHANGES if k == args.rounds - 1 else 0)
            from_snapshot(report, node, client, "first_call_api_ms", node.extra["source"])
        write_directory(node)
        for _ in range(args.rounds):
            forget_state(node)
            from_directory(report, node, client)
            from_snapshot(report, node, client, "first_call_ms", node.extra["source"])
        client.stop()
        for _ in range(args.rounds):
            slices(report, lab, node)
    for metric, unit, most in (("first_load_s", "s", 1), ("first_load_cpu_s", "s", None), ("rss_5000_services_mib", "MiB", 32),
                               ("rss_anon_5000_services_mib", "MiB", None), ("peak_api_mib", "MiB", None), ("rss_after_changes_mib", "MiB", 32),
                               ("first_load_dir_s", "s", 2), ("first_load_dir_cpu_s", "s", None), ("peak_dir_mib", "MiB", 48), ("rss_dir_mib", "MiB", None),
                               ("first_call_ms", "ms", 300), ("first_call_api_ms", "ms", 300),
                               ("slices_100000_endpoints_cpu_s", "s", 1), ("slices_100000_endpoints_rss_mib", "MiB", None)):
        report.figure(metric, unit, most=most)
    found = report.rounds["changes"]
    both = [max(k, d) for k, d in zip(found["kernel_ms"], found["dns_ms"])]
    for metric, times, most in (("change", both, 1), ("change_kernel", found["kernel_ms"], None), ("change_dns", found["dns_ms"], None)):
        report.line(f"{metric}_p50_ms", statistics.median(times), "ms")
        report.line(f"{metric}_p99_ms", sorted(times)[int(len(times) * 0.99)], "ms", most=most)
    return report.kept
