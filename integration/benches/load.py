"""Running the load programs and counting what they cost."""
import os
import subprocess

from lab import LabError

HERE = os.path.dirname(os.path.abspath(__file__))
BORING = ["-I/usr/include/android", *[f"{f}/usr/lib/{os.uname().machine}-linux-gnu/android" for f in ("-L", "-Wl,-rpath,")]]


def flow(lab):
    return lab.tool("flow", os.path.join(HERE, "flow.cc"), "-pthread")


def datagram_tool(lab):
    return lab.tool("dgram", os.path.join(HERE, "dgram.cc"))


def probe(lab, name):
    return lab.tool(name, os.path.join(HERE, "probe", f"{name}.cc"), *BORING, "-lssl", "-lcrypto", "-pthread")


def cpu_seconds(*pids):
    """Time on a core so far, threads included, also those that have ended."""
    total = 0.0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def serve(lab, ns, port, ip="0.0.0.0"):
    p = lab.start(ns, [flow(lab), "server", ip, str(port)], stdout=subprocess.PIPE, text=True)
    if p.stdout.readline().strip() != "ready":
        raise LabError(f"the load server in {ns} did not start")
    return p


def measure(lab, ns, ip, port, kind, seconds, others):
    """-> (operations per second, CPU seconds per operation) with the CPU of client, server and `others` (pids)."""
    before = cpu_seconds(*others)
    r = lab.run(ns, [flow(lab), "client", ip, str(port), kind, str(seconds)], timeout=seconds + 30)
    ops, took, cpu = map(float, r.stdout.split())
    cpu += cpu_seconds(*others) - before
    return ops / took, cpu / max(ops, 1e-9)
