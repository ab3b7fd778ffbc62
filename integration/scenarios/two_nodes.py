"""Calls between nodes: over the relay, directly, while the path moves, while a side dies."""
import ipaddress
import re
import signal
import time

import nat
from fixtures import VIP, VIP6, answers, deploy
from lab import wait_for
from node import join
from registry import scenario
from topology import direct_block, lan2, nat2

MB = 1_000_000


def peer(node, other):
    """What this node says of its peer, or {}."""
    out = node.ctl("peers")
    rows = out if isinstance(out, list) else out.get("peers", [])
    return next((r for r in rows if r["name"] == other.name), {})


def is_direct(node, other):
    p = peer(node, other)
    return p.get("state") == "up" and bool(p.get("direct"))


def is_relayed(node, other):
    p = peer(node, other)
    return p.get("state") == "up" and not p.get("direct")


def two_sites(lab, blocked=False, start=True, **kw):
    """Two sites behind NATs and a relay, pods of B behind service shop; with blocked no direct path can work. -> (A, B, R)"""
    a, b, r = nat2(lab, **kw)
    join([a, b, r], relay=r)
    for p in [*b.pods.values(), *list(a.pods.values())[1:]]:
        p.serve()
    if blocked:
        set_blocked(lab, a, b, True)
    deploy([a, b], list(b.pods.values()))
    if start:
        for n in (r, a, b):
            n.start(wait=False)
        for n in (r, a, b):
            wait_for(f"{n.name} ready", n.ready, 20)
    return a, b, r


def set_blocked(lab, a, b, blocked):
    direct_block(lab, "natA", b.public, blocked)
    direct_block(lab, "natB", a.public, blocked)


def call_all_ways(found, client, pods, name, vip, vip6=None):
    """HTTP, a server that speaks first, half-close, UDP small and large."""
    names = {p.name for p in pods}
    for target in (name, vip) + ((vip6,) if vip6 else ()):
        found.check(answers(client, pods, target, n=6), f"HTTP {target}: {client.client('http', target, 80, 3)}")
        r = client.client("echo", target, 2701)
        found.check(r.get("banner") in names and r.get("after_half_close"), f"echo {target}: {r}")
        for n, size in ((50, 64), (10, 8192)):
            r = client.client("udp", target, 9000, n, size)
            found.check(not r.get("error") and r["errors"] == 0, f"UDP {size} {target}: {r.get('error') or r['counts']}")


@scenario("lan", "failures", "=0")
def lan(lab, found):
    """Two nodes on one LAN without any relay, both directions, every kind of call."""
    a, b = lan2(lab, pods_a=4, pods_b=3)
    join([a, b])
    client_a, *pods_a = a.pods.values()
    pods_b = list(b.pods.values())
    for p in pods_a + pods_b:
        p.serve()
    deploy([a, b], pods_b)
    deploy([a, b], pods_a, "shop-a", ips=["10.96.0.20", "fd96::20"])
    a.start(), b.start()
    wait_for("A calls B", lambda: answers(client_a, pods_b), 10)
    call_all_ways(found, client_a, pods_b, "shop", VIP)
    call_all_ways(found, pods_b[0], pods_a, "shop-a", "10.96.0.20")


@scenario("c10", "failures", "=0")
def c10(lab, found):
    """Across two NATs over the relay, both directions, every kind of call."""
    a, b, r = two_sites(lab, blocked=True, pods_a=3)
    client_a, *pods_a = a.pods.values()
    pods_b = list(b.pods.values())
    deploy([a, b], pods_a, "shop-a", ips=["10.96.0.20", "fd96::20"])
    wait_for("A calls B", lambda: answers(client_a, pods_b), 15)
    found.check(is_relayed(a, b), f"the path is not the relay: {peer(a, b)}")
    call_all_ways(found, client_a, pods_b, "shop", VIP)
    call_all_ways(found, pods_b[0], pods_a, "shop-a", "10.96.0.20")
    relay_bytes = sum(lab.bytes("R", "eth0"))
    client_a.client("download", VIP, 80, 5 * MB)
    found.check(sum(lab.bytes("R", "eth0")) - relay_bytes > 10 * MB, "the bytes did not go over the relay")


@scenario("overlap", "failures", "=0")
def overlap(lab, found):
    """The same pod address on both nodes: each call reaches the pod that was meant, never its double."""
    a, b, r = two_sites(lab, pods_a=4, pods_b=3)
    client, *doubles = a.pods.values()
    pods_b = list(b.pods.values())
    found.same([p.ip for p in doubles[:2]], [p.ip for p in pods_b[1:]], "the sites' pod addresses")
    wait_for("A calls B", lambda: answers(client, pods_b), 15)
    for target in (VIP, "shop"):
        found.check(answers(client, pods_b, target, n=12), f"{target}: {client.client('http', target, 80, 6)}")
    mixed = [doubles[0], pods_b[1]]  # one address, two pods
    deploy([a, b], mixed, "mixed", ips=["10.96.0.21"])
    wait_for("both pods of one address answer", lambda: set(client.client("http", "10.96.0.21", 80, 12).get("counts", {})) == {p.name for p in mixed}, 10)


@scenario("dual-stack", "failures", "=0")
def dual_stack(lab, found):
    """The same calls over IPv6: AAAA, VIP, overlay and pods, through two NATs that only carry IPv4."""
    a, b, r = two_sites(lab)
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    wait_for("A calls B by IPv6", lambda: answers(client, pods_b, VIP6), 15)
    found.same(client.run("dig", "+short", "AAAA", "shop.default.svc.cluster.local").stdout.split(), [VIP6], "AAAA")
    call_all_ways(found, client, pods_b, "shop", VIP, VIP6)


@scenario("relay-to-direct", "seconds", "<=10")
def relay_to_direct(lab, found):
    """A running download moves from the relay to the direct path and back; not a byte is lost. Figure: until direct."""
    a, b, r = two_sites(lab, blocked=True)
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    wait_for("A calls B over the relay", lambda: answers(client, pods_b), 15)
    found.check(is_relayed(a, b), f"the path is not the relay: {peer(a, b)}")
    digest = pods_b[0].run("curl", "-s", f"http://{pods_b[0].ip}:8080/sha256?n={300 * MB}").stdout.strip()
    run = client.start_client("download", VIP, 80, 300 * MB, 15)
    time.sleep(2)
    set_blocked(lab, a, b, False)
    t = time.monotonic()
    wait_for("the path is direct", lambda: is_direct(a, b) and is_direct(b, a), 15, 0.1)
    seconds = time.monotonic() - t
    before = sum(lab.bytes("R", "eth0"))
    time.sleep(2)
    over_relay = sum(lab.bytes("R", "eth0")) - before
    found.check(over_relay < MB, f"{over_relay} bytes over the relay while direct")
    set_blocked(lab, a, b, True)
    wait_for("the path is the relay again", lambda: is_relayed(a, b), 10, 0.1)
    out, _ = run.communicate(timeout=40)
    found.check(f'"bytes": {300 * MB}' in out and digest in out, f"the download: {out.strip()[-200:]}")
    return seconds


@scenario("stale-peer", "seconds", "<=3", at_once=2)
def stale_peer(lab, found):
    """kill -9 of one side with the relay up: calls work again within 3 s of its restart."""
    a, b, r = two_sites(lab, blocked=True)
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    wait_for("A calls B", lambda: answers(client, pods_b), 15)
    slowest = 0
    for victim in (b, a):
        victim.stop(signal.SIGKILL)
        t = time.monotonic()
        victim.start(wait=False)
        wait_for(f"calls after kill -9 of {victim.name}", lambda: "!" not in str(client.client("connect", VIP, 80, 0.2))
                 and answers(client, pods_b, VIP), 20, 0.05)
        slowest = max(slowest, time.monotonic() - t)
    return slowest


@scenario("no-leak", "packets", "=0")
def no_leak(lab, found):
    """The daemon is killed in the middle of calls: not one overlay packet in clear on the uplink, IPv4 or IPv6."""
    a, b, r = two_sites(lab)
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    wait_for("A calls B", lambda: answers(client, pods_b), 15)
    overlay6 = ipaddress.ip_network(a.overlay6 + "/64", strict=False)
    for ns, side, hook, priority in (("natA", 'iifname "lan"', "prerouting", -300), ("A", 'oifname "eth0"', "postrouting", 300)):
        lab.nft(ns, nat.filter_table("leak", hook, priority, [f"{side} counter", f"{side} ip daddr 100.64.0.0/10 counter",
                                                              f"{side} ip6 daddr {overlay6} counter"]))
    running = [client.start_client("http", vip, 80, 4) for vip in (VIP, VIP6)] + [client.start_client("download", VIP, 80, 50 * MB, 10)]
    time.sleep(1)
    a.stop(signal.SIGKILL)
    for vip in (VIP, VIP6):
        client.client("connect", vip, 80, 2)
        a.client("connect", vip, 80, 2)
        client.client("udp", vip, 9000, 2, 100)
    for p in running:
        p.kill()
    leaked = 0
    for ns in ("natA", "A"):
        listing = lab.run(ns, ["nft", "list", "table", "inet", "leak"]).stdout
        everything, four, six = (int(n) for n in re.findall(r"packets (\d+)", listing))
        found.check(everything > 0, f"{ns}: the counter saw no packet at all")
        leaked += four + six
    return leaked
