"""How long packets may be: links of an Ethernet's MTU and less, routers that say so and routers that do not."""
import time

from fixtures import VIP, VIP6, answers
from lab import wait_for
from registry import scenario
from topology import path_mtu
from two_nodes import MB, is_direct, is_relayed, peer, set_blocked, two_sites

OUTER = 64  # IPv4, UDP, the tunnel's header and a relay's


def carries(found, client, what):
    """Much and long ones, both IP versions; -> the longest wait for bytes."""
    longest = 0
    for vip in (VIP, VIP6):
        r = client.client("download", vip, 80, 20 * MB)
        found.check(r.get("bytes") == 20 * MB, f"{what}: download from {vip}: {r}")
        longest = max(longest, r.get("longest_wait", 99))
        r = client.client("udp", vip, 9000, 10, 8192)
        found.check(r.get("errors") == 0, f"{what}: 8 KiB datagrams to {vip}: {r}")
    return longest


def learn(a, b, client, what, inner):
    """Long datagrams each way until both sides know; the first ones of a path that got shorter are lost."""
    def known():
        client.client("udp", VIP, 9000, 1, 8192)
        return settled(a, b, inner)

    wait_for(f"{what}: MTU {inner}", known, 10)


def settled(a, b, inner):
    """Both sides show that MTU, or up to 8 bytes less."""
    return all(inner - 8 <= peer(x, y).get("mtu", 0) <= inner for x, y in ((a, b), (b, a)))


def on_ethernet(lab):
    """Two sites, a direct path whose MTU is known, and a pod of A."""
    a, b, _ = two_sites(lab)
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    wait_for("A calls B", lambda: answers(client, pods_b), 15)
    wait_for("the path is direct", lambda: is_direct(a, b) and is_direct(b, a), 15)
    wait_for("an Ethernet's MTU", lambda: settled(a, b, 1500 - OUTER), 10)
    return a, b, client


@scenario("mtu", "seconds", "<=2", seconds=120, why="eight settled states of the path", at_once=2)
def mtu(lab, found):
    """Path MTU of 1500, 1300 with and without ICMP, 1000, direct and relayed: TCP and 8 KiB datagrams. Figure: the longest wait for bytes."""
    a, b, client = on_ethernet(lab)
    longest = carries(found, client, "1500")
    for wire, silent in ((1300, False), (1500, False), (1300, True), (1000, True)):
        path_mtu(lab, "natB", b.public, wire, silent)
        what = f"{wire}{', ICMP dropped' if silent else ''}"
        longest = max(longest, client.client("download", VIP, 80, 20 * MB).get("longest_wait", 99))
        if wire < 1500:  # a longer path is looked for every ten minutes
            learn(a, b, client, what, wire - OUTER)
        longest = max(longest, carries(found, client, what))
    set_blocked(lab, a, b, True)
    wait_for("the path is the relay", lambda: is_relayed(a, b) and is_relayed(b, a), 15)
    learn(a, b, client, "1000 over the relay", 1000 - OUTER)
    return max(longest, carries(found, client, "1000 over the relay"))


@scenario("mtu-shrinks", "seconds", "<=2", at_once=2)
def mtu_shrinks(lab, found):
    """The path gets shorter under a running transfer each way and nobody says so. Figure: the longest wait for bytes."""
    a, b, client = on_ethernet(lab)
    run = client.start_client("download", VIP, 80, 200 * MB, 25)
    time.sleep(2)
    path_mtu(lab, "natB", b.public, 1300, True)
    wait_for("the shorter path is known", lambda: peer(b, a).get("mtu", 1500) <= 1300 - OUTER, 10)
    out, _ = run.communicate(timeout=40)
    found.check(f'"bytes": {200 * MB}' in out, f"the download: {out.strip()[-200:]}")
    return float(out.split('"longest_wait": ')[1].rstrip("} \n")) if "longest_wait" in out else 99
