"""One transfer and one stream of datagrams through everything that may happen to the path under them."""
import contextlib
import hashlib
import signal
import time

import nat
import pod_server
from clock import metric
from fixtures import VIP, answers, deploy
from lab import wait_for
from node import issue_certificates, mesh_manifests
from registry import scenario
from relay import say, second_relay
from restart import follow, pid_of, successor
from tcp_fallback import BUFFER, by_tcp, finish
from topology import nat2, udp_block
from two_nodes import MB, is_direct, is_relayed, peer, set_blocked

RELAY_PORT = 443
MB_PER_S, EVERY_MS = 4, 1
SECONDS_MAX = 120           # for the clients: SIGTERM ends them earlier
REKEY_AFTER = "10s"
QUIET = 1.0                 # between two events, so that a stall has an owner


class Trip:
    """What happens, one after the other, and when each began."""

    def __init__(self):
        self.events = []

    @contextlib.contextmanager
    def event(self, name):
        self.events.append((name, time.monotonic()))
        yield
        took = time.monotonic() - self.events[-1][1]
        say(f"{name}: {took:.2f} s")
        time.sleep(QUIET)

    def at(self, moment):
        return next((name for name, begun in reversed(self.events) if begun <= moment), "before")


def sites(lab):
    """Two sites behind NATs, and two relays whose only port is 443."""
    a, b, r = nat2(lab, pods_b=1)
    s = second_relay(lab)
    nodes = [a, b, r, s]
    issue_certificates(nodes)
    for n in nodes:
        relays = [{"name": x.name, "address": f"{x.public}:{RELAY_PORT}"} for x in (r, s) if x is not n]
        own = {"signalPort": RELAY_PORT, "advertise": [f"{n.public}:{RELAY_PORT}"]} if "relay" in n.roles else {"rekeyAfter": REKEY_AFTER}
        n.extra = {"tunnel": {"relays": relays, **own}}
        n.apply("mesh.yaml", *mesh_manifests([a, b]))
    b.pods["b0"].serve()
    deploy([a, b], [b.pods["b0"]])
    for n in nodes:
        n.start(wait=False)
    for n in nodes:
        wait_for(f"{n.name} ready", n.ready, 20)
    return a, b, r, s


def new_box(lab, box, public):
    """The NAT box as after a power cut: another table of ports, no flow known."""
    lab.nft(box, nat.ruleset(nat.options("port"), public))
    lab.run(box, ["conntrack", "-F"], check=False)


def renumber(lab, node, box):
    """The provider gives the site another address."""
    old, net = node.public, node.public.rsplit(".", 1)[0]
    node.public = f"{net}.{int(old.rsplit('.', 1)[1]) + 1}"
    lab.ip(box, f"addr del {old}/24 dev wan", f"addr add {node.public}/24 dev wan", f"route replace default via {net}.1")
    new_box(lab, box, node.public)


def only_443(lab, box, is_so):
    """The box lets nothing out but TCP 443, or everything again."""
    udp_block(lab, box, is_so)
    if is_so:
        lab.nft(box, nat.filter_table("only_443", "forward", -20, ['iifname "lan" meta l4proto tcp tcp dport != 443 reject with tcp reset'], "ip"))
    else:
        lab.nft(box, "delete table ip only_443\n")


def handshakes(node):
    return metric(node, 'edgemeshd_tunnel_handshakes_total{result="ok"}') or 0


def issue_again(lab, node, ca):
    lab.call([node.program("edgemeshctl"), "ca", "issue", node.name, "--dir", ca, "--out", node.dir, "--renew"])


def renew(lab, node, ca):
    """A new certificate in place of the old one, which the daemon notices."""
    issue_again(lab, node, ca)
    wait_for(f"{node.name} uses its new certificate", lambda: metric(node, 'edgemeshd_certificate_renewals_total{result="ok"}'), 15, 0.1)


def rotate(lab, node, ca):
    """A new certificate, taken over as an upgrade is."""
    issue_again(lab, node, ca)
    pids = [pid_of(node)]
    if not node.ctl_ok("handover"):
        raise AssertionError(f"{node.name} refused to hand over")
    wait_for(f"{node.name} has its new certificate", lambda: successor(node, pids), 15, 0.02)
    follow(lab, node, pids[-1])


@scenario("tcp-survives", "seconds", "<=2", seconds=110, at_once=2, why="ten changes of the path, one after the other")
def tcp_survives(lab, found):
    """One transfer and one stream of 1,000 datagrams/s live through every change of path, keys and certificates. Figure: the longest stall of either."""
    a, b, r, s = sites(lab)
    client, server, ca = a.pods["a0"], b.pods["b0"], f"{lab.dir}/ca"
    set_blocked(lab, a, b, True)
    wait_for("A calls B over a relay", lambda: answers(client, [server], VIP) and is_relayed(a, b) and is_relayed(b, a), 20)

    def direct():
        return is_direct(a, b) and is_direct(b, a)

    def relayed():
        return is_relayed(a, b) and is_relayed(b, a)

    get = client.start_client("download", VIP, 80, MB_PER_S * SECONDS_MAX * MB, MB_PER_S, BUFFER)
    stream = client.start_client("stream", VIP, 9000, SECONDS_MAX, EVERY_MS)
    trip = Trip()
    time.sleep(QUIET)
    with trip.event("relay to direct"):
        set_blocked(lab, a, b, False)
        wait_for("the path is direct", direct, 15, 0.1)
    with trip.event("the NAT forgets"):
        new_box(lab, "natA", a.public)
        time.sleep(1)
        wait_for("the path is direct again", direct, 15, 0.1)
    with trip.event("another address"):
        renumber(lab, a, "natA")
        time.sleep(1)
        wait_for("the path is direct again", direct, 15, 0.1)
    with trip.event("direct to relay"):
        set_blocked(lab, a, b, True)
        wait_for("the path is a relay", relayed, 15, 0.1)
        wait_for("both have a second relay", lambda: all(len([p for p in n.ctl("paths")["paths"] if "(relay" in p["address"]]) > 1 for n in (a, b)), 15, 0.1)
    with trip.event("the relay dies"):
        used, other = (r, s) if peer(a, b).get("relay") == r.name else (s, r)
        used.stop(signal.SIGKILL)
        wait_for("the path is the other relay", lambda: relayed() and peer(a, b).get("relay") == other.name, 15, 0.1)
    with trip.event("A has a new certificate"):
        renew(lab, a, ca)
        wait_for("A's session", relayed, 15, 0.1)
    with trip.event("B has a new certificate"):
        rotate(lab, b, ca)
        wait_for("B's session", relayed, 15, 0.1)
    with trip.event("new keys"):
        before = handshakes(a)
        wait_for("new keys are agreed", lambda: handshakes(a) > before, 25, 0.1)
    with trip.event("nothing but TCP 443"):
        only_443(lab, "natA", True)
        wait_for("the path is TCP", lambda: by_tcp(a, b), 15, 0.1)
    with trip.event("all is open again"):
        only_443(lab, "natA", False)
        set_blocked(lab, a, b, False)
        wait_for("the path is direct", direct, 20, 0.1)
    for run in (get, stream):
        run.send_signal(signal.SIGTERM)
    return judge(found, trip, finish(get), finish(stream))


def judge(found, trip, got, stream):
    for what, longest in ((got, "longest_wait"), (stream, "longest_gap")):
        if longest not in what:
            found.append(f"a client ended before its time ({trip.at(what.get('at', 0))}): {what}")
            return 99
    say(f"{got['bytes'] / MB:.0f} MB, longest wait {got['longest_wait']:.2f} s ({trip.at(got['at'])}); of {stream['sent']} datagrams {stream['back']} came back, "
        f"longest time without {stream['longest_gap']:.2f} s ({trip.at(stream['at'])})")
    digest = hashlib.sha256()
    for block in pod_server.body(got["bytes"]):
        digest.update(block)
    found.same(got["sha256"], digest.hexdigest(), f"the hash of {got['bytes']} bytes")
    found.check(got["bytes"] > 20 * MB and stream["back"] > 0.7 * stream["sent"], f"too little came: {got['bytes']} bytes, {stream['back']} of {stream['sent']} datagrams")
    return max(got["longest_wait"], stream["longest_gap"])
