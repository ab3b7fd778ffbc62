"""A wall clock that is wrong, and certificates that really are too old or too new."""
import json
import os
import re
import signal
import time

import manifests
from bystander import Bystander
from fixtures import VIP, answers, deploy
from lab import HERE, wait_for
from node import issue_certificates, mesh_manifests
from registry import scenario
from topology import lan2
from two_nodes import peer

DAY = 86400
YEARS10 = 3652 * DAY


class Clocks:
    """The wall clock of each node's daemon, and of the CA's tool."""

    def __init__(self, lab, nodes):
        self.lab, self.library = lab, lab.tool("clock_shift.so", os.path.join(HERE, "clock_shift.cc"), "-shared", "-fPIC")
        for n in nodes:
            n.wrapper = ["env", *self.env(n)]
            self.set(n, 0)

    def env(self, node):
        return [f"LD_PRELOAD={self.library}", f"CLOCK_SHIFT_FILE={node.path('clock')}"]

    def set(self, node, seconds):
        with open(node.path("clock.new"), "w") as f:
            f.write(f"{int(seconds)}\n")
        os.rename(node.path("clock.new"), node.path("clock"))

    def renew(self, node, ca, seconds):
        """A new certificate for the node, issued when the CA's clock is off by that much."""
        self.set(node, seconds)
        self.lab.call(["env", *self.env(node), node.program("edgemeshctl"), "ca", "issue", node.name, "--dir", ca, "--out", node.dir, "--renew"])
        self.set(node, 0)


def metric(node, name):
    text = node.run("curl", "-s", "--unix-socket", node.socket, "http://x/metrics", check=False).stdout
    found = re.search(rf"^{re.escape(name)} (-?\d+)", text, re.M)
    return int(found[1]) if found else None


def log_of(node):
    with open(node.lab.log(f"{node.ns}.log"), errors="replace") as f:
        return f.read()


class Marked:
    """The node's log from here on."""

    def __init__(self, node):
        self.node, self.at = node, len(log_of(node)) if os.path.exists(node.lab.log(f"{node.ns}.log")) else 0

    def lines(self, *words):
        return [line for line in log_of(self.node)[self.at:].splitlines() if all(w in line for w in words)]


@scenario("clock-wrong", "failures", "=0", seconds=240, why="nine starts of two nodes, one after the other")
def clock_wrong(lab, found):
    """Wall clocks in 1970, in 2090 and jumping by ten years: nodes meet and talk; certificates too old or too new are refused whatever it says."""
    a, b = lan2(lab, pods_a=3, pods_b=1)
    clocks = Clocks(lab, (a, b))
    ca = issue_certificates([a, b])
    client, calm_client, calm_pod = a.pods.values()
    servers = [b.pods["b0"].serve()]
    for n in (a, b):
        n.network = ""  # only the tunnel leads to the other's pods
        n.apply("mesh.yaml", *mesh_manifests([a, b]))
        n.apply("namespaces.yaml", manifests.namespace("default"))
    deploy([a, b], servers)
    calm = Bystander(found, [a, b], calm_client, calm_pod)

    def begin(shift_a=0, shift_b=0):
        clocks.set(a, shift_a), clocks.set(b, shift_b)
        marks = Marked(a), Marked(b)
        a.start(wait=False), b.start(wait=False)
        for n in (a, b):
            wait_for(f"{n.name} ready", n.ready, 20)
        return marks

    def end():
        for n in (a, b):
            n.stop(signal.SIGKILL)

    # ---- at boot
    now = time.time()
    early, late = -now + 1000, 3_786_912_000 - now  # January 1970, January 2090
    for what, shift_a, shift_b in (("both in 1970", early, early), ("both in 2090", late, late), ("one in 1970, one in 2090", early, late)):
        marks = begin(shift_a, shift_b)
        wait_for(f"{what}: A calls B", lambda: answers(client, servers, VIP, n=3), 15)
        for m, shift in zip(marks, (shift_a, shift_b)):
            wait_for(f"{what}: {m.node.name} names its clock", lambda: m.lines("this machine's clock says", "1970" if shift < 0 else "2090"), 5)
            found.same(len(m.lines("this machine's clock says")), 1, f"{what}: lines about the clock at {m.node.name}")
            found.same(metric(m.node, "edgemeshd_wall_clock_doubted"), 1, f"{what}: the metric at {m.node.name}")
        end()

    # ---- while running
    begin()
    wait_for("A calls B with right clocks", lambda: answers(client, servers, VIP, n=3), 15)
    found.same(metric(a, "edgemeshd_wall_clock_doubted"), 0, "the metric with right clocks")
    calm.ready()
    with calm.watch("clocks jump by ten years"):
        run = client.start_client("steady", VIP, 80, 12, 50)
        for shift_a, shift_b in ((YEARS10, -YEARS10), (-YEARS10, YEARS10), (YEARS10, YEARS10), (0, 0)):
            clocks.set(a, shift_a), clocks.set(b, shift_b)
            time.sleep(2.5)
        calls = json.loads(run.communicate(timeout=40)[0])["calls"]
    failed = [answer for _, answer, took in calls if answer.startswith("!") or took > 1]
    found.check(len(calls) > 200 and not failed, f"{len(failed)} of {len(calls)} calls failed or took a second while clocks jumped: {failed[:3]}")
    clocks.set(a, YEARS10)
    b.stop(signal.SIGKILL)
    clocks.set(b, -YEARS10)
    b.start()
    wait_for("A, ten years ahead, calls B, restarted ten years behind", lambda: answers(client, servers, VIP, n=3), 15)
    end()
    for n in (a, b):
        with open(n.path("data/trusted-time")) as f:
            kept = int(f.read())
        found.check(abs(kept - time.time()) < DAY, f"{n.name} keeps {kept} as the time: it is {time.time():.0f}")

    # ---- certificates, with right clocks and wrong ones
    clocks.renew(b, ca, -120 * DAY)  # ended 30 days ago
    marks = begin(0, early)
    wait_for("a certificate on its grace is accepted", lambda: answers(client, servers, VIP, n=3), 15)
    for m, whose in zip(marks, ("peer", "own")):
        wait_for(f"{m.node.name} names the certificate that ended", lambda: m.lines("the certificate of", b.name, "offlineGrace"), 5)
        found.same(len(m.lines("the certificate of", b.name, "offlineGrace")), 1, f"lines about it at {m.node.name}")
        found.same(metric(m.node, f'edgemeshd_certificates_ended{{whose="{whose}"}}'), 1, f"the alarm at {m.node.name}")
    end()

    clocks.renew(b, ca, -200 * DAY)  # 110 days ago
    mark = Marked(b)
    clocks.set(b, early)
    b.start(wait=False)
    found.check(b.daemon.wait(10) != 0, "a node starts with a certificate whose grace is over")
    found.same(len(mark.lines("node.crt", "certificate refused", "expired", "edgemeshctl ca issue --renew")), 1, "lines about it")
    b.extra["tunnel"] = {"identity": {**b.config()["tunnel"]["identity"], "offlineGrace": "8784h"}}
    for shift_a in (0, early):
        marks = begin(shift_a, early)
        wait_for("A refuses a certificate whose grace is over", lambda: marks[0].lines("refused", "certificate has expired", "renew it at the peer"), 15)
        found.check(not answers(client, servers, VIP), "a node whose grace is over gets calls")
        end()
    b.extra = {}

    clocks.renew(b, ca, 10 * DAY)
    for shift_a in (0, late):
        marks = begin(shift_a, 0)
        wait_for("A refuses a certificate that has not begun", lambda: marks[0].lines("refused", "not yet valid", "set the clock"), 15)
        found.check(not answers(client, servers, VIP), "a node whose certificate has not begun gets calls")
        end()
    clocks.renew(b, ca, 0)
    begin()
    wait_for("A calls B with a new certificate", lambda: answers(client, servers, VIP, n=3), 15)
    found.same(peer(a, b).get("state"), "up", "the state of B at A")
