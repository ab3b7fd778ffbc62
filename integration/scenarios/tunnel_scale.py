"""One relay, and a thousand who need it."""
import os
import re
import subprocess
import time

from fixtures import VIP, deploy
from lab import LabError, wait_for
from node import TRUST_DOMAIN, Node, client_argv, issue_certificates, mesh_manifests
from registry import scenario
from relay import say
from topology import host, internet, leg, nat_box
from two_nodes import peer

CLIENTS, NODES = 1000, 20
SECONDS = 4           # everybody talks
MEMORY_MIB_MAX = 64   # what a thousand peers may cost their node


def behind_nat(lab, name):
    """A node behind a NAT box of its own, kept from direct paths."""
    public = nat_box(lab, f"nat{name}")
    host(lab, name, f"nat{name}", "192.168.1.10/24", "192.168.1.1", forwarding=True)
    node = Node(lab, name, f"node-{name.lower()}", "192.168.1.10", network=f"site-{name.lower()}", public=public)
    node.direct = False
    return node


def country(lab):
    """-> (the node that all want, relay, the other nodes), all running"""
    internet(lab)
    lab.ns("R")
    public = leg(lab, "R", "eth0")
    r = Node(lab, "R", "node-r", public, network="public", public=public, roles=["relay"])
    hub = behind_nat(lab, "B")
    others = [behind_nat(lab, f"N{i}") for i in range(1, NODES + 1)]
    pod = hub.add_pod("b0").serve()
    everybody = [r, hub, *others]
    issue_certificates(everybody)
    for n in everybody:
        n.relays = [r] if n is not r else []
        n.apply("mesh.yaml", *mesh_manifests([hub, r] if n is not hub else [hub, r, *others]))
    deploy([hub, *others], [pod])
    for n in everybody:
        n.start(wait=False)
    for n in everybody:
        wait_for(f"{n.name} ready", n.ready, 60)
    return hub, r, others


def memory_mib(node):
    return node.rss_kib()["RssAnon"] / 1024


class Fleet:
    """The simulated clients, in a place of their own on the core."""

    def __init__(self, lab, relay, target):
        lab.ns("F")
        leg(lab, "F", "eth0")
        lab.sysctl("F", {"ipv4/ip_local_port_range": "'10000 65000'"})
        argv = [target.program("tunnel_fleet"), os.path.join(lab.dir, "ca"), f"{relay.public}:20006", target.name, str(CLIENTS), str(SECONDS), TRUST_DOMAIN]
        self.process = lab.start("F", argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def line(self, pattern):
        text = self.process.stdout.readline()
        m = re.match(pattern, text)
        if not m:
            raise LabError(f"the simulated clients: {text.strip() or 'ended'}")
        return [float(x) for x in m.groups()]


@scenario("relay-scale", "failures", "=0", seconds=180, at_once=1, by_name=True, why="half a minute with both processors to itself; `ninja -C build/release tunnel_fleet` first")
def relay_scale(lab, found):
    """1,000 simulated clients and 20 real nodes behind NATs talk to one node behind a NAT, over one relay and no other way."""
    hub, relay, others = country(lab)
    wait_for("the first node calls", lambda: others[0].client("http", VIP, 80, 1).get("errors") == 0, 20)
    before = {n: memory_mib(n) for n in (hub, relay)}
    fleet = Fleet(lab, relay, hub)
    up, seconds = fleet.line(r"up (\d+) ([\d.]+)")
    say(f"{up:.0f} of {CLIENTS} clients have their session after {seconds:.1f} s")
    found.same(int(up), CLIENTS, "clients with a session")
    t = time.monotonic()
    runs = [n.lab.start(n.ns, client_argv(lab, "http", VIP, 80, 20), stdout=subprocess.PIPE, text=True) for n in others]
    pings, answered, p50, p99 = fleet.line(r"pings (\d+) answered (\d+) ([\d.]+) ([\d.]+)")
    say(f"{answered:.0f} of {pings:.0f} pings over the relay answered, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    found.check(pings >= CLIENTS * (SECONDS - 2) and answered >= 0.99 * pings, f"{answered:.0f} of {pings:.0f} pings were answered")
    failed = [n.name for n, p in zip(others, runs) if '"errors": 0' not in p.communicate(timeout=60)[0]]
    say(f"{NODES} real nodes, 20 calls each beside them: done after {time.monotonic() - t:.1f} s")
    found.check(not failed, f"nodes with failed calls: {failed}")
    direct = [n.name for n in others if peer(n, hub).get("direct")]
    found.check(not direct, f"nodes with a direct path: {direct}")
    for n, was in before.items():
        say(f"{n.name}: {was:.1f} MiB before, {memory_mib(n):.1f} MiB with {CLIENTS} clients")
    found.check(memory_mib(hub) - before[hub] <= MEMORY_MIB_MAX, f"the node that all want takes {memory_mib(hub) - before[hub]:.1f} MiB more for {CLIENTS} peers")
