"""Who answers: round robin, random, affinity, source hash, and the order in which rule and service come."""
import signal

import manifests
from fixtures import VIP, VIP6, deploy, one_site
from lab import wait_for
from registry import scenario


def chi_square(counts, expected):
    return sum((c - expected) ** 2 / expected for c in counts)


def wait_policy(node, client, what, condition, seconds=5):
    wait_for(what, condition, seconds, 0.2)


@scenario("c6", "calls off", "<=1")
def c6(lab, found):
    """Round robin is exact: 3k calls give k to each of three endpoints, also while another service is called in turn."""
    node, client, servers = one_site(lab)
    deploy([node], servers, "second", ips=["10.96.0.17", "fd96::17"])
    wait_for("the second service", lambda: client.client("http", "10.96.0.17", 80, 1).get("errors") == 0, 5)
    off = 0
    for vip in (VIP, VIP6):
        r = client.client("http", vip, 80, 90)
        found.check(r["errors"] == 0, f"{vip}: {r['counts']}")
        off = max(off, *(abs(r["counts"].get(p.name, 0) - 30) for p in servers))
        period = r["answers"][:3]
        found.check(all(r["answers"][i] == period[i % 3] for i in range(90)), f"{vip}: not one rotation: {r['answers'][:12]}")
    turns = [client.client("http", vip, 80, 1)["answers"][0] for _ in range(15) for vip in (VIP, "10.96.0.17")]
    for mine in (turns[::2], turns[1::2]):
        off = max(off, *(abs(mine.count(p.name) - 5) for p in servers))
    return off


@scenario("c7", "chi-square", "<=23")
def c7(lab, found):
    """RANDOM spreads evenly and does not rotate; the rule binds by name though its host is another."""
    node, client, servers = one_site(lab)
    node.apply("rule.yaml", manifests.destination_rule("shop", "RANDOM", host="hostname-lb-edge"))

    def rotates():
        a = client.client("http", VIP, 80, 12)["answers"]
        return all(a[i] == a[i % 3] for i in range(12))

    wait_for("the RANDOM rule takes effect", lambda: not rotates(), 5)
    r = client.client("http", VIP, 80, 900)
    a = r["answers"]
    repeats = sum(a[i] == a[i - 1] for i in range(1, len(a)))
    found.check(r["errors"] == 0, f"errors: {r['counts']}")
    found.check(200 < repeats < 400, f"{repeats} repeats in 900 calls, about 300 is random")
    return chi_square([r["counts"].get(p.name, 0) for p in servers], 300)


@scenario("c9", "failures", "=0")
def c9(lab, found):
    """ClientIP affinity: sticky per client, over the rule, re-picked when the endpoint dies, over kill -9 of the daemon, forgotten after its timeout."""
    node, client, servers = one_site(lab, pods=6)
    extra = [f"172.17.1.{i}" for i in range(1, 25)]
    lab.ip(client.ns, *[f"addr add {ip}/16 dev eth0" for ip in extra])
    config, short = ({"clientIP": {"timeoutSeconds": s}} for s in (60, 8))
    node.apply("rule.yaml", manifests.destination_rule("shop", "RANDOM"))
    deploy([node], servers, sessionAffinity="ClientIP", sessionAffinityConfig=config)
    wait_for("affinity takes effect", lambda: len(client.client("http", VIP, 80, 12)["counts"]) == 1, 5)
    homes = {}
    for ip in extra:
        r = client.client("sources", VIP, 80, *[ip] * 8)
        found.check(len(r["counts"]) == 1 and not r["errors"], f"client {ip} is not kept: {r['counts']}")
        homes[ip] = r["answers"][0]
    found.check(len(set(homes.values())) > 1, "every client went to one endpoint")
    dead = homes[extra[-1]]
    alive = [p for p in servers if p.name != dead]
    deploy([node], alive, sessionAffinity="ClientIP", sessionAffinityConfig=config)
    wait_for("the client of a removed endpoint is re-picked",
             lambda: client.client("sources", VIP, 80, extra[-1])["answers"][0] in {p.name for p in alive}, 3)
    again = client.client("sources", VIP, 80, *extra)["answers"]
    moved = [ip for ip, a in zip(extra, again) if homes[ip] != dead and a != homes[ip]]
    found.check(not moved, f"clients of other endpoints moved: {moved}")
    deploy([node], alive, sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}})
    wait_for("the longer timeout", lambda: "goto aff600" in node.run("nft", "list", "table", "inet", "edgemesh").stdout, 5)
    homes = client.client("sources", VIP, 80, *extra)["answers"]
    node.stop(signal.SIGKILL)
    node.start()
    found.same(client.client("sources", VIP, 80, *extra)["answers"], homes, "clients' endpoints after kill -9 and a restart")
    deploy([node], alive, sessionAffinity="ClientIP", sessionAffinityConfig=short)
    wait_for("the short timeout", lambda: "goto aff8_" in node.run("nft", "list", "table", "inet", "edgemesh").stdout, 5)
    again = client.client("sources", VIP, 80, *extra)["answers"]
    wait_for("affinity ends with its timeout",
             lambda: lab.run(client.ns, ["sleep", "8.5"]) and client.client("sources", VIP, 80, extra[0])["answers"][0] != again[0], 40)


@scenario("source-hash", "failures", "=0")
def source_hash(lab, found):
    """consistentHash.useSourceIp: one address, many ports, one endpoint; addresses spread; a lost endpoint moves only its own."""
    node, client, servers = one_site(lab, pods=5)
    extra = [f"172.17.2.{i}" for i in range(1, 41)]
    lab.ip(client.ns, *[f"addr add {ip}/16 dev eth0" for ip in extra])
    node.apply("rule.yaml", manifests.destination_rule("shop", {"consistentHash": {"useSourceIp": True}}))
    wait_for("the rule takes effect", lambda: len(client.client("http", VIP, 80, 12)["counts"]) == 1, 5)
    found.same(len(client.client("http", VIP, 80, 100)["counts"]), 1, "endpoints seen from one address")
    before = client.client("sources", VIP, 80, *extra)["answers"]
    found.check(len(set(before)) == len(servers), f"40 addresses reached {sorted(set(before))}")
    gone, left = servers[-1], servers[:-1]
    deploy([node], left)
    wait_for("the endpoint is gone", lambda: gone.name not in client.client("sources", VIP, 80, *extra)["answers"], 5)
    after = client.client("sources", VIP, 80, *extra)["answers"]
    moved = sum(1 for b, a in zip(before, after) if b != gone.name and a != b)
    found.check(moved <= 4, f"{moved} of {sum(b != gone.name for b in before)} addresses of other endpoints moved")


@scenario("rule-order", "failures", "=0")
def rule_order(lab, found):
    """A DestinationRule before or after its Service; an edited and a deleted one; an unknown policy warns and falls back."""
    node, client, servers = one_site(lab)
    sticky = {"consistentHash": {"useSourceIp": True}}

    def endpoints_seen(vip=VIP):
        return len(client.client("http", vip, 80, 12)["counts"])

    node.apply("early-rule.yaml", manifests.destination_rule("late", sticky))
    deploy([node], servers, "late", ips=["10.96.0.30"])
    wait_for("the service after its rule answers", lambda: client.client("http", "10.96.0.30", 80, 1)["errors"] == 0, 5)
    found.same(endpoints_seen("10.96.0.30"), 1, "endpoints seen, rule before service")
    node.apply("rule.yaml", manifests.destination_rule("shop", sticky))
    wait_for("a rule after its service", lambda: endpoints_seen() == 1, 2)
    node.apply("rule.yaml", manifests.destination_rule("shop", "ROUND_ROBIN"))
    wait_for("an edited rule", lambda: endpoints_seen() == 3, 2)
    node.apply("rule.yaml", manifests.destination_rule("shop", "PASS_THE_PARCEL"))
    wait_for("a warning that names the unknown policy", lambda: "PASS_THE_PARCEL" in node.last_log(200), 5)
    found.same(endpoints_seen(), 3, "endpoints seen under an unknown policy")
    node.apply("rule.yaml", manifests.destination_rule("shop", sticky))
    wait_for("the rule again", lambda: endpoints_seen() == 1, 2)
    node.forget("rule.yaml")
    wait_for("a deleted rule", lambda: endpoints_seen() == 3, 2)
