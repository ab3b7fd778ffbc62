"""Places: any arrangement of sites and carriers, made for one case and gone after it. A site is written as its profile and options,
"port,hosts=2,hairpin=1": hosts, hairpin, udp_timeout (s), cgn (name of a carrier), lan (first three numbers), v6, pmp
(1: PCP and NAT-PMP, upnp: UPnP), delay, jitter (ms),
loss (%), rate (Mbit/s), mtu, noptb (no ICMP frag-needed), exclude (its addresses are not offered). A carrier is a NAT box with sites
behind it, written alike."""
import contextlib
import os
import signal
import subprocess
import sys

import nat
from lab import HERE, LabError
from node import Node, issue_certificates
from sites import RELAY_PORT, Sites
from topology import box_rules, leg

IMPAIR = ("delay", "jitter", "loss", "rate", "queue", "seed")


def options(spec):
    profile, *rest = spec.split(",")
    more = {k: float(v) if "." in v else int(v) if v.isdigit() else v for k, v in (r.split("=", 1) for r in rest) if k != "lan"}
    more.update({"lan": r[4:] for r in rest if r.startswith("lan=")})
    return {"profile": profile, "hosts": 1, "v6": 0, **nat.options(profile, **more)}


class Box:
    def __init__(self, ns, o, public, net):
        self.ns, self.options, self.public, self.net, self.behind, self.nodes = ns, o, public, net, None, []


class Places(Sites):
    """The relays stay, everything else belongs to one case."""

    def __init__(self, lab):
        super().__init__(lab)
        self.cases = 0

    @contextlib.contextmanager
    def case(self):
        self.cases += 1
        place = Case(self, f"{self.cases}")
        try:
            yield place
        finally:
            place.clear()


class Case:
    def __init__(self, places, name):
        self.places, self.lab, self.name = places, places.lab, name
        self.namespaces, self.pids, self.boxes, self.hosts = [], [], {}, 0

    def ns(self, name):
        self.namespaces.append(self.lab.ns(name, forwarding=True))
        return name

    def cable(self, *ends, **impair):
        before = len(self.lab.pids)
        self.lab.cable(*ends, **impair)
        self.pids += self.lab.pids[before:]

    def wan(self, ns, o):
        before = len(self.lab.pids)
        public = leg(self.lab, ns, **{k: o[k] for k in IMPAIR if k in o})
        self.pids += self.lab.pids[before:]
        net = int(public.split(".")[2])
        self.limit(ns, "wan", "inet", f"l{net}", o)
        return public, net

    def limit(self, ns, dev, far, far_dev, o):
        if o.get("mtu"):
            self.lab.ip(ns, f"link set {dev} mtu {o['mtu']}")
            self.lab.ip(far, f"link set {far_dev} mtu {o['mtu']}")

    def carrier(self, name, spec):
        o = options(spec)
        ns = self.ns(f"c{self.name}{name}")
        public, net = self.wan(ns, o)
        box_rules(self.lab, ns, o, public, f"100.64.{net}.1/24")
        self.boxes[name] = Box(ns, o, public, net)

    def site(self, name, spec):
        """-> the nodes of its hosts, their daemons not running."""
        o, lab = options(spec), self.lab
        ns = self.ns(f"n{self.name}{name}")
        carrier = self.boxes.get(o.get("cgn"))
        public, net = self.behind(carrier, ns, o) if carrier else self.wan(ns, o)
        routed = o["map"] == "none"
        lan = o.get("lan") or (f"198.19.{net}" if routed else f"192.168.{net % 250 + 2}")
        box_rules(lab, ns, o, public, f"{lan}.1/24")
        if routed:
            lab.ip("inet", f"route add {lan}.0/24 via {public}")
        if o["v6"]:
            self.six(ns, net)
        box = self.boxes[name] = Box(ns, o, public, net)
        box.behind = carrier
        for k in range(o["hosts"]):
            box.nodes.append(self.host(box, lan, k))
        if o.get("pmp"):
            server = "upnp_server.py" if o["pmp"] == "upnp" else "pmp_server.py"
            p = lab.start(ns, [sys.executable, os.path.join(HERE, server), public, f"{lan}.1"], stdout=subprocess.PIPE, text=True)
            self.pids += lab.pids[-1:]
            if p.stdout.readline().strip() != "ready":
                raise LabError("the port mapping server did not start")
        return box.nodes

    def behind(self, carrier, ns, o):
        carrier.nodes.append(ns)
        k = 10 + len(carrier.nodes)
        self.cable(carrier.ns, f"p{k}", ns, "wan", **{x: o[x] for x in IMPAIR if x in o})
        self.lab.ip(carrier.ns, f"link set p{k} master lan")
        self.limit(ns, "wan", carrier.ns, f"p{k}", o)
        self.lab.ip(ns, f"addr add 100.64.{carrier.net}.{k}/24 dev wan", f"route add default via 100.64.{carrier.net}.1")
        return f"100.64.{carrier.net}.{k}", carrier.net + k

    def six(self, ns, net):
        self.lab.ip("inet", f"addr add 2001:db8:f{net:x}::1/64 dev l{net} nodad", f"route add 2001:db8:e{net:x}::/64 via 2001:db8:f{net:x}::2")
        self.lab.ip(ns, f"addr add 2001:db8:f{net:x}::2/64 dev wan nodad", f"route add default via 2001:db8:f{net:x}::1",
                    f"addr add 2001:db8:e{net:x}::1/64 dev lan nodad")

    def host(self, box, lan, k):
        lab, o = self.lab, box.options
        self.hosts += 1
        ns = self.ns(f"h{self.name}{self.hosts}")
        lab.cable(box.ns, f"h{k}", ns, "eth0")
        lab.ip(box.ns, f"link set h{k} master lan")
        lab.ip(ns, f"addr add {lan}.{10 + k}/24 dev eth0", f"route add default via {lan}.1")
        if o["v6"]:
            lab.ip(ns, f"addr add 2001:db8:e{box.net:x}::{10 + k}/64 dev eth0 nodad", f"route add default via 2001:db8:e{box.net:x}::1")
        node = Node(lab, ns, f"node-{ns}", f"{lan}.{10 + k}", network=f"site-{box.ns}", public=box.public)
        node.box = box
        issue_certificates([node])
        hidden = {"interfaces": {"exclude": ["eth0"]}, "lanDiscovery": False} if o.get("exclude") else {}
        node.extra = {"tunnel": {"relays": [{"name": r.name, "address": f"{r.public}:{RELAY_PORT}"} for r in self.places.relays], **hidden}}
        return node

    def acquaint(self, *nodes):
        for n in nodes:
            n.apply("mesh.yaml", *self.places.mesh([*nodes, *self.places.relays]))

    # ---- what happens to a box
    def flush(self, node):
        """The NAT box restarts: mappings are lost, new ports afterwards."""
        box = node.box
        self.lab.nft(box.ns, nat.ruleset(box.options, box.public))
        self.lab.run(box.ns, ["conntrack", "-F"], check=False)

    def renumber(self, node):
        """The provider gives it another address."""
        box = node.box
        net, last = box.public.rsplit(".", 1)
        new = f"{net}.{int(last) + 1}"
        self.lab.ip(box.ns, f"addr del {box.public}/24 dev wan", f"addr add {new}/24 dev wan", f"route replace default via {net}.1")
        box.public = new
        self.flush(node)

    def udp_block(self, node):
        self.lab.nft(node.box.ns, "add element ip nat_box udpblk { 0-65535 }\n")
        self.lab.run(node.box.ns, ["conntrack", "-D", "-p", "udp"], check=False)

    def udp_unblock(self, node):
        self.lab.nft(node.box.ns, "flush set ip nat_box udpblk\n")

    def clear(self):
        for box in self.boxes.values():
            for n in box.nodes:
                if isinstance(n, Node):
                    if n.daemon and n.alive():
                        n.stop()
                    self.lab.nodes.pop(n.ns, None)
        for pid, _ in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for ns in reversed(self.namespaces):
            self.lab.call(["ip", "netns", "del", self.lab.full(ns)])
