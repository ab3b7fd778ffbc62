"""Native mode: pod ranges that are unique across all sites, carried as they are."""
import json

import manifests
from fixtures import PORTS, VIP, answers, deploy, where
from lab import wait_for
from node import HTTP, join
from registry import scenario
from topology import nat2


def give_range(node, net):
    """The node's pods move to net.0/24, masqueraded towards the outside as docker does it."""
    lab = node.lab
    node.pod_cidrs = [f"{net}.0/24"]
    node.extra["tunnel"] = {"native": True, "podCIDRs": node.pod_cidrs}
    lab.ip(node.ns, f"addr add {net}.1/24 dev docker0")
    lab.nft(node.ns, f'add rule ip docker_like post ip saddr {net}.0/24 oifname != "docker0" masquerade\n')
    for i, pod in enumerate(node.pods.values()):
        lab.ip(pod.ns, f"addr del {pod.ip}/16 dev eth0", f"addr add {net}.{i + 2}/24 dev eth0", f"route add default via {net}.1")
        pod.ip = f"{net}.{i + 2}"


def answered(pod, address, n=1):
    return pod.client("ping", address, 0, n).get("counts") == {address: n}


def sniffed(pod, what, act):
    """Source addresses of the packets matching `what` that reach the pod while act() runs."""
    table = f'table ip seen {{\n set src {{ type ipv4_addr; flags dynamic; }}\n chain in {{ type filter hook input priority 0; {what} add @src {{ ip saddr }}\n }}\n}}\n'
    pod.lab.nft(pod.ns, table)
    act()
    out = pod.run("nft", "-j", "list", "set", "ip", "seen", "src").stdout
    pod.lab.nft(pod.ns, "delete table ip seen\n")
    found = next(o["set"] for o in json.loads(out)["nftables"] if "set" in o)
    return set(found.get("elem", []))


@scenario("native", "failures", "=0")
def native(lab, found):
    """Pods of two sites behind NATs reach each other by their own addresses; nothing outside the certified ranges passes."""
    a, b, r = nat2(lab, pods_a=3, pods_b=3)
    give_range(a, "10.41.0"), give_range(b, "10.42.0")
    join([a, b, r], relay=r)
    pods_a, pods_b = list(a.pods.values()), list(b.pods.values())
    for p in pods_a[1:] + pods_b:
        p.serve()
    deploy([a, b], pods_b)
    for n in (a, b):
        n.apply("deep.yaml", manifests.service("deep", ["10.96.0.30"], PORTS, headless=True), manifests.endpoints("deep", where(pods_b), PORTS))
    for n in (r, a, b):
        n.start(wait=False)
    for n in (r, a, b):
        wait_for(f"{n.name} ready", n.ready, 20)
    client, target = pods_a[0], pods_b[0]
    wait_for("A calls the service", lambda: answers(client, pods_b, VIP), 15)
    wait_for("pod to pod", lambda: answered(client, target.ip), 10)

    for what, act in (("icmp type echo-request", lambda: found.check(answered(client, target.ip, 3), "ping")),
                      (f"tcp dport {HTTP}", lambda: found.check(answers(client, [target], target.ip, HTTP), "HTTP to a pod address")),
                      ("udp dport 9000", lambda: found.same(client.client("udp", target.ip, 9000, 5, 500)["errors"], 0, "UDP to a pod address"))):
        found.same(sniffed(target, what, act), {client.ip}, f"source addresses of {what} at the pod")
    found.check(answers(target, [pods_a[1]], pods_a[1].ip, HTTP), "HTTP from B's pod to A's")
    names = client.run("dig", "+short", "A", "deep.default.svc.cluster.local").stdout.split()
    found.same(set(names), {p.ip for p in pods_b}, "a headless name")
    found.check(answers(client, pods_b, "deep", HTTP, n=3), "calls by the headless name")

    # A second address of the pods on both sides: routed into the tunnel by hand, in nobody's certificate.
    lab.ip(b.ns, "addr add 10.99.0.1/24 dev docker0")
    lab.ip(target.ns, "addr add 10.99.0.2/24 dev eth0")
    lab.ip(a.ns, "route add 10.99.0.0/24 dev edgemesh0")
    seen = sniffed(target, "ip daddr 10.99.0.2", lambda: answered(client, "10.99.0.2"))
    found.same(seen, set(), "packets to an address of B outside its range")
    lab.ip(a.ns, "addr add 10.77.0.1/24 dev docker0")
    lab.ip(client.ns, "addr add 10.77.0.9/24 dev eth0")
    seen = sniffed(target, f"tcp dport {HTTP}", lambda: client.run("curl", "-s", "-m2", "--interface", "10.77.0.9", f"http://{target.ip}:{HTTP}/", check=False))
    found.check("10.77.0.9" not in seen, "a source outside A's range reached B's pod")
