"""Endpoints that die without any object being edited: who still gets new connections, and when they come back."""
import json
import os
import subprocess
import sys
import time

import manifests
from bystander import Bystander
from fixtures import PORTS, answers, deploy
from lab import HERE, wait_for
from node import HTTP, Pod, join
from registry import scenario
from topology import lan2

HERE_VIP, THERE_VIP = "10.96.0.30", "10.96.0.31"
DGRAM = 7000
EVERY_MS = 50
SLOW = 0.9  # a call that took longer met silence: its SYN was sent again, wherever the second one went


def result(process):
    return json.loads(process.communicate(timeout=40)[0])["calls"]


class Death:
    """One endpoint of a service dies while calls go on, and lives again."""

    def __init__(self, found, what, node, client, calm, vip, pods, port=80, proto="tcp"):
        self.found, self.what, self.node, self.vip, self.pods = found, what, node, vip, pods
        self.client, self.calm, self.port, self.proto = client, calm, port, proto

    def run(self, die, live):
        """-> seconds until the last call that met the dead endpoint began"""
        victim = self.pods[1]
        with self.calm.watch(self.what):
            run = self.client.start_client("steady", self.vip, self.port, 7, EVERY_MS, *(["udp"] if self.proto == "udp" else []))
            time.sleep(1.5)
            t = time.monotonic()
            die(victim)
            calls = result(run)
        after = [(begun - t, answer, took) for begun, answer, took in calls if begun > t - 0.01]
        met = [begun for begun, answer, took in after if answer.startswith("!") or took > SLOW]
        early = {answer for begun, answer, took in calls if begun < t - 0.1}
        self.found.same(early, {p.name for p in self.pods}, f"{self.what}: who answered before")
        self.found.check(met, f"{self.what}: no call noticed the death: the test is void")
        self.found.check(after[-1][0] > 4, f"{self.what}: calls ended after {after[-1][0]:.1f} s")
        health = self.health_of(victim)
        self.found.check(health[self.port, self.proto].startswith("ejected"), f"{self.what}: explain says {health}")
        if self.proto == "udp":
            self.found.same(health[80, "tcp"], "healthy", f"{self.what}: explain of TCP at the same address")
        live(victim)
        wait_for(f"{self.what}: {victim.name} answers again", lambda: victim.name in self.counts(), 25, 0.2)
        wait_for(f"{self.what}: shares are equal again", lambda: self.equal(), 10, 0.3)
        return max(met) if met else 0

    def health_of(self, pod):
        """{(port, protocol): what explain says of its health}"""
        rows = [r for r in self.node.ctl("explain", f"default/{self.service()}")["endpoints"] if r["pod"] == pod.name]
        ports = {f"{self.vip}:{port}/{proto}": (port, proto) for port, proto in ((80, "tcp"), (DGRAM, "udp"))}
        return {ports[r["frontend"]]: r["health"] for r in rows if r["frontend"] in ports}

    def counts(self):
        kind = ["udp", self.vip, self.port, 12, 64] if self.proto == "udp" else ["http", self.vip, self.port, 12]
        return self.client.client(*kind).get("counts", {})

    def equal(self):
        counts = self.counts()
        return set(counts) == {p.name for p in self.pods} and set(counts.values()) == {4}

    def service(self):
        return {HERE_VIP: "here", THERE_VIP: "there"}[self.vip]


class Datagrams:
    """In each pod a program of its own that answers UDP on the port where the other one serves HTTP."""

    def __init__(self, lab, pods):
        self.lab, self.running = lab, {}
        for p in pods:
            self.live(p)

    def live(self, pod):
        server = self.running[pod.name] = self.lab.start(pod.ns, [sys.executable, os.path.join(HERE, "pod_server.py"), "--name", pod.name, "--udp", str(HTTP),
                                                                  "--http", "18080", "--tcp", "12701"], stdout=subprocess.PIPE, text=True)
        server.stdout.readline()

    def die(self, pod):
        self.running[pod.name].kill()
        self.running[pod.name].wait()


@scenario("endpoint-death", "seconds", "<=3", seconds=240, why="six deaths and recoveries, one after the other")
def endpoint_death(lab, found):
    """A process killed, a network cut, a UDP port closed, in the kernel and the tunnel tier: until no new connection meets the dead endpoint."""
    a, b = lan2(lab, pods_a=7, pods_b=3)
    a.network = b.network = ""  # no shared network: B's endpoints are in the tunnel tier
    join([a, b])
    client, calm_client, calm_pod, _, *here = a.pods.values()
    there = list(b.pods.values())
    for p in [*here, *there]:
        p.serve()
    for pods, name, vip in ((here, "here", HERE_VIP), (there, "there", THERE_VIP)):
        deploy([a, b], pods, name, ips=[vip], ports=[*PORTS, manifests.port(DGRAM, HTTP, "dgram", "UDP")])
    calm = Bystander(found, [a, b], calm_client, calm_pod)
    a.start(), b.start()
    calm.ready()
    for vip, pods in ((HERE_VIP, here), (THERE_VIP, there)):
        wait_for(f"{vip} answers", lambda: answers(client, pods, vip, n=6), 15)
    tier = [r["tier"] for r in a.ctl("explain", "default/there")["endpoints"] if "/tcp" in r["frontend"]]
    found.same(set(tier), {"tunnel"}, "the tier of B's endpoints")
    dgram = Datagrams(lab, [*here, *there])
    for vip, pods in ((HERE_VIP, here), (THERE_VIP, there)):
        wait_for(f"{vip} answers UDP", lambda: set(client.client("udp", vip, DGRAM, 6, 64).get("counts", {})) == {p.name for p in pods}, 15)
    worst = 0
    for vip, pods, name in ((HERE_VIP, here, "kernel tier"), (THERE_VIP, there, "tunnel tier")):
        for how, die, live in (("killed", Pod.kill, Pod.serve), ("cut", Pod.cut, lambda p: p.cut(False)),
                               ("UDP port closed", dgram.die, dgram.live)):
            args = (DGRAM, "udp") if how == "UDP port closed" else ()
            seconds = Death(found, f"{name}, {how}", a, client, calm, vip, pods, *args).run(die, live)
            print(f"     {name}, {how}: {seconds:.2f} s", file=sys.stderr, flush=True)
            worst = max(worst, seconds)
    return worst
