"""tunnel: one TCP stream from a pod of A to a pod of B through our tunnel, beside kernel TCP and TLS over TCP on the same cable, and
beside the probe: the least an encrypted tunnel can cost (no replay window, no peer table, no address check). wireguard-go too, where the
package is there. Then datagrams of 64 bytes: how many a second arrive, and how long one takes there and back, beside the bare path
between the hosts. (The probe carries TCP alone.)"""
import json
import statistics
import subprocess
import sys
import time

import manifests
import wireguard_go
from fixtures import shop
from lab import Lab, LabError, wait_for
from load import cpu_seconds, datagram_tool, probe
from node import join
from topology import lan2

VIP, PORT, DATAGRAM_PORT = "10.96.0.7", 7000, 7001


def stream(lab, program, server_ns, listen, client_ns, target, seconds, tls=False, pids=()):
    """One tcpb stream -> (Gbit/s, CPU seconds per Gbit of both ends and of pids)."""
    more = ["tls"] if tls else []
    before = cpu_seconds(*pids)
    server = lab.start(server_ns, [program, "server", listen, str(PORT), str(seconds), *more], stdout=subprocess.PIPE, text=True)
    time.sleep(0.4)
    client = json.loads(lab.run(client_ns, [program, "client", target, str(PORT), str(seconds), *more], timeout=60).stdout)
    out = json.loads(server.communicate(timeout=60)[0])
    cpu = client["cpu_s"] + out["cpu_s"] + cpu_seconds(*pids) - before
    return out["Gbps"], cpu / out["Gbit"]


def through_probe(lab, a, b, seconds):
    """The probe as a tunnel between the two hosts, on the same cable."""
    udpt, tcpb, life = probe(lab, "udpt"), probe(lab, "tcpb"), str(int(seconds) + 4)
    ends = [lab.start(x.ns, [udpt, f"probe{x.ns}", f"10.10.0.{i}/24", x.ip, "7100", y.ip, "7100", life, "aes", "gso"],
                      stdout=subprocess.DEVNULL) for i, x, y in ((1, a, b), (2, b, a))]
    time.sleep(0.6)
    try:
        return stream(lab, tcpb, b.ns, "10.10.0.2", a.ns, "10.10.0.2", seconds, pids=[p.pid for p in ends])
    finally:
        for p in ends:
            p.kill()
            p.wait()


def through_wireguard(lab, a, b, seconds):
    with wireguard_go.tunnel(lab, a, b) as (ip, pids):
        return stream(lab, probe(lab, "tcpb"), b.ns, ip, a.ns, ip, seconds, pids=pids)


def serve_datagrams(lab, ns, ip):
    p = lab.start(ns, [datagram_tool(lab), "server", ip, str(DATAGRAM_PORT)], stdout=subprocess.PIPE, text=True)
    if p.stdout.readline().strip() != "ready":
        raise LabError(f"the datagram server in {ns} did not start")
    return p


def datagrams(lab, ns, ip, seconds):
    """-> (datagrams of 64 bytes that arrive in a second, p50 and p99 of one there and back in us)"""
    def ask(what):
        return lab.run(ns, [datagram_tool(lab), what, ip, str(DATAGRAM_PORT), str(seconds)], timeout=seconds + 30).stdout.split()

    arrived, took, _ = map(float, ask("pps"))
    _, p50, p99 = map(float, ask("rtt"))
    return arrived / took, p50, p99


def rotated(subjects, n):
    items = list(subjects.items())
    return items[n % len(items):] + items[:n % len(items)]


def add_datagrams(report, subject, figures):
    for metric, value in zip(("pps_64", "latency_p50_us", "latency_p99_us"), figures):
        report.add(metric, subject, value)


def show_added(report, metric):
    """What the tunnel adds to the bare path, there and back; the ratio is of the whole."""
    ours, bare = report.rounds[metric]["ours"], report.rounds[metric]["bare"]
    report.line(metric, statistics.median(a - b for a, b in zip(ours, bare)), "us", "bare", statistics.median(a / b for a, b in zip(ours, bare)))


def run(report, args):
    with Lab("bench-tunnel", args.build) as lab:
        a, b = lan2(lab, pods_a=1, pods_b=1)
        join([a, b])
        client, server = a.pods["a0"], b.pods["b0"].serve()
        ports = [manifests.port(PORT, PORT, "load"), manifests.port(80, 8080, "http"), manifests.port(DATAGRAM_PORT, DATAGRAM_PORT, "dgram", "UDP")]
        for n in (a, b):
            n.apply("shop.yaml", *shop([server], ips=[VIP], ports=ports))
            n.start()
        wait_for("A calls B", lambda: client.client("http", VIP, 80, 1).get("errors") == 0, 15)
        tcpb = probe(lab, "tcpb")
        # the first call of the port goes through the proxy; what is measured is the tunnel
        stream(lab, tcpb, server.ns, server.ip, client.ns, VIP, 0.3)
        time.sleep(1)
        subjects = {
            "ours": lambda: stream(lab, tcpb, server.ns, server.ip, client.ns, VIP, args.seconds, pids=[a.daemon.pid, b.daemon.pid]),
            "kernel-tcp": lambda: stream(lab, tcpb, b.ns, b.ip, a.ns, b.ip, args.seconds),
            "tls": lambda: stream(lab, tcpb, b.ns, b.ip, a.ns, b.ip, args.seconds, tls=True),
            "probe": lambda: through_probe(lab, a, b, args.seconds),
        }
        if wireguard_go.PROGRAM:
            subjects["wireguard-go"] = lambda: through_wireguard(lab, a, b, args.seconds)
        else:
            print("tunnel: no wireguard-go on this machine, so not beside it: apt-get install wireguard-go", file=sys.stderr)
        serve_datagrams(lab, server.ns, server.ip), serve_datagrams(lab, b.ns, b.ip)
        small = {
            "ours": lambda: datagrams(lab, client.ns, VIP, args.seconds),
            "bare": lambda: datagrams(lab, a.ns, b.ip, args.seconds),
        }
        for n in range(args.rounds):  # everybody is first in its turn: who comes after whom matters
            for subject, measure in rotated(subjects, n):
                gbps, cost = measure()
                report.add("throughput", subject, gbps)
                report.add("cpu_per_gbit", subject, cost)
            for subject, measure in rotated(small, n):
                add_datagrams(report, subject, measure())
    report.figure("throughput", "gbit/s", "tls", least=1.25)
    report.figure("throughput", "gbit/s", "probe", least=0.9)
    if wireguard_go.PROGRAM:
        report.figure("throughput", "gbit/s", "wireguard-go", least=2.0)
    report.figure("throughput", "gbit/s", "kernel-tcp")
    report.figure("cpu_per_gbit", "s/gbit", "probe", most=1.1)
    for peer in ("tls", "kernel-tcp", *(["wireguard-go"] if wireguard_go.PROGRAM else [])):
        report.figure("cpu_per_gbit", "s/gbit", peer)
    report.figure("pps_64", "packet/s", "bare")
    for metric in ("latency_p50_us", "latency_p99_us"):
        show_added(report, metric)
    return report.kept
