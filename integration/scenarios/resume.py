"""Sessions are found again when nobody helps: the relay is dead, and a node comes back with nothing but its own disk."""
import json
import os
import shutil
import signal
import sys
import time

from bystander import ENOUGH_MS, Bystander, p99_ms, usual_p99_ms
from fixtures import VIP, answers, deploy
from lab import wait_for
from node import HTTP, Node, join
from registry import scenario
from topology import host, lan2, nat2, nat_box
from two_nodes import is_direct, peer

VIP_A = "10.96.0.20"


def third_site(lab):
    """A site C like A and B."""
    public = nat_box(lab, "natC")
    host(lab, "C", "natC", "192.168.1.10/24", "192.168.1.1", forwarding=True)
    c = Node(lab, "C", "node-c", "192.168.1.10", network="site-c", public=public)
    for k in range(3):
        c.add_pod(f"c{k}")
    return c


def connects(client, vip):
    return "!" not in str(client.client("connect", vip, 80, 0.5))


def without_source(node):
    shutil.move(node.path("manifests"), node.path("manifests.away"))


def with_source(node):
    shutil.move(node.path("manifests.away"), node.path("manifests"))


def kept(node):
    return os.path.exists(node.path("data/objects.snapshot")) and os.path.exists(node.path("data/tunnel/known-peers"))


def back_again(found, what, victims, calls, pairs):
    """kill -9 of these nodes and their start without a source. -> seconds until all calls work and all pairs are direct"""
    for v in victims:
        v.stop(signal.SIGKILL)
        without_source(v)
    t = time.monotonic()
    for v in victims:
        v.start(wait=False)
    for client, vip, pods in calls:
        wait_for(f"{what}: {client.name} calls {vip}", lambda: connects(client, vip), 15, 0.02)
    for one, other in pairs:
        wait_for(f"{what}: {one.name} is direct to {other.name}", lambda: is_direct(one, other), 15, 0.02)
    seconds = time.monotonic() - t
    for client, vip, pods in calls:
        found.check(answers(client, pods, vip, n=4), f"{what}: calls of {client.name} to {vip}")
    for one, other in pairs:
        found.check(peer(one, other).get("resumed"), f"{what}: {one.name} does not say that it resumed over the last path: {peer(one, other)}")
        text = one.run(one.program("edgemeshctl"), "--socket", one.socket, "paths").stdout
        found.check("resumed over last path" in text, f"{what}: edgemeshctl paths at {one.name}: {text}")
    found.check(all(oct(os.stat(v.path("data/tunnel/known-peers")).st_mode)[-3:] == "600" for v in victims), "others may read the known peers")
    for v in victims:
        with_source(v)
    print(f"     {what}: direct again and calls both ways after {seconds:.2f} s", file=sys.stderr, flush=True)
    return seconds


class Passing:
    """Calls of a third node to A through the tunnel, and beside them calls past all our rules: how busy the machine is."""

    def __init__(self, client, server, seconds):
        self.ours = client.start_client("steady", VIP_A, 80, seconds, 20)
        self.past = client.start_client("steady", server.ip, HTTP, seconds, 20)

    def result(self):
        """-> (calls through the tunnel, their p99, p99 past our rules), judged as bystanders are"""
        ours, past = (json.loads(run.communicate(timeout=60)[0])["calls"] for run in (self.ours, self.past))
        return ours, usual_p99_ms(ours), usual_p99_ms(past)


@scenario("restart-no-relay", "seconds", "<=3", seconds=150, why="three sites; one and two nodes restarted, several times")
def restart_no_relay(lab, found):
    """Relay dead, B (then A and B) killed -9 and restarted without a source: direct again, calls both ways; C does not notice."""
    a, b, r = nat2(lab, pods_a=3)
    c = third_site(lab)
    join([a, b, c, r], relay=r)
    client, server_a, _ = a.pods.values()
    pods_b = list(b.pods.values())
    caller_c, calm_client, calm_server = c.pods.values()
    for p in [server_a, *pods_b]:
        p.serve()
    deploy([a, b, c], pods_b)
    deploy([a, b, c], [server_a], "shop-a", ips=[VIP_A])
    calm = Bystander(found, [c], calm_client, calm_server)
    for n in (r, a, b, c):
        n.start(wait=False)
    for n in (r, a, b, c):
        wait_for(f"{n.name} ready", n.ready, 20)
    calls = [(client, VIP, pods_b), (pods_b[0], VIP_A, [server_a])]
    for who, vip, pods in [*calls, (caller_c, VIP_A, [server_a])]:
        wait_for(f"{who.name} calls {vip}", lambda: answers(who, pods, vip), 20)
    pairs = [(a, b), (b, a)]
    for one, other in [*pairs, (a, c), (c, a)]:
        wait_for(f"{one.name} is direct to {other.name}", lambda: is_direct(one, other), 20)
    wait_for("what the nodes know is on their disks", lambda: kept(a) and kept(b), 10)
    calm.ready()
    usual = calm.settled()
    _, before, past_before = Passing(caller_c, calm_server, 4).result()
    r.stop(signal.SIGKILL)
    time.sleep(2)
    for who, vip, pods in calls:
        found.check(answers(who, pods, vip, n=4), f"calls of {who.name} with the relay dead")
    slowest = 0
    with calm.watch("restarts without a relay", before=usual):
        run = Passing(caller_c, calm_server, 9)
        for again in range(2):
            slowest = max(slowest, back_again(found, f"B, {again + 1}", [b], calls, pairs))
            time.sleep(1)
        during, meanwhile, past = run.result()
        failed = [answer for _, answer, _ in during if answer.startswith("!")]
        found.check(not failed, f"{len(failed)} of {len(during)} calls of C to A failed: {failed[:3]}")
        print(f"     calls of C to A: p99 {before:.1f} ms before, {meanwhile:.1f} ms meanwhile (past our rules {past_before:.1f} and {past:.1f}), over the whole run {p99_ms(during):.1f}", file=sys.stderr, flush=True)
        limit = max(2 * before * max(1, past / max(past_before, 0.01)), ENOUGH_MS)
        found.check(meanwhile <= limit, f"calls of C to A: p99 from {before:.1f} to {meanwhile:.1f} ms")
        for again in range(2):
            slowest = max(slowest, back_again(found, f"A and B, {again + 1}", [a, b], calls, pairs))
            time.sleep(1)
    return slowest


@scenario("restart-no-relay-lan", "seconds", "<=3")
def restart_no_relay_lan(lab, found):
    """Two nodes of one LAN that never had a relay, no TCP between them: one, then both restarted without a source."""
    a, b = lan2(lab, pods_a=2, pods_b=2)
    join([a, b])
    client, server_a = a.pods.values()
    pods_b = list(b.pods.values())
    for p in [server_a, *pods_b]:
        p.serve()
    deploy([a, b], pods_b)
    deploy([a, b], [server_a], "shop-a", ips=[VIP_A])
    a.start(), b.start()
    calls = [(client, VIP, pods_b), (pods_b[0], VIP_A, [server_a])]
    for who, vip, pods in calls:
        wait_for(f"{who.name} calls {vip}", lambda: answers(who, pods, vip), 20)
    wait_for("what the nodes know is on their disks", lambda: kept(a) and kept(b), 10)
    for n in (a, b):  # signalling is TCP between the nodes: from here on there is none
        n.lab.nft(n.ns, "table inet no_signal {\n chain in {\n  type filter hook input priority -10; tcp dport 20006 drop\n  tcp sport 20006 drop\n }\n}\n")
    slowest = 0
    for what, victims in (("B", [b]), ("A", [a]), ("A and B", [a, b])):
        slowest = max(slowest, back_again(found, what, victims, calls, [(a, b), (b, a)]))
        time.sleep(1)
    return slowest
