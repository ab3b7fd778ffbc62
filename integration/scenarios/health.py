"""Endpoints that die without any object being edited: who still gets new connections, and when they come back."""
import json
import os
import signal
import subprocess
import sys
import time

import manifests
from bystander import Bystander
from fixtures import PORTS, answers, deploy
from lab import HERE, LabError, wait_for
from node import HTTP, UDP, Pod, join
from registry import scenario
from topology import lan2, one_node

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


ASKED_VIP, TAKEN_VIP = "10.96.0.32", "10.96.0.33"
ASKED = {"ports": ["http"], "type": "http", "path": "/healthz", "interval": "500ms", "timeout": "500ms", "failures": 2, "successes": 2}


def health_by_pod(node, service):
    """{pod: what explain says of its health on the port of HTTP}"""
    return {r["pod"]: r["health"] for r in node.ctl("explain", f"default/{service}")["endpoints"] if ":80/tcp" in r["frontend"]}


def feels(node, pod, status):
    r = node.client("http", pod.ip, HTTP, 1, f"/feels?status={status}")
    if r.get("errors", 1):
        raise LabError(f"{pod.name} was not told how it feels: {r}")


@scenario("active-checks", "seconds", "<=3")
def active_checks(lab, found):
    """Endpoints that nobody calls: one that answers a configured check with 503 and one whose process is gone are out, return when well, and never are all."""
    node = one_node(lab, 6)
    client, calm_pod, *pods = node.pods.values()
    for p in pods:
        p.serve()
    node.extra = {"mesh": {"health": {"checks": [{"services": ["default/asked"], **ASKED},
                                                 {"services": ["*/*"], "labels": ["checked=yes"], "ports": [80], "interval": "500ms", "timeout": "500ms", "failures": 2}]}}}
    deploy([node], pods, "asked", ips=[ASKED_VIP])
    deploy([node], pods, "taken", ips=[TAKEN_VIP], ports=[manifests.port(80, 2701, "tcp")], labels={"checked": "yes"})
    calm = Bystander(found, [node], client, calm_pod)
    node.start()
    calm.ready()
    wait_for("the service answers", lambda: answers(client, pods, ASKED_VIP, n=4), 15)
    sick, also_sick, _, gone = pods
    health = lambda service, pod: health_by_pod(node, service)[pod.name]
    before = calm.settled()
    with calm.watch("checks find what nobody calls", before):
        feels(node, sick, 503)
        t = time.monotonic()
        wait_for("503 is noticed", lambda: health("asked", sick).startswith("ejected"), 20, 0.02)
        took = time.monotonic() - t
        found.check("unhealthy (GET /healthz: status 503)" in health("asked", sick), f"explain gives the reason: {health('asked', sick)}")
        counts = client.client("http", ASKED_VIP, 80, 12).get("counts")
        found.same(counts, {p.name: 4 for p in pods if p is not sick}, "who answers without the sick one")
        found.same(health("taken", sick), "healthy", "what another service's check finds at another port of the same pod")
        gone.kill()
        wait_for("a process that is gone is noticed", lambda: health("taken", gone).startswith("ejected"), 20, 0.02)
        for p in (sick, also_sick, pods[2]):
            feels(node, p, 503)
        wait_for("all have failed", lambda: all(h.startswith("ejected") for h in health_by_pod(node, "asked").values()), 20, 0.1)
        kept = [h for h in health_by_pod(node, "asked").values() if "keeps its share" in h]
        found.same(len(kept), 2, "of four that failed, those that keep their share by the panic threshold of half")
        r = client.client("http", ASKED_VIP, 80, 12)
        found.check(not r.get("error") and not r["errors"] and gone.name not in r["counts"], f"calls are answered by those that keep their share: {r}")
    for p in (sick, also_sick, pods[2]):
        feels(node, p, 200)
    gone.serve()
    for service, vip in (("asked", ASKED_VIP), ("taken", TAKEN_VIP)):
        wait_for(f"all endpoints of {service} are back", lambda: set(health_by_pod(node, service).values()) == {"healthy"}, 30, 0.2)
    found.same(client.client("http", ASKED_VIP, 80, 12).get("counts"), {p.name: 3 for p in pods}, "who answers when all are well")
    return took


SPOKEN_VIP, ONE_WAY_VIP = "10.96.0.34", "10.96.0.35"


@scenario("udp-silence", "seconds", "<=15")
def udp_silence(lab, found):
    """A UDP server hangs and nothing says so: until no new flow meets it. A service whose endpoints never answer keeps them all."""
    node = one_node(lab, 7)
    client, calm_pod, *pods = node.pods.values()
    spoken, one_way = pods[:3], pods[3:]
    for p in pods:
        p.serve()
    node.extra = {"mesh": {"health": {"ejectionTime": "5s"}}}
    deploy([node], spoken, "spoken", ips=[SPOKEN_VIP])
    deploy([node], one_way, "one-way", ips=[ONE_WAY_VIP])
    calm = Bystander(found, [node], client, calm_pod)
    node.start()
    calm.ready()
    for vip, some in ((SPOKEN_VIP, spoken), (ONE_WAY_VIP, one_way)):
        wait_for(f"{vip} answers UDP", lambda: set(client.client("udp", vip, UDP, 6, 64).get("counts", {})) == {p.name for p in some}, 15)
    for p in one_way:
        p.server.send_signal(signal.SIGSTOP)
    victim = spoken[1]
    health = lambda service, pod: next(r["health"] for r in node.ctl("explain", f"default/{service}")["endpoints"] if r["pod"] == pod.name and "/udp" in r["frontend"])
    with calm.watch("a UDP server hangs"):
        running = [client.start_client("steady", vip, UDP, 40, EVERY_MS, "udp") for vip in (ONE_WAY_VIP, SPOKEN_VIP)]
        time.sleep(1)
        victim.server.send_signal(signal.SIGSTOP)
        t = time.monotonic()
        said = wait_for("the silence is noticed", lambda: health("spoken", victim).startswith("ejected") and health("spoken", victim), 30)
        seconds = time.monotonic() - t
        counts = client.client("udp", SPOKEN_VIP, UDP, 12, 64).get("counts")
        victim.server.send_signal(signal.SIGCONT)
    found.check("unanswered" in said, f"explain gives the reason: {said}")
    found.same(counts, {p.name: 6 for p in spoken if p is not victim}, "who answers while the silent one is out")
    found.same({health("one-way", p) for p in one_way}, {"healthy"}, "the endpoints of the service that answers nobody")
    found.check(all(r.poll() is None for r in running), "the callers ended too soon: the test is void")
    for r in running:
        r.kill()
    wait_for("it answers again", lambda: client.client("udp", SPOKEN_VIP, UDP, 12, 64).get("counts", {}) == {p.name: 4 for p in spoken}, 30, 0.3)
    return seconds
