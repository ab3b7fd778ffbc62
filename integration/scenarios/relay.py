"""The relay dies: what runs over the direct path does not notice, what ran over it goes over another one, and it is found again."""
import json
import re
import signal
import sys
import time

import manifests
from bystander import Bystander
from fixtures import VIP, answers, deploy
from health import result
from lab import wait_for
from node import HTTP, Node, issue_certificates, mesh_manifests
from registry import scenario
from topology import leg
from two_nodes import is_direct, is_relayed, peer, set_blocked, two_sites

MB = 1_000_000
LATE_VIP, SPARE_VIP = "10.96.0.41", "10.96.0.42"
EVERY_MS = 50
SLOW = 0.3  # a call that took longer met the gap: over the relay one takes a few milliseconds


def say(text):
    print("     " + text, file=sys.stderr, flush=True)


def second_relay(lab):
    lab.ns("S")
    public = leg(lab, "S", "eth0")
    return Node(lab, "S", "node-s", public, network="public", public=public, roles=["relay"])


def signal_connections(node):
    """Relays and peers this node has a signalling connection with."""
    text = node.run("curl", "-s", "--unix-socket", node.socket, "http://x/metrics", check=False).stdout
    found = re.search(r"^edgemeshd_signal_connections (\d+)", text, re.M)
    return int(found[1]) if found else 0


class Load:
    """New calls and one download while something happens."""

    def __init__(self, found, client, server, size_mb, mb_per_s):
        self.found, self.size = found, size_mb * MB
        self.digest = server.run("curl", "-s", f"http://{server.ip}:{HTTP}/sha256?n={self.size}").stdout.strip()
        seconds = size_mb / mb_per_s
        self.get = client.start_client("download", VIP, 80, self.size, mb_per_s)
        self.run = client.start_client("steady", VIP, 80, seconds, EVERY_MS)

    def judge(self, what, t):
        """-> (longest wait of the download, seconds after t until calls are quick again, longest call)"""
        calls = result(self.run)
        out = self.get.communicate(timeout=60)[0].strip()
        got = json.loads(out) if out.startswith("{") else {}
        failed = [answer for _, answer, _ in calls if answer.startswith("!")]
        self.found.check(not failed, f"{what}: {len(failed)} of {len(calls)} calls failed: {failed[:3]}")
        self.found.check(calls[-1][0] > t + 3, f"{what}: calls ended too early: the test is void")
        self.found.check(got.get("bytes") == self.size and got.get("sha256") == self.digest, f"{what}: the download: {out[-200:]}")
        gap = max([begun + took - t for begun, _, took in calls if begun + took > t and took > SLOW], default=0)
        longest = max(took for _, _, took in calls)
        say(f"{what}: {len(calls)} calls, longest {longest:.2f} s; download's longest wait {got.get('longest_wait', 99):.2f} s")
        return got.get("longest_wait", 99), gap, longest


@scenario("relay-death", "seconds", "<=2", seconds=150, why="one and two relays, their deaths and returns", at_once=2)
def relay_death(lab, found):
    """kill -9 of the relay: direct sessions go on and take new exports; without a direct path the second relay; found again. Figure: the longest stall."""
    a, b, r = two_sites(lab, start=False, pods_a=3)
    client, calm_client, calm_pod = a.pods.values()
    pods_b = list(b.pods.values())
    calm = Bystander(found, [a, b], calm_client, calm_pod, serve=False)
    for name, vip, port in (("late", LATE_VIP, 81), ("spare", SPARE_VIP, 82)):
        deploy([a, b], pods_b, name, ips=[vip], ports=[manifests.port(port, HTTP, "http")])
    for n in (r, a, b):
        n.start(wait=False)
    for n in (r, a, b):
        wait_for(f"{n.name} ready", n.ready, 20)
    wait_for("A calls B", lambda: answers(client, pods_b), 15)
    wait_for("the path is direct", lambda: is_direct(a, b) and is_direct(b, a), 15, 0.1)

    calm.ready()
    with calm.watch("direct, the relay dead"):
        load = Load(found, client, pods_b[0], 120, 10)
        time.sleep(2)
        r.stop(signal.SIGKILL)
        t = time.monotonic()
        time.sleep(1)
        began = time.monotonic()
        found.check(answers(client, pods_b, "late", port=81, n=6), f"a service not used before the relay died: {client.client('http', 'late', 81, 3)}")
        say(f"a service not used before: {time.monotonic() - began:.2f} s for 6 calls")
        stall, _, longest = load.judge("direct, the relay dead", t)
    worst = max(stall, longest)
    found.check(is_direct(a, b) and is_direct(b, a), f"the path is not direct: {peer(a, b)}")
    found.same((signal_connections(a), signal_connections(b)), (0, 0), "signalling connections with the relay dead")

    r.start()
    t = time.monotonic()
    wait_for("the nodes find the relay again", lambda: signal_connections(a) and signal_connections(b), 15, 0.05)
    found.check(time.monotonic() - t <= 5, f"the nodes found the relay again after {time.monotonic() - t:.1f} s")
    say(f"the only relay, dead for 12 s, found again after {time.monotonic() - t:.2f} s")

    s = second_relay(lab)
    issue_certificates([s])
    for n in (a, b, r, s):
        n.apply("mesh.yaml", *mesh_manifests([a, b, r, s]))
    for n in (a, b):
        n.relays = [r, s]
        n.stop()
    r.stop()
    set_blocked(lab, a, b, True)
    for n in (r, s, a, b):
        n.start(wait=False)
    for n in (r, s, a, b):
        wait_for(f"{n.name} ready", n.ready, 20)
    wait_for("A calls B over a relay", lambda: answers(client, pods_b), 15)
    wait_for("both relays are known", lambda: signal_connections(a) == 2 and signal_connections(b) == 2, 15)
    found.check(is_relayed(a, b), f"the path is not a relay: {peer(a, b)}")
    time.sleep(2)
    with calm.watch("two relays, the used one dead"):
        load = Load(found, client, pods_b[0], 80, 8)
        time.sleep(2)
        first, other = (r, s) if peer(a, b).get("relay") == r.name else (s, r)
        first.stop(signal.SIGKILL)
        t = time.monotonic()
        stall, gap, _ = load.judge("two relays, the used one dead", t)
    say(f"calls are quick again {gap:.2f} s after the death")
    worst = max(worst, gap)
    found.check(peer(a, b).get("relay") == other.name, f"the path is not the other relay: {peer(a, b)}")
    found.check(answers(client, pods_b, "spare", port=82, n=3), "a service not used before, over the second relay")

    other.stop(signal.SIGKILL)
    time.sleep(8)
    first.start()
    t = time.monotonic()
    wait_for("calls over the relay that came back", lambda: "!" not in str(client.client("connect", VIP, 80, 0.5)) and answers(client, pods_b, VIP), 20, 0.05)
    found.check(time.monotonic() - t <= 5, f"calls over the relay that came back after {time.monotonic() - t:.1f} s")
    say(f"no relay for 8 s: calls {time.monotonic() - t:.2f} s after one came back")
    return worst
