"""A network that lets no UDP through: traffic goes on by TCP to the relay, and comes back when it lets UDP through again."""
import json
import os
import sys
import time

import nat
from fixtures import VIP, answers
from lab import wait_for
from node import HTTP
from registry import scenario
from relay import say
from topology import leg, udp_block
from two_nodes import is_direct, peer, two_sites

MB, MB_PER_S, SECONDS = 1_000_000, 4, 22
BUFFER = 64 << 10  # small, so that the kernel's buffer hides no stall


def by_tcp(node, other):
    p = peer(node, other)
    return p.get("state") == "up" and "TCP" in str(p.get("path"))


def finish(run):
    out = run.communicate(timeout=60)[0].strip()
    return json.loads(out) if out.startswith("{") else {"error": out[-200:]}


@scenario("udp-block", "seconds", "<=2", seconds=75, why="a transfer through direct, TCP and direct again", at_once=2)
def udp_block_and_back(lab, found):
    """UDP of one site is blocked and let through again while a download and a UDP stream run: no reset, not a byte lost. Figure: the longest stall."""
    a, b, r = two_sites(lab)
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    wait_for("A calls B", lambda: answers(client, pods_b), 15)
    wait_for("the path is direct", lambda: is_direct(a, b) and is_direct(b, a), 15, 0.1)
    size = MB_PER_S * SECONDS * MB
    digest = pods_b[0].run("curl", "-s", f"http://{pods_b[0].ip}:{HTTP}/sha256?n={size}").stdout.strip()
    get = client.start_client("download", VIP, 80, size, MB_PER_S, BUFFER)
    datagrams = client.start_client("stream", VIP, 9000, SECONDS, 2)
    time.sleep(3)
    udp_block(lab, "natA", True)
    t = time.monotonic()
    wait_for("the path is TCP", lambda: by_tcp(a, b), 10, 0.05)
    say(f"by TCP after {time.monotonic() - t:.2f} s")
    time.sleep(6)
    found.check(by_tcp(a, b) and not by_tcp(b, a), f"the paths: {peer(a, b)} {peer(b, a)}")
    udp_block(lab, "natA", False)
    t = time.monotonic()
    wait_for("the path is direct again", lambda: is_direct(a, b) and is_direct(b, a), 15, 0.1)
    say(f"direct again {time.monotonic() - t:.2f} s after UDP was let through")
    got, stream = finish(get), finish(datagrams)
    say(f"download's longest wait {got.get('longest_wait', 99):.2f} s; datagrams: {stream}")
    found.check(got.get("bytes") == size and got.get("sha256") == digest, f"the download: {got}")
    found.check(stream.get("back", 0) > stream.get("sent", 1) * 0.8, f"datagrams that came back: {stream}")
    return max(got.get("longest_wait", 99), stream.get("longest_gap", 99))


@scenario("only-443", "failures", "=0", seconds=60, why="two starts of a node behind a box that drops almost all")
def only_443(lab, found):
    """A site lets nothing out but TCP 443, the relay's own port is another: calls work. Then nothing but a proxy is reached: they work through an HTTP proxy."""
    a, b, r = two_sites(lab, profile_a="udpblock")
    client, pods_b = list(a.pods.values())[0], list(b.pods.values())
    wait_for("A calls B", lambda: answers(client, pods_b), 20)
    found.check(by_tcp(a, b) and not by_tcp(b, a), f"the paths: {peer(a, b)} {peer(b, a)}")
    rows = a.ctl("paths")["paths"]
    found.check(any(p["active"] and p["address"].endswith("(relay, TCP)") for p in rows), f"edgemeshctl paths: {rows}")
    got = client.client("download", VIP, 80, 5 * MB)
    found.same(got.get("bytes"), 5 * MB, "bytes of a download by TCP 443")
    a.stop()
    lab.ns("P")
    proxy = leg(lab, "P", "eth0")
    lab.start("P", [sys.executable, os.path.join(os.path.dirname(__file__), "..", "netns", "connect_proxy.py"), proxy, "443"])
    lab.nft("natA", nat.filter_table("closed", "forward", -20, [f'iifname "lan" ip daddr != {proxy} drop'], "ip"))
    a.extra = {"tunnel": {**a.extra.get("tunnel", {}), "proxy": f"{proxy}:443"}}
    a.start()
    wait_for("A calls B through the proxy", lambda: answers(client, pods_b), 20)
    found.check(by_tcp(a, b), f"the path: {peer(a, b)}")
