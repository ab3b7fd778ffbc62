"""What strangers get from our ports: nothing, and from a relay nothing that helps them. And what it costs those who talk meanwhile."""
import json
import os
import subprocess
import sys

import nat
from fixtures import VIP, answers, deploy
from lab import HERE, LabError, wait_for
from node import Node, join
from registry import scenario
from relay import say
from topology import internet, leg
from two_nodes import is_direct, is_relayed, peer

DATAGRAMS, AT_RELAY = 1_000_000, 300_000
PPS = 80_000
PORT = 20006
STRANGERS = "198.19"                # 198.19.0.0/16: nobody in the labs has it
EVERY_MS = 2                        # the flow beside
ASKED, PER_SECOND, BURST = 600, 50, 100  # of one /24, as the protocol's page says

# What crosses a node's own end, by kind: @th,64,N are the first bits of what UDP carries.
COUNTED = {"in_all": ("in", ""), "in_stun": ("in", "udp dport 20006 @th,64,16 0x0001"), "in_bind": ("in", "udp dport 20006 @th,64,16 0x8601"),
           "out_all": ("out", ""), "out_stun": ("out", "udp sport 20006 @th,64,16 0x0101"), "out_challenge": ("out", "udp sport 20006 @th,64,16 0x8602")}


def count(lab, ns):
    """Counts what strangers send to this namespace and get from it, from now on."""
    rules = {"in": [], "out": []}
    for name, (way, match) in COUNTED.items():
        rules[way].append(f"  ip {'saddr' if way == 'in' else 'daddr'} {STRANGERS}.0.0/16 {match} counter name {name}\n")
    lab.nft(ns, "table ip strangers\ndelete table ip strangers\ntable ip strangers {\n" + "".join(f" counter {n} {{ }}\n" for n in COUNTED)
            + " chain in {\n  type filter hook prerouting priority -300; policy accept;\n" + "".join(rules["in"]) + " }\n"
            + " chain out {\n  type filter hook postrouting priority 300; policy accept;\n" + "".join(rules["out"]) + " }\n}\n")


def counted(lab, ns):
    """-> {name: (packets, bytes)}"""
    rows = json.loads(lab.run(ns, ["nft", "-j", "list", "counters", "table", "ip", "strangers"]).stdout)["nftables"]
    return {r["counter"]["name"]: (r["counter"]["packets"], r["counter"]["bytes"]) for r in rows if "counter" in r}


def open_country(lab):
    """Nodes A and B and relay R with public addresses and nothing in front of them, and a stranger M who owns a /16."""
    internet(lab)
    nodes = []
    for ns, roles in (("A", ()), ("B", ()), ("R", ("relay",))):
        lab.ns(ns, forwarding=True)
        public = leg(lab, ns, "eth0")
        node = Node(lab, ns, f"node-{ns.lower()}", public, network=f"site-{ns.lower()}", public=public, roles=roles)
        if ns != "R":
            node.add_pod(f"{ns.lower()}0")
        nodes.append(node)
    a, b, r = nodes
    join(nodes, relay=r)
    b.pods["b0"].serve()
    deploy([a, b], [b.pods["b0"]])
    lab.ns("M")
    lab.ip("inet", f"route add {STRANGERS}.0.0/16 via {leg(lab, 'M', 'eth0')}")
    return a, b, r


class Flow:
    """Datagrams of a pod of A to one of B and back, while strangers send."""

    def __init__(self, lab, a):
        self.lab, self.a, self.tool = lab, a, lab.tool("flood", os.path.join(HERE, "flood.cc"))

    def record(self, link, target):
        """Real packets to that address, as somebody on the way sees them."""
        path = os.path.join(self.lab.dir, f"to-{target}")
        seen = self.lab.start("inet", [self.tool, "record", link, target, "300", path], stdout=subprocess.PIPE, text=True)
        seen.stdout.readline()
        self.a.pods["a0"].client("stream", VIP, 9000, 1, EVERY_MS)
        if seen.wait(15) != 0:
            raise LabError(f"no packet to {target} was seen on {link}")
        return path

    def beside(self, found, target, packets, datagrams):
        """-> percent lost of the flow while that many datagrams are sent to the target"""
        seconds = datagrams / PPS
        run = self.a.pods["a0"].start_client("stream", VIP, 9000, seconds + 1, EVERY_MS)
        flood = self.lab.start("M", [self.tool, "send", target, str(PORT), packets, str(datagrams), str(PPS), STRANGERS], stdout=subprocess.PIPE, text=True)
        out = flood.communicate(timeout=60)[0].split()
        got = json.loads(run.communicate(timeout=60)[0])
        lost = 100 * (1 - got["back"] / got["sent"])
        say(f"{out[1]} datagrams to {target} in {out[3]} s; of {got['sent']} others {got['sent'] - got['back']} were lost, longest gap {got['longest_gap']:.2f} s")
        found.check(int(out[1]) == datagrams, f"the stranger sent {out}")
        return lost


@scenario("silent", "percent lost", "<=1", seconds=90, at_once=1, why="1.3 million datagrams")
def silent(lab, found):
    """A million forged datagrams of every kind get nothing from a node, and from a relay less than they cost. Figure: what a flow beside loses."""
    a, b, r = open_country(lab)
    for n in (r, a, b):
        n.start(wait=False)
    for n in (r, a, b):
        wait_for(f"{n.name} ready", n.ready, 20)
    wait_for("A calls B", lambda: answers(a.pods["a0"], [b.pods["b0"]], VIP), 15)
    wait_for("the path is direct", lambda: is_direct(a, b) and is_direct(b, a), 15, 0.1)
    flow, from_b = Flow(lab, a), f"l{b.public.split('.')[2]}"

    packets = flow.record(from_b, a.public)
    count(lab, "A")
    lost = flow.beside(found, a.public, packets, DATAGRAMS)
    at_a = counted(lab, "A")
    found.check(at_a["in_all"][0] >= 0.99 * DATAGRAMS, f"of {DATAGRAMS} datagrams {at_a['in_all'][0]} came to the node")
    found.same(at_a["out_all"], (0, 0), "packets and bytes that strangers got from a node without the relay role")
    found.check(is_direct(a, b) and is_direct(b, a), f"the path after it: {peer(a, b)}")

    asked_too_often(lab, found, r)
    pair = f"{{ {a.public}, {b.public} }}"
    lab.nft("inet", nat.filter_table("apart", "forward", -10, [f"ip saddr {pair} ip daddr {pair} drop"], "ip"))
    wait_for("the path is the relay", lambda: is_relayed(a, b) and is_relayed(b, a), 15, 0.1)
    packets = flow.record(from_b, r.public)
    count(lab, "R")
    lost = max(lost, flow.beside(found, r.public, packets, AT_RELAY))
    judge_relay(found, counted(lab, "R"))
    found.check(is_relayed(a, b), f"the path after it: {peer(a, b)}")
    return lost


def judge_relay(found, c):
    say("the relay: " + ", ".join(f"{k} {p} packets {n} bytes" for k, (p, n) in c.items()))
    answered = [c["out_stun"][i] + c["out_challenge"][i] for i in (0, 1)]
    found.same(c["out_all"], tuple(answered), "packets and bytes from the relay, of which STUN answers and challenges")
    for asked, answer in (("in_all", "out_all"), ("in_stun", "out_stun"), ("in_bind", "out_challenge")):
        found.check(0 < c[answer][0] <= c[asked][0] and c[answer][1] <= c[asked][1], f"{answer} {c[answer]}, {asked} {c[asked]}: more out than in, or nothing at all")


def asked_too_often(lab, found, relay):
    """STUN from one /24 is answered up to the limit; another /24 does not suffer from it."""
    lab.ip("M", *(f"addr add {STRANGERS}.{net}.{host}/32 dev lo" for net in (250, 251) for host in (1, 2, 3)))

    def ask(net, n):
        argv = [sys.executable, os.path.join(HERE, "stun_client.py"), relay.public, str(PORT), str(n), *(f"{STRANGERS}.{net}.{host}" for host in (1, 2, 3))]
        return json.loads(lab.run("M", argv).stdout)

    much, little = ask(250, ASKED), ask(251, 3)
    say(f"STUN, one /24: {much}; another: {little}")
    found.check(BURST / 2 <= much["answers"] <= BURST + PER_SECOND * much["seconds"], f"STUN requests of one /24: {much}")
    found.same((little["answers"], much["short_answers"], little["short_answers"]), (3, 0, 0), "STUN answers to another /24, and to requests shorter than an answer")
    found.check(max(much["longest"], little["longest"]) <= much["request"], f"a STUN answer longer than its request: {much}")
