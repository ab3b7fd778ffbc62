"""Many sites, each one node behind a NAT box of some profile, and two public relays whose TCP and UDP port is 443."""
import os
import shutil

import manifests
import nat
from lab import wait_for
from node import Node, issue_certificates
from topology import internet, leg, nat_box

RELAY_PORT = 443


class Sites:
    """A site is made on first use and belongs to one pair at a time; its box forgets everything in between."""

    def __init__(self, lab, relays=2):
        self.lab, self.sites = lab, {}
        internet(lab)
        self.relays = []
        for i in range(1, relays + 1):
            ns = f"R{i}"
            lab.ns(ns)
            public = leg(lab, ns, "eth0")
            r = Node(lab, ns, f"relay-{i}", public, network="public", public=public, roles=["relay"])
            r.extra = {"tunnel": {"signalPort": RELAY_PORT, "advertise": [f"{public}:{RELAY_PORT}"]}}
            self.relays.append(r)
        issue_certificates(self.relays)
        for r in self.relays:
            r.apply("mesh.yaml", *self.mesh(self.relays))
            r.start(wait=False)
        for r in self.relays:
            wait_for(f"{r.name} ready", r.ready, 20)

    def mesh(self, nodes):
        return [manifests.mesh_node(n.name, [n.overlay, n.overlay6], n.network, n.roles,
                                    [f"{n.public}:{RELAY_PORT}"] if "relay" in n.roles else n.advertise, n.pod_cidrs) for n in nodes]

    def site(self, name, profile, **impair):
        """The node of the site, its daemon not running."""
        if name not in self.sites:
            box, lab = f"n{name}", self.lab
            routed = nat.PROFILES[profile]["map"] == "none"  # its hosts own routable addresses
            n = len(self.sites)
            lan = f"198.19.{100 + n}" if routed else f"192.168.{100 + n}"
            public = nat_box(lab, box, profile, f"{lan}.1/24", **impair)
            if routed:
                lab.ip("inet", f"route add {lan}.0/24 via {public}")
            lab.ns(f"h{name}", forwarding=True)
            lab.cable(box, f"p{name}"[:15], f"h{name}", "eth0")
            lab.ip(box, f"link set {f'p{name}'[:15]} master lan")
            lab.ip(f"h{name}", f"addr add {lan}.10/24 dev eth0", f"route add default via {lan}.1")
            node = Node(lab, f"h{name}", f"node-{name.lower()}", f"{lan}.10", network=f"site-{name.lower()}", public=public)
            node.box, node.profile = box, profile
            issue_certificates([node])
            self.sites[name] = node
        return self.sites[name]

    def forget(self, node):
        """As if neither the box nor the daemon had ever talked to anybody."""
        shutil.rmtree(os.path.join(node.dir, "data"), ignore_errors=True)
        self.lab.nft(node.box, nat.ruleset(nat.options(node.profile), node.public))
        self.lab.run(node.box, ["conntrack", "-F"], check=False)

    def start_pair(self, a, b):
        for n in (a, b):
            n.extra = {"tunnel": {"relays": [{"name": r.name, "address": f"{r.public}:{RELAY_PORT}"} for r in self.relays]}}
            n.apply("mesh.yaml", *self.mesh([a, b, *self.relays]))
            self.forget(n)
        for n in (a, b):
            n.start(wait=False)
        for n in (a, b):
            wait_for(f"{n.name} ready", n.ready, 20)

    def stop_pair(self, a, b):
        for n in (a, b):
            n.stop()
