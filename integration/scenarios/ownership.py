"""What is ours and what is not: the filter label, other programs' tables, and what is left when the daemon is gone."""
import signal
import time

import manifests
from fixtures import VIP, VIP6, answers, deploy, one_site, shop
from lab import wait_for
from registry import scenario

LABEL = "service.edgemesh.kubeedge.io/service-proxy-name"
FOREIGN = """table inet somebody_else {
 map m { type ipv4_addr : verdict; elements = { 203.0.113.99 : accept } }
 chain c { type nat hook prerouting priority dstnat; policy accept;
  ip daddr 203.0.113.99 tcp dport 80 counter dnat ip to 172.17.0.2:8080
 }
 chain f { type filter hook forward priority 10; policy accept; ct state established counter accept
 }
}
"""


def ruleset(node):
    """The ruleset without ours and without counters' values."""
    out, skip = [], False
    for line in node.run("nft", "-s", "-a", "list", "ruleset").stdout.splitlines():
        if line.startswith("table "):
            skip = line.startswith("table inet edgemesh ")
        if not skip:
            out.append(line)
    return "\n".join(out)


def kernel_state(node):
    """Everything a daemon may leave behind in a network namespace."""
    def lines(*argv):
        # link-local addresses are made anew with every device, timers count down
        return "\n".join(l for l in node.run(*argv).stdout.splitlines() if "fe80:" not in l and "expires" not in l)

    return {
        "tables": lines("nft", "list", "tables"),
        "rules": lines("ip", "rule") + "\n" + lines("ip", "-6", "rule"),
        "links": " ".join(sorted(l.split(":")[1].strip() for l in lines("ip", "-o", "link").splitlines())),
        "routes": lines("ip", "route", "show", "table", "all"),
        "routes6": lines("ip", "-6", "route", "show", "table", "all"),
        "addresses": "\n".join(sorted(" ".join(l.split()[1:4]) for l in lines("ip", "-o", "addr").splitlines())),
    }


@scenario("c19", "seconds", "<=2")
def c19(lab, found):
    """The filter label, toggled at run time, takes a service out and in within 2 s; nobody else's rules change."""
    node, client, servers = one_site(lab)
    lab.nft(node.ns, FOREIGN)
    others = ruleset(node)
    slowest = 0
    for labels, expected in (({LABEL: "other"}, False), (None, True), ({LABEL: ""}, False), (None, True)):
        deploy([node], servers, labels=labels)
        t = time.monotonic()
        wait_for(f"labels {labels}: served {expected}",
                 lambda: (client.client("connect", VIP, 80, 1)["result"] == "connected") == expected
                 and (VIP in node.run("nft", "list", "table", "inet", "edgemesh").stdout) == expected, 10)
        slowest = max(slowest, time.monotonic() - t)
    node.apply("kubernetes.yaml", *shop(servers, "kubernetes", ["10.96.0.1"]), *shop(servers, "kube-dns", ["10.96.0.10"], ns="kube-system"))
    deploy([node], servers, "marker", ips=["10.96.0.40"])
    wait_for("a service after them is served", lambda: answers(client, servers, "10.96.0.40"), 5)
    table = node.run("nft", "list", "table", "inet", "edgemesh").stdout
    for ip in ("10.96.0.1", "10.96.0.10"):
        found.check(not any(ip in w.split() for w in table.splitlines()), f"{ip} (kubernetes, kube-dns) is in our table")
    found.same(ruleset(node), others, "the ruleset of others while we run")
    node.stop()
    found.same(ruleset(node), others, "the ruleset of others after we ran")
    return slowest


@scenario("listable", "failures", "=0")
def listable(lab, found):
    """`nft list ruleset` of Debian 12 works beside our table, with every kind of service in it, and can be read back."""
    node, client, servers = one_site(lab)
    deploy([node], servers, "sticky", ips=["10.96.0.50", "fd96::50"], sessionAffinity="ClientIP")
    node.apply("hash.yaml", manifests.destination_rule("hashed", {"consistentHash": {"useSourceIp": True}}))
    deploy([node], servers, "hashed", ips=["10.96.0.51", "fd96::51"])
    deploy([node], [], "empty", ips=["10.96.0.52", "fd96::52"])
    for vip in ("10.96.0.50", "fd96::50", "10.96.0.51"):
        wait_for(f"{vip} answers", lambda: answers(client, servers, vip), 5)
    r = node.run("nft", "list", "ruleset", check=False)
    found.check(r.returncode == 0 and "table inet edgemesh" in r.stdout and VIP in r.stdout, f"nft list ruleset: {r.returncode} {r.stderr[-300:]}")
    r = node.run("nft", "-j", "list", "ruleset", check=False)
    found.check(r.returncode == 0, f"nft -j list ruleset: {r.returncode} {r.stderr[-300:]}")


@scenario("clean", "leftovers", "=0")
def clean(lab, found):
    """After an exit nothing of ours is left; kill -9 keeps calls going, and a restart neither doubles nor loses anything."""
    from topology import one_node
    node = one_node(lab, 3)
    client, *servers = node.pods.values()
    for p in servers:
        p.serve()
    deploy([node], servers)
    before = kernel_state(node)
    node.start()
    wait_for("the service answers", lambda: answers(client, servers), 10)
    running = kernel_state(node)
    found.same(node.stop(), 0, "exit status after SIGTERM")
    left = kernel_state(node)
    for k in before:
        found.same(left[k], before[k], f"{k} after a clean exit")
    node.start()
    wait_for("the service answers again", lambda: answers(client, servers), 10)
    node.stop(signal.SIGKILL)
    found.check(answers(client, servers, VIP, n=4), "calls after kill -9")
    node.start()
    wait_for("the service answers after kill -9", lambda: answers(client, servers), 10)
    again = kernel_state(node)
    for k in running:
        found.same(again[k], running[k], f"{k} after kill -9 and restart")
    node.stop(signal.SIGKILL)
    node.run(node.program("edgemeshctl"), "cleanup")
    left = kernel_state(node)
    for k in before:
        found.same(left[k], before[k], f"{k} after kill -9 and edgemeshctl cleanup")
