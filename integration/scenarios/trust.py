"""Who may talk to whom: denied nodes, pre-shared keys."""
import os
import shutil
import time

from fixtures import VIP, answers, deploy
from lab import wait_for
from node import join
from registry import scenario
from topology import lan2
from two_nodes import peer, two_sites

MB = 1_000_000


class Flow:
    """A download at 1 MB/s, and when the last of its bytes came."""

    def __init__(self, lab, pod, vip):
        self.lab, self.pod, self.last, self.seen = lab, pod, time.monotonic(), None
        self.process = pod.start_client("download", vip, 80, 200 * MB, 1)

    def is_moving(self):
        self.look()
        return time.monotonic() - self.last < 0.7

    def look(self):
        seen = sum(self.lab.bytes(self.pod.ns, "eth0"))
        if self.seen is None or seen - self.seen > 20_000:  # retransmissions into nothing do not count
            self.seen, self.last = seen, time.monotonic()


@scenario("deny", "seconds", "<=5")
def deny(lab, found):
    """A node is denied at one node: its running calls are cut at every node, those of others go on. Figure: until the last is cut."""
    a, b, c = lan2(lab, pods_a=3, pods_b=2, names=("A", "B", "C"))
    ca = join([a, b, c])
    servers_b, servers_c = list(b.pods.values())[1:], list(c.pods.values())[1:]
    for p in servers_b + servers_c:
        p.serve()
    deploy([a, b, c], servers_b)
    deploy([a, b, c], servers_c, "evil", ips=["10.96.0.20"])
    for n in (a, b, c):
        n.start()
    a0, a1, _ = a.pods.values()
    c0 = c.pods["c0"]
    for client, servers, vip in ((a0, servers_b, VIP), (a1, servers_c, "10.96.0.20"), (c0, servers_b, VIP)):
        wait_for(f"{client.name} calls {vip}", lambda: answers(client, servers, vip), 10)
    good, at_a, at_b = Flow(lab, a0, VIP), Flow(lab, a1, "10.96.0.20"), Flow(lab, c0, VIP)
    time.sleep(2)
    found.check(all(f.is_moving() for f in (good, at_a, at_b)), "the calls do not run")
    lab.call([a.program("edgemeshctl"), "ca", "deny", "--dir", ca, c.name])
    shutil.copy(os.path.join(ca, "deny.json"), a.path("deny.json"))
    begun = time.monotonic()
    wait_for("both nodes say so", lambda: all(peer(n, c).get("state") == "denied" for n in (a, b)), 15, 0.1)
    seconds = time.monotonic() - begun
    time.sleep(0.5)  # what was on its way
    at_a.look(), at_b.look()
    before = at_a.seen, at_b.seen
    time.sleep(2)
    for f, was in zip((at_a, at_b), before):
        f.look()
        found.check(f.seen - was < 20_000, f"the denied node's call at {f.pod.name} goes on: {f.seen - was} bytes in 2 s")
    before = sum(lab.bytes(good.pod.ns, "eth0"))
    wait_for("the call between the other two goes on", lambda: sum(lab.bytes(good.pod.ns, "eth0")) - before > MB, 5, 0.1)
    found.check(answers(a0, servers_b), "the other two do not talk any more")
    found.check(not answers(c0, servers_b, VIP), "the denied node still gets answers")
    for n in (a, b):
        found.same(peer(n, c).get("state"), "denied", f"what {n.name} says of it")
    b.stop()
    b.start()
    wait_for("the other two talk again", lambda: answers(a0, servers_b), 10)
    found.same(peer(b, c).get("state", "denied"), "denied", "what node-b says of it after a restart")
    found.check(not answers(c0, servers_b, VIP), "the denied node gets answers after a restart of node-b")
    return seconds


def give_psk(node, *keys):
    files = []
    for k in keys:
        path = node.path(f"{k}.psk")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(k * 8 + "\n")
        files.append(path)
    node.extra["tunnel"] = {"psk": {"files": files}}


@scenario("psk", "failures", "=0")
def psk(lab, found):
    """Another pre-shared key is no session, and both logs say why; a second key while it is changed keeps everybody talking."""
    a, b, r = two_sites(lab, start=False)
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    give_psk(a, "first"), give_psk(b, "other"), give_psk(r, "first")
    for n in (r, a, b):
        n.start()
    found.check(not answers(client, pods_b, VIP), "nodes with different pre-shared keys talk")
    for n in (a, b):
        wait_for(f"{n.name} names the pre-shared key", lambda: "no pre-shared key in common" in n.last_log(200), 10)
    for keys in (("first", "other"), ("other",)):  # b changes over: first both know the new one
        b.stop(), give_psk(b, *keys), b.start()
        if keys == ("other",):
            a.stop(), give_psk(a, "other", "first"), a.start()
        wait_for(f"A calls B with {keys}", lambda: answers(client, pods_b, VIP), 15)
    log = a.last_log(10000) + b.last_log(10000)
    found.check("firstfirst" not in log and "otherother" not in log, "a pre-shared key is in a log")
