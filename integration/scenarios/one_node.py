"""Calls within one node: names, banners, datagrams, bridges. No tunnel is involved."""
import manifests
from fixtures import VIP, VIP6, answers, curl, deploy, one_site, shop
from lab import wait_for
from registry import scenario


@scenario("c1", "failures", "=0")
def c1(lab, found):
    """curl by short name, name.namespace, FQDN and ClusterIP, from a pod and from the host."""
    node, client, servers = one_site(lab)
    names = {p.name for p in servers}
    urls = ["http://shop/", "http://shop.default/", "http://shop.default.svc/", "http://shop.default.svc.cluster.local/",
            "http://shop.default.svc.cluster.local./", f"http://{VIP}/", f"http://[{VIP6}]/"]
    for url in urls:
        found.check(curl(client, url) in names, f"pod: {url}: {curl(client, url)}")
    for url in urls[3:]:
        found.check(curl(node, url) in names, f"host: {url}: {curl(node, url)}")
    client.write_etc("other")
    found.check(curl(client, "http://shop/").startswith("!"), "a short name from another namespace must not resolve")
    found.check(curl(client, "http://shop.default/") in names, "shop.default from another namespace")


@scenario("c3", "failures", "=0")
def c3(lab, found):
    """The server speaks first, echo, half-close keeps the other direction; a silent client holds nobody up."""
    _, client, servers = one_site(lab)
    holder = client.start_client("hold", "shop", 2701, 30)
    for i in range(6):
        r = client.client("echo", "shop", 2701)
        found.check(r.get("banner") in {p.name for p in servers}, f"banner: {r}")
        found.check(r.get("echo") and r.get("after_half_close"), f"echo and half-close: {r}")
    found.check(holder.poll() is None, "the silent client was cut off")


@scenario("c5", "lost datagrams", "=0")
def c5(lab, found):
    """UDP: 2,000 flows one after the other, 8 KiB datagrams, an answer that takes a second."""
    _, client, servers = one_site(lab)
    names = {p.name for p in servers}
    flows = client.client("udp", VIP, 9000, 2000, 64, timeout=50)
    big = client.client("udp", "shop", 9000, 50, 8192)
    slow = client.client("wait", "shop", 9000)
    for what, r in (("2,000 flows", flows), ("8 KiB", big), ("one second later", slow)):
        found.check(not r.get("error") and r["errors"] == 0 and set(r["counts"]) <= names, f"{what}: {r.get('error') or r['counts']}")
    return flows.get("errors", 2000) + big.get("errors", 50) + slow.get("errors", 1)


@scenario("same-bridge", "failures", "=0")
def same_bridge(lab, found):
    """Client and endpoints on one bridge, with and without bridge netfilter, IPv4 and IPv6."""
    node, client, servers = one_site(lab)
    for nf in (0, 1):
        lab.sysctl(node.ns, {"bridge/bridge-nf-call-iptables": nf, "bridge/bridge-nf-call-ip6tables": nf}, missing_ok=True)
        for vip in (VIP, VIP6):
            found.check(answers(client, servers, vip, n=12), f"bridge-nf-call {nf}, {vip}: {client.client('http', vip, 80, 3)}")
            r = client.client("udp", vip, 9000, 12, 100)
            found.check(r.get("errors") == 0, f"bridge-nf-call {nf}, UDP {vip}: {r}")


@scenario("hairpin", "failures", "=0")
def hairpin(lab, found):
    """A pod calls a service whose only endpoint is itself, with and without bridge netfilter."""
    node, client, servers = one_site(lab, pods=2)
    self_caller = servers[0]
    for nf in (0, 1):
        lab.sysctl(node.ns, {"bridge/bridge-nf-call-iptables": nf, "bridge/bridge-nf-call-ip6tables": nf}, missing_ok=True)
        # with bridge netfilter the frame has to leave by the port it came from, which is the bridge's to allow
        node.run("bridge", "link", "set", "dev", self_caller.port, "hairpin", "on" if nf else "off")
        for vip in (VIP, VIP6):
            found.check(answers(self_caller, servers, vip, n=4), f"bridge-nf-call {nf}: {vip}: {self_caller.client('http', vip, 80, 1)}")


@scenario("no-default-route", "failures", "=0")
def no_default_route(lab, found):
    """Without any default route, the day the uplink is gone, host and pods still call services."""
    node, client, servers = one_site(lab)
    lab.ip(node.ns, "route del default")
    for who, caller in (("host", node), ("pod", client)):
        for vip in (VIP, VIP6, "shop.default.svc.cluster.local"):
            r = caller.client("http", vip, 80, 6)
            found.check(not r.get("error") and r["errors"] == 0, f"{who} -> {vip}: {r}")
    lab.ip(node.ns, "link set eth0 down")
    found.check(answers(client, servers, VIP, n=3), "with the uplink down")
    found.check(not node.client("http", VIP, 80, 3).get("errors", 1), "host with the uplink down")


@scenario("no-endpoints", "seconds", "<=1")
def no_endpoints(lab, found):
    """A service without endpoints refuses at once, TCP and UDP, and answers as soon as it has one; stale flows follow."""
    node, client, servers = one_site(lab)
    deploy([node], [], "empty", ips=["10.96.0.8", "fd96::8"])
    wait_for("the empty service is known", lambda: "refused" in client.client("connect", "10.96.0.8", 80, 2)["result"], 5)
    slowest = 0
    for ip in ("10.96.0.8", "fd96::8"):
        for who in (client, node):
            r = who.client("connect", ip, 80, 5)
            found.check("refused" in r["result"], f"{ip}: {r}")
            slowest = max(slowest, r["seconds"])
    found.check("refused" in str(client.client("udp", "10.96.0.8", 9000, 1, 10)["counts"]), "UDP is not refused")
    deploy([node], servers, "empty", ips=["10.96.0.8", "fd96::8"])
    wait_for("the service answers once it has endpoints", lambda: answers(client, servers, "10.96.0.8"), 2)
    return slowest


@scenario("addresses", "failures", "=0")
def addresses(lab, found):
    """ExternalIPs, LoadBalancer IPs, headless and ExternalName services, by IPv4 and IPv6."""
    node, client, servers = one_site(lab)
    ext = shop(servers, "ext", ["10.96.0.9"], externalIPs=["203.0.113.7"], type="LoadBalancer")
    ext[0]["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}]}}
    node.apply("ext.yaml", *ext)
    headless = shop(servers, "flat", [], headless=True) + [manifests.endpoints("flat", [(p.ip, node.name, p.name) for p in servers],
                                                                                 shop(servers)[0]["spec"]["ports"])]
    node.apply("flat.yaml", *headless)
    node.apply("alias.yaml", {"apiVersion": "v1", "kind": "Service", "metadata": manifests.meta("alias", "default"),
                              "spec": {"type": "ExternalName", "externalName": "shop.default.svc.cluster.local"}})
    wait_for("the external address answers", lambda: answers(client, servers, "203.0.113.7"), 5)
    for target, port in (("10.96.0.9", 80), ("203.0.113.7", 80), ("203.0.113.8", 80), ("flat", 8080), ("alias", 80)):
        found.check(answers(client, servers, target, port, 3), f"{target}: {client.client('http', target, port, 2)}")
    records = set(client.run("dig", "+short", "flat.default.svc.cluster.local").stdout.split())
    found.same(records, {p.ip for p in servers}, "A records of the headless service")
