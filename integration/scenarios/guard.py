"""The tunnel's firewall: what a peer, its pods, or a third node may reach through the tunnel is the export and nothing else."""
import concurrent.futures

from bystander import Place
from fixtures import VIP, answers, deploy
from lab import wait_for
from node import client_argv, join
from registry import scenario
from topology import host, lan2

DEVICE = "edgemesh0"


def passes(lab, ns, ip, port):
    """Whether a TCP connect or a datagram from this namespace gets anything back."""
    tcp = lab.run(ns, client_argv(lab, "connect", ip, port, 0.7), check=False).stdout
    udp = lab.run(ns, client_argv(lab, "udp", ip, 9000, 1, 10), check=False, timeout=10).stdout if port == 8080 else ""
    return '"connected"' in tcp or '"errors": 0' in udp


def export_port(a, service):
    """The port of B's IPv4 overlay address at which A dials the service's endpoint."""
    rows = a.ctl("explain", service)["endpoints"]
    ports = [r["dial"].rsplit(":", 1)[1] for r in rows if r["tier"] == "tunnel" and r["endpoint"].endswith(":8080") and r["dial"].startswith("100.")]
    return int(ports[0]) if ports else 0


@scenario("tunnel-firewall", "passed", "=0")
def tunnel_firewall(lab, found):
    """Pods, a malicious peer and a third node reach nothing of B but what B exported to them; the export itself answers."""
    a, b, c = lan2(lab, pods_a=1, pods_b=2, names=("A", "B", "C"))
    host(lab, "D", "gw", "192.168.1.20/24", "192.168.1.1")  # a printer on the LAN
    join([a, b, c])
    pods_b = list(b.pods.values())
    for p in pods_b:
        p.serve()
    for ns in ("B", "D"):  # B's own sshd, so to speak, and the printer's page
        Place(lab, ns).serve(f"host-{ns}")
    deploy([a, b, c], pods_b[:1])
    deploy([a, b, c], pods_b[1:], "other", ips=["10.96.0.60", "fd96::60"])
    for n in (a, b, c):
        n.start()
    client_a, client_c = list(a.pods.values())[0], list(c.pods.values())[0]
    wait_for("A calls its export", lambda: answers(client_a, pods_b[:1]), 15)
    wait_for("C calls its own export", lambda: answers(client_c, pods_b[1:], "10.96.0.60"), 15)
    granted = export_port(a, "default/shop")
    found.check(granted, "A has no export of the service's endpoint")

    def tries(who, ns, targets):
        with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:  # most of a try is waiting for nothing
            open_ = [target for target, got in zip(targets, pool.map(lambda target: passes(lab, ns, *target), targets)) if got]
        for ip, port in open_:
            found.append(f"passes: {who} -> {ip}:{port}")
        return len(open_)

    daemon = [(b.overlay, 20006), (b.overlay, 10551), (b.overlay, 53)]
    unexported = [(b.overlay, 8080), (b.overlay, 2701), (b.overlay, granted + 1)]
    count = tries("pod of A", client_a.ns, daemon + unexported)
    found.check(answers(client_a, pods_b[:1], VIP, n=3), "the export no longer answers")

    # now A and C are malicious: their own guards are gone, and they route what they like into the tunnel
    for n in (a, c):
        n.run("nft", "delete", "table", "inet", "edgemesh", check=False)
        for target in ("192.168.1.20/32", "172.17.0.2/32", "192.168.1.11/32"):
            n.run("ip", "route", "replace", target, "dev", DEVICE, "src", n.overlay, check=False)
    lan_side = [("192.168.1.20", 8080), ("172.17.0.2", 8080)]
    for n in (a, c):
        count += tries(f"malicious {n.name}", n.ns, daemon + unexported + lan_side)
    found.check(passes(lab, a.ns, b.overlay, granted), "A's own export does not answer A any more")
    if not passes(lab, a.ns, b.overlay, granted):
        return count
    return count + tries("C with A's export", c.ns, [(b.overlay, granted)])
