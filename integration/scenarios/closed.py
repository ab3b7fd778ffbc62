"""Hosts that others configured: FORWARD or INPUT closed, docker's and kube-proxy's rules beside ours."""
import contextlib
import re
import shutil
import time

from bystander import Bystander
from fixtures import VIP, VIP6, answers, curl, deploy, one_site
from foreign_filters import BARE_FORWARD, DOCKER_FILTER, DOCKER_NAT, FIREWALLD_LIKE, UFW_LIKE, kube_proxy_iptables, kube_proxy_nft
from lab import LabError, wait_for
from node import join
from ownership import ruleset
from registry import scenario
from topology import lan2

FOLLOWED = 2.0  # seconds until a change of others' rules is taken into account
WHY_LONG = "every kind of call under each shape"


def two_nodes(lab, open_input=False, pods_a=3, pods_b=3):
    """Two nodes of a LAN; service shop on B, near on A, both on both. -> (A, B, A's client, A's others, B's pods)"""
    a, b = lan2(lab, pods_a=pods_a, pods_b=pods_b)
    if open_input:
        a.extra["mesh"] = b.extra["mesh"] = {"openInput": True}
    join([a, b])
    client, *near = a.pods.values()
    far = list(b.pods.values())
    for p in near + far:
        p.serve()
    deploy([a, b], far)
    deploy([a, b], near, "near", ips=["10.96.0.20", "fd96::20"])
    deploy([a, b], [near[0], far[0]], "both", ips=["10.96.0.30", "fd96::30"])
    return a, b, client, near, far


def calls(found, what, client, pods, name, vip, vip6=None):
    """Names and addresses, HTTP, a server that speaks first, half-close, UDP small and large."""
    names = {p.name for p in pods}
    for target in (name, vip) + ((vip6,) if vip6 else ()):
        r = client.client("http", target, 80, 4)
        found.check(not r.get("error") and r["errors"] == 0 and set(r["counts"]) <= names, f"{what}: HTTP {target}: {r}")
    r = client.client("echo", vip, 2701)
    found.check(r.get("banner") in names and r.get("after_half_close"), f"{what}: echo {vip}: {r}")
    for n, size in ((20, 64), (4, 8192)):
        r = client.client("udp", vip, 9000, n, size)
        found.check(not r.get("error") and r["errors"] == 0, f"{what}: UDP {size} {vip}: {r.get('error') or r}")


def all_calls(found, what, client, near, far):
    """From a pod of A: to the other node, to pods beside it, to both at once; and from B back."""
    calls(found, what + " far", client, far, "shop", VIP, VIP6)
    calls(found, what + " near", client, near, "near", "10.96.0.20", "fd96::20")
    calls(found, what + " mixed", client, [near[0], far[0]], "both", "10.96.0.30")
    calls(found, what + " back", far[0], near, "near", "10.96.0.20")


def note(node, service="default/shop"):
    return node.ctl("explain", service).get("note", "")


def problems(node):
    return " | ".join(node.ctl("status").get("problems", []))


def followed(found, what, condition):
    """Within the time that we promise; what it took."""
    t = time.monotonic()
    try:
        wait_for(what, condition, 8, 0.1)
    except LabError:
        pass
    took = time.monotonic() - t
    found.check(took <= FOLLOWED, f"{what}: {took:.1f} s")
    return took


@scenario("closed-forward", "seconds", "<=2", 180, WHY_LONG)
def closed_forward(lab, found):
    """FORWARD dropped as docker, ufw and firewalld do, on A and on B: every kind of call. Figure: until a change is followed."""
    a, b, client, near, far = two_nodes(lab, open_input=True)
    calm = Bystander(found, [a, b], far[0], far[1], serve=False)
    a.start(), b.start()
    wait_for("A calls B", lambda: answers(client, far) and answers(far[0], near, "near"), 15)
    calm.ready()
    usual, slowest = calm.settled(), 0
    for shape, rules, chain in (("bare", BARE_FORWARD, "chain FORWARD of table ip filter"), ("ufw", UFW_LIKE, "chain FORWARD of table ip filter"),
                                ("firewalld", FIREWALLD_LIKE, "chain filter_FORWARD of table inet firewalld")):
        for nodes in ([a], [b], [a, b]):
            what = f"{shape} on {'+'.join(n.ns for n in nodes)}"
            with calm.watch(f"{what} (calls on B)", usual) if nodes == [a] else contextlib.nullcontext():
                for n in nodes:
                    lab.nft(n.ns, rules)
                for n in nodes:
                    slowest = max(slowest, followed(found, f"{what}: {n.ns} says so", lambda: chain in note(n) and "reach" not in note(n)))
                all_calls(found, what, client, near, far)
                for n in nodes:
                    for table in set(re.findall(r"^table (\w+ \w+)", rules, re.M)):
                        lab.nft(n.ns, f"delete table {table}\n")
                for n in nodes:
                    slowest = max(slowest, followed(found, f"{what}: open again", lambda: "FORWARD" not in note(n)))
    all_calls(found, "open again", client, near, far)
    lab.nft("A", BARE_FORWARD)
    followed(found, "closed once more", lambda: "FORWARD" in note(a))
    mend(found, a)
    return slowest


def mend(found, node):
    """The command that explain names opens the way: the kernel carries calls again."""
    text = note(node)
    commands = re.findall(r"to open it: (.+?)(?:; chain|$)", text)
    found.check(commands, f"no command in: {text}")
    if any("iptables" in c or "ip6tables" in c for c in commands) and not shutil.which("iptables"):
        return
    for c in commands:
        r = node.run("sh", "-c", c, check=False)
        found.check(r.returncode == 0, f"`{c}`: {r.stderr}")
    followed(found, f"after {commands}", lambda: "chain " not in note(node))


SITE_INPUT = """table inet site {
 chain input { type filter hook input priority filter; policy drop;
  iifname "lo" accept
  ct state established,related accept
  meta l4proto { icmp, ipv6-icmp } accept
  tcp dport 22 accept
 }
}
"""


def dns_answers(pod):
    return VIP in pod.run("dig", "+short", "+time=1", "+tries=1", "shop.default.svc.cluster.local", check=False).stdout


@scenario("closed-input", "failures", "=0", 90, "two starts of the daemon")
def closed_input(lab, found):
    """INPUT closed to pods: named with the rule to add; that rule works; mesh.openInput adds one itself and takes it away."""
    node, client, servers = one_site(lab)
    calm = Bystander(found, [node], client, servers[-1], serve=False).ready()
    with calm.watch("INPUT closed and opened (calls to addresses)"):
        lab.nft("A", SITE_INPUT)
        before = ruleset(node)
        followed(found, "status names the chain", lambda: "chain input of table inet site" in problems(node))
        found.check("nft insert rule inet site input ip daddr 169.254.96.16 accept" in note(node), f"explain: {note(node)}")
        found.check(answers(client, servers, VIP), "a service's address is no business of INPUT")
        found.check(not answers(client, servers, "shop"), "INPUT is not closed at all")
        found.same(ruleset(node), before, "others' rules")
        mend(found, node)
        found.check(answers(client, servers, "shop"), "DNS does not answer after the operator's rule")
    lab.nft("A", "delete table inet site\n" + SITE_INPUT)
    before = ruleset(node)
    node.stop()
    node.extra["mesh"] = {"openInput": True}
    node.start()
    wait_for("DNS answers", lambda: answers(client, servers, "shop"), 5)
    lab.nft("A", "flush chain inet site input\n")
    followed(found, "open again after somebody flushed the chain", lambda: dns_answers(client))
    lab.nft("A", "delete table inet site\n" + SITE_INPUT)
    followed(found, "open again after somebody loaded it anew", lambda: dns_answers(client))
    node.stop()
    found.same(re.sub(r"# handle \d+", "", ruleset(node)), re.sub(r"# handle \d+", "", before), "others' rules after the daemon ended")


def tables(node):
    """What is not ours, in both kinds of iptables, without counters."""
    out = ruleset(node)
    for t in ("iptables-legacy-save", "ip6tables-legacy-save"):
        if shutil.which(t):
            out += "\n".join(l for l in node.run(t, check=False).stdout.splitlines() if not l.startswith("#"))
    return re.sub(r"\[\d+:\d+\]", "", out)


def load_iptables(lab, ns, text, legacy):
    lab.run(ns, ["iptables-legacy-restore" if legacy else "iptables-nft-restore", "--noflush"], input=text)


@scenario("beside-docker-rules", "failures", "=0", 120, WHY_LONG)
def beside_docker_rules(lab, found):
    """docker's rules (nf_tables on A, iptables-legacy on B), a published port, DOCKER-USER: nothing of either disturbs the other."""
    a, b, client, near, far = two_nodes(lab)
    calm, published = Bystander(found, [a, b], client, near[1], serve=False), {}
    for node, pod, legacy in ((a, near[0], False), (b, far[0], True)):
        for text in (DOCKER_FILTER, DOCKER_NAT):
            load_iptables(lab, node.ns, text.format(pod=pod.ip, port=8088), legacy)
        published[node] = pod.name
    before = {n: tables(n) for n in (a, b)}
    a.start(), b.start()
    wait_for("A calls B", lambda: answers(client, far) and answers(far[0], near, "near"), 20)
    calm.ready()
    all_calls(found, "docker", client, near, far)
    for n, other in ((a, b), (b, a)):
        found.check("DOCKER-USER" in note(n), f"{n.ns}: explain names no chain for the rule: {note(n)}")
        found.same(curl(other, f"http://{n.ip}:8088/"), published[n], f"{n.ns}: the published port")
        found.same(tables(n), before[n], f"{n.ns}: docker's rules while we run")
    with calm.watch("docker's FORWARD opened"):
        for n in (a, b):
            mend(found, n)
        all_calls(found, "with the operator's rule", client, near, far)
    after = {n: tables(n) for n in (a, b)}
    for n in (a, b):
        n.stop()
        found.same(tables(n), after[n], f"{n.ns}: others' rules after we ran")
    found.check(curl(b, f"http://{a.ip}:8088/") == near[0].name, "the published port after we ran")


# kube-proxy knows the same services, with endpoints that nobody here reaches, and some of its own.
def kube_services(own):
    return [("default/shop:http", VIP, 80, "tcp", ["10.244.9.9:8080", "10.244.9.10:8080"]),
            ("default/shop:udp", VIP, 9000, "udp", ["10.244.9.9:9000"]),
            ("default/kubernetes:https", "10.96.0.1", 443, "tcp", ["192.0.2.1:6443"]),
            ("default/own:http", "10.96.7.7", 80, "tcp", [f"{own.ip}:8080"]),
            ("default/none:http", "10.96.0.66", 80, "tcp", [])]


@scenario("beside-kube-proxy-rules", "failures", "=0", 150, WHY_LONG)
def beside_kube_proxy_rules(lab, found):
    """kube-proxy in iptables and in nftables mode serves the same addresses: ours are called, its own go on, its rules stay."""
    a, b, client, near, far = two_nodes(lab)
    calm = Bystander(found, [a, b], client, near[1], serve=False)
    a.start(), b.start()
    usual = calm.ready().settled()
    for mode in ("iptables", "nftables", "iptables-legacy"):
        with calm.watch(f"kube-proxy's rules come, {mode}", usual):
            for n, own in ((a, near[0]), (b, far[0])):
                if mode == "nftables":
                    lab.nft(n.ns, re.sub(r"[:](?=http|udp|https)", "-", kube_proxy_nft(kube_services(own))))
                else:
                    load_iptables(lab, n.ns, kube_proxy_iptables(kube_services(own)), mode == "iptables-legacy")
            before = {n: tables(n) for n in (a, b)}
            if mode == "iptables":  # first contact of a datagram, which nothing announced: kube-proxy must not have it
                r = client.client("udp", VIP, 9000, 3, 64)
                found.check(not r.get("error") and r["errors"] == 0, f"{mode}: first datagrams: {r}")
        wait_for(f"{mode}: A calls B", lambda: answers(client, far) and answers(far[0], near, "near"), 15)
        all_calls(found, mode, client, near, far)
        found.same(curl(client, "http://10.96.7.7/"), near[0].name, f"{mode}: a service of kube-proxy's alone")
        for n in (a, b):
            found.same(tables(n), before[n], f"{mode} {n.ns}: kube-proxy's rules")
            found.check("chain " not in note(n), f"{mode} {n.ns}: {note(n)}")
            if mode == "nftables":
                lab.nft(n.ns, "delete table ip kube-proxy\n")
            else:
                for t in ("nat", "filter"):
                    tool = "iptables-legacy" if mode == "iptables-legacy" else "iptables-nft"
                    lab.run(n.ns, [tool, "-t", t, "-F"]), lab.run(n.ns, [tool, "-t", t, "-X"])
