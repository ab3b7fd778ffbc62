"""Nodes on one LAN find each other by multicast, with no relay and no address in any object."""
import os
import signal
import sys
import time

from fixtures import VIP, answers, deploy
from lab import wait_for
from node import join
from registry import scenario
from topology import lan2
from two_nodes import is_direct

VIP_A = "10.96.0.20"


def heard(node, other):
    """Where multicast told this node that the other is."""
    return [a for n in node.ctl("lan")["nodes"] if n["name"] == other.name for a in n["addresses"]]


@scenario("lan-discovery", "seconds", "<=5")
def lan_discovery(lab, found):
    """Two nodes on one LAN, no addresses known, no relay: they find each other and call both ways; then both restarted; then moved."""
    a, b = lan2(lab, pods_a=2, pods_b=1)
    a.advertise = b.advertise = []
    join([a, b])
    client, server_a = a.pods.values()
    server_b, = b.pods.values()
    for p in (server_a, server_b):
        p.serve()
    deploy([a, b], [server_b])
    deploy([a, b], [server_a], "shop-a", ips=[VIP_A])
    calls = [(client, VIP, [server_b]), (server_b, VIP_A, [server_a])]

    def all_calls():
        return all(answers(who, pods, vip) for who, vip, pods in calls)

    slowest = 0

    def timed(what):
        nonlocal slowest
        t = time.monotonic()
        wait_for(f"{what}: calls both ways", all_calls, 20, 0.02)
        slowest = max(slowest, time.monotonic() - t)
        print(f"     {what}: calls both ways after {time.monotonic() - t:.2f} s", file=sys.stderr, flush=True)
        for one, other in ((a, b), (b, a)):
            wait_for(f"{what}: {one.name} is direct to {other.name}", lambda: is_direct(one, other), 10)
            wait_for(f"{what}: {one.name} hears {other.name} at {other.ip}", lambda: f"{other.ip}:20006" in heard(one, other), 10)

    for n in (a, b):
        n.start(wait=False)
    for n in (a, b):
        wait_for(f"{n.name} ready", n.ready, 20)
    timed("first contact")
    found.check(a.ctl("lan")["interfaces"] == ["eth0"], f"multicast on other interfaces than the LAN's: {a.ctl('lan')['interfaces']}")
    for n in (a, b):
        n.stop(signal.SIGKILL)
        os.unlink(n.path("data/tunnel/known-peers"))  # nothing is left of the first contact
    for n in (a, b):
        n.start(wait=False)
    for n in (a, b):
        wait_for(f"{n.name} ready", n.ready, 20)
    timed("both restarted")
    b.stop(signal.SIGKILL)
    lab.ip("B", "addr del 192.168.1.11/24 dev eth0", "addr add 192.168.1.77/24 dev eth0", "addr del fd01::11/64 dev eth0", "addr add fd01::77/64 dev eth0 nodad", "route add default via 192.168.1.1")
    b.ip = "192.168.1.77"
    b.start()
    timed("one restarted at another address")
    a.extra = b.extra = {"tunnel": {"lanDiscovery": False}}
    for n in (a, b):
        n.stop(signal.SIGTERM)
        os.unlink(n.path("data/tunnel/known-peers"))
    for n in (a, b):
        n.start()
    time.sleep(2)
    found.check(not all_calls(), "calls work with tunnel.lanDiscovery off: something else found the peer")
    found.check(a.ctl("lan")["enabled"] is False, f"edgemeshctl lan, switched off: {a.ctl('lan')}")
    return slowest
