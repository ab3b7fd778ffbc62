"""The resolvers that pods really have, against the daemon: dig, kdig, glibc, busybox and musl, with the kubelet's resolv.conf (ndots:5, three
search domains, A and AAAA in parallel)."""
import ipaddress
import json
import os
import re
import subprocess
import sys

import manifests
from api_source import ApiServer, cluster, kubeconfig
from fixtures import VIP, VIP6, deploy, shop
from lab import wait_for
from node import SERVICE_IP
from registry import scenario
from topology import one_node

HERE = os.path.dirname(os.path.abspath(__file__))
UPSTREAM = "192.168.1.1"  # the box in front of the node
KNOWN = {"www.example.com. A": ["www.example.com. 300 A 192.0.2.80"], "www.example.com. AAAA": ["www.example.com. 300 AAAA 2001:db8::80"],
         "v4.example.com. A": ["v4.example.com. 300 A 192.0.2.81"]}
WWW, V4 = {"192.0.2.80", "2001:db8::80"}, {"192.0.2.81"}


def site(lab, pods=4, labels=None, **dns):
    """A node with a client pod a0, the others behind service shop and headless flat, and an upstream that knows KNOWN."""
    node = one_node(lab, pods)
    client, *servers = node.pods.values()
    spec = os.path.join(lab.dir, "upstream.json")
    with open(spec, "w") as f:
        json.dump({"mock_upstream": KNOWN}, f)
    lab.start("gw", [sys.executable, os.path.join(HERE, "..", "dns", "upstream.py"), spec, f"{UPSTREAM}:53"], log="upstream")
    node.extra["dns"] = {"upstreams": [UPSTREAM], **dns}
    node.apply("namespaces.yaml", manifests.namespace("default"), manifests.namespace("other"))
    deploy([node], servers)
    ports = shop(servers)[0]["spec"]["ports"]
    node.apply("flat.yaml", *shop(servers, "flat", [], headless=True), manifests.endpoints("flat", [(p.ip, node.name, p.name) for p in servers], ports))
    for name, target in (("alias", "shop.default.svc.cluster.local"), ("outside", "www.example.com")):
        node.apply(f"{name}.yaml", {"apiVersion": "v1", "kind": "Service", "metadata": manifests.meta(name, "default"),
                                    "spec": {"type": "ExternalName", "externalName": target}})
    node.apply("pods.yaml", *[{"apiVersion": "v1", "kind": "Pod", "metadata": manifests.meta(p.name, "default", (labels or {}).get(p.name)),
                               "spec": {"nodeName": node.name}, "status": {"phase": "Running", "podIP": p.ip}} for p in (client, *servers)])
    node.start()
    wait_for("the service is known", lambda: lines(client, "dig", "+short", "shop.default.svc.cluster.local") == {VIP}, 10)
    wait_for("the upstream answers", lambda: lines(client, "dig", "+short", "+timeout=2", "+tries=1", "v4.example.com") == V4, 10)
    return node, client, servers


def lines(pod, *argv):
    return set(pod.run(*argv, check=False, timeout=30).stdout.split("\n")) - {""}


def is_address(word):
    try:
        return bool(ipaddress.ip_address(word))
    except ValueError:
        return False


def addresses(text):
    return {w for w in re.split(r"[\s#]+", text) if is_address(w)} - {SERVICE_IP}


# Each asks for both families of a name the way its users do -> the addresses it got, and whether it said that there is none.
def by_dig(pod, name):
    r = [pod.run("dig", "+search", "+ndots=5", "+short", name, t, check=False, timeout=30).stdout for t in ("A", "AAAA")]
    return addresses("\n".join(r))


def by_kdig(pod, name):
    """kdig knows no search domains: it is given whole names, over UDP with EDNS and a cookie, and over one kept TCP connection."""
    udp = pod.run("kdig", "+short", "+edns", "+cookie", name, "A", name, "AAAA", check=False, timeout=30).stdout
    tcp = pod.run("kdig", "+short", "+tcp", "+keepopen", name, "A", name, "AAAA", check=False, timeout=30).stdout
    a, b = addresses(udp), addresses(tcp)
    return a if a == b else {f"UDP {a}, TCP {b}"}


def by_glibc(pod, name):
    return addresses("\n".join(line.split()[0] for line in pod.run("getent", "ahosts", name, check=False, timeout=30).stdout.splitlines()))


def by_busybox(pod, name):
    out = pod.run("busybox", "nslookup", name, check=False, timeout=30).stdout
    return addresses(out.split("\n\n", 1)[-1])  # behind what it says about the server


def by_musl(program):
    return lambda pod, name: addresses(pod.run(program, name, check=False, timeout=30).stdout)


def musl_program(lab):
    source, out = os.path.join(HERE, "..", "netns", "lookup.c"), os.path.join(lab.dir, "lookup")
    lab.call(["musl-gcc", "-static", "-O1", "-o", out, source])
    return out


@scenario("dns-clients", "wrong answers", "=0")
def dns_clients(lab, found):
    """dig, kdig, glibc, busybox and musl resolve services, headless services, aliases, outside names and what does not exist."""
    node, client, servers = site(lab)
    flat, both = {p.ip for p in servers}, {VIP, VIP6}
    full = "default.svc.cluster.local"
    searched = {"shop": both, "shop.default": both, "shop.default.svc": both, "flat": flat, "alias": both, "outside": WWW, "www.example.com": WWW,
                "v4.example.com": V4, "nothing": set(), "nothing.example.com": set(), "shop.other": set()}
    whole = {f"shop.{full}.": both, f"flat.{full}.": flat, f"alias.{full}.": both, f"outside.{full}.": WWW, "www.example.com.": WWW,
             "v4.example.com.": V4, f"nothing.{full}.": set(), "nothing.example.com.": set()}
    asked = {"dig": (by_dig, searched), "glibc": (by_glibc, searched), "musl": (by_musl(musl_program(lab)), searched),
             "busybox": (by_busybox, whole), "kdig": (by_kdig, whole)}
    for who, (ask, names) in asked.items():
        for name, want in names.items():
            got = ask(client, name)
            found.check(got == want, f"{who} {name}: {sorted(got)}, expected {sorted(want)}")
    client.write_etc("other")
    for who in ("glibc", "musl", "dig"):
        found.check(asked[who][0](client, "shop") == set(), f"{who}: a short name of another namespace resolves")
        found.check(asked[who][0](client, "shop.default") == both, f"{who}: shop.default from another namespace")
    found.check(client.run("getent", "hosts", VIP).stdout.split()[1:] == [f"shop.{full}"], "the service's address leads back to its name")
    text = client.run("kdig", "+dnssec", "+cookie", "nothing.example.com", "A").stdout
    found.check("status: NXDOMAIN" in text and "EDNS PSEUDOSECTION" in text and "COOKIE" in text, f"kdig +dnssec +cookie: {text[:400]}")


def queries(node):
    text = node.run("curl", "-s", "--unix-socket", node.socket, "http://x/metrics").stdout
    return sum(int(float(n)) for n in re.findall(r'^edgemeshd_dns_queries_total\{.*\} (\S+)$', text, re.M))


@scenario("dns-autopath", "queries", "<=2")
def dns_autopath(lab, found):
    """A pod that opted in gets an outside name with one query per family; one that did not goes along its path; a reload changes both."""
    node, client, servers = site(lab, 2, {"a0": {"dns.edgemeshd.io/autopath": "true"}}, autopath="labelled")
    other = servers[0]

    def cost(pod):
        before = queries(node)
        got = by_glibc(pod, "www.example.com")
        found.check(got == WWW, f"{pod.name}: www.example.com: {sorted(got)}")
        return queries(node) - before

    opted, not_opted = cost(client), cost(other)
    found.check(not_opted >= 8, f"{not_opted} queries of a pod that did not opt in: four names, two families")
    for name, want in (("shop", {VIP, VIP6}), ("outside", WWW), ("nothing.example.com", set()), ("v4.example.com", V4)):
        got = by_glibc(client, name)
        found.check(got == want, f"{name} along the path: {sorted(got)}, expected {sorted(want)}")
    node.extra["dns"].update(autopathDomains=["nowhere.example", "example.com"])
    node.write_config()
    found.check(node.ctl_ok("reload"), "reload")
    found.same(lines(client, "dig", "+short", "v4.default.svc.cluster.local"), {"v4.example.com."} | V4, "a name of the second further domain")
    for value, who, limit in (("all", other, "<=2"), ("none", client, ">=8")):
        node.extra["dns"]["autopath"] = value
        node.write_config()
        found.check(node.ctl_ok("reload"), "reload")
        n = cost(who)
        found.check(n <= 2 if limit == "<=2" else n >= 8, f"dns.autopath: {value}: {n} queries of {who.name}, expected {limit}")
    return opted


@scenario("dns-autopath-api", "failures", "=0")
def dns_autopath_api(lab, found):
    """Pods from an API server: those of this node opt in by label, while they are there; without permission for pods only autopath is missing."""
    node, client, (other, *_) = site(lab, 2)
    node.stop()
    api = ApiServer(lab, "gw", f"{UPSTREAM}:6443")
    node.extra = {"source": {"kubeconfig": kubeconfig(node, f"http://{UPSTREAM}:6443")}, "dns": {"upstreams": [UPSTREAM], "autopath": "labelled"}}
    label = {"dns.edgemeshd.io/autopath": "true"}

    def pod(name, where, ns, ip):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": manifests.meta(name, ns, label), "spec": {"nodeName": where}, "status": {"phase": "Running", "podIP": ip}}

    api.apply(*cluster(node), *shop([other]), pod("a0", node.name, "default", client.ip), pod("far", "node-b", "other", client.ip))
    api.tell(fault="no_pods")
    node.start()
    wait_for("services are known without the pods", lambda: lines(client, "dig", "+short", "shop.default.svc.cluster.local") == {VIP}, 10)

    def cost():
        before = queries(node)
        by_glibc(client, "www.example.com")
        return queries(node) - before

    found.check(cost() >= 8, "autopath without permission to read pods")
    wait_for("the status says why", lambda: any("/api/v1/pods" in p for p in node.ctl("status")["problems"]), 10)
    api.tell(fault=None)
    for value in ("none", "labelled"):  # asked for anew at once, instead of when the back-off is over
        node.extra["dns"]["autopath"] = value
        node.write_config()
        found.check(node.ctl_ok("reload"), "reload")
    wait_for("autopath for the pod that opted in", lambda: cost() <= 2, 40)
    found.same(by_glibc(client, "www.example.com"), WWW, "www.example.com")
    api.delete(pod("a0", node.name, "default", client.ip))
    wait_for("the pod is gone", lambda: cost() >= 8, 10)


RESPONDER = r"""
import socket, struct, sys
name, kind, text = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton("224.0.0.251"), socket.inet_aton(sys.argv[4])))
print("ready", flush=True)
wire = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + bytes(1)
while True:
    q, who = s.recvfrom(9000)
    if q[12:12 + len(wire)].lower() == wire and struct.unpack(">H", q[12 + len(wire):14 + len(wire)])[0] == kind and not q[2] & 128:
        rr = b"\xc0\x0c" + struct.pack(">HHIH", kind, 0x8001, 120, 4) + socket.inet_aton(text)
        s.sendto(q[:2] + struct.pack(">5H", 0x8400, 1, 1, 0, 0) + q[12:16 + len(wire)] + rr, who)
"""


@scenario("dns-mdns", "wrong answers", "=0")
def dns_mdns(lab, found):
    """A printer of the site that only speaks multicast DNS is found under .local by pods and host; other names there have no address; a
    reload switches it off."""
    node, client, _ = site(lab, 2, mdnsInterfaces=["eth0", "not-there0"])
    printer = lab.start("gw", [sys.executable, "-c", RESPONDER, "printer.local", "1", "192.168.1.77", "192.168.1.1"], stdout=subprocess.PIPE, text=True)
    found.check(printer.stdout.readline().strip() == "ready", "the printer does not start")
    for who in (client, node):
        got = by_glibc(who, "printer.local")
        found.check(got == {"192.168.1.77"}, f"printer.local from {who.ns}: {sorted(got)}")
    found.check(by_glibc(client, "scanner.local") == set(), "a name nobody has resolves")
    status = client.run("dig", "scanner.local", "AAAA", check=False).stdout
    found.check("status: NOERROR" in status and "ANSWER: 0" in status, f"a name nobody claims: {status[:300]}")
    found.check(by_glibc(client, "shop") == {VIP, VIP6}, "services beside .local")
    camera = lab.start("gw", [sys.executable, "-c", RESPONDER6, "camera.local", "fd00::77", "lan"], stdout=subprocess.PIPE, text=True)
    found.check(camera.stdout.readline().strip() == "ready", "the camera does not start")
    wait_for("a camera that only speaks IPv6 is found", lambda: by_glibc(client, "camera.local") == {"fd00::77"}, 30, every=0.5)
    node.extra["dns"]["mdnsInterfaces"] = []
    node.write_config()
    found.check(node.ctl_ok("reload"), "reload")
    wait_for("the answer is gone with its ten seconds or at once", lambda: "NXDOMAIN" in client.run("dig", "other.local", check=False).stdout, 15)


RESPONDER6 = r"""
import socket, struct, sys
name, text, device = sys.argv[1], sys.argv[2], sys.argv[3]
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", 5353))
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::fb") + struct.pack("@I", socket.if_nametoindex(device)))
print("ready", flush=True)
wire = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + bytes(1)
while True:
    q, who = s.recvfrom(9000)
    if q[12:12 + len(wire)].lower() == wire and struct.unpack(">H", q[12 + len(wire):14 + len(wire)])[0] == 28 and not q[2] & 128:
        rr = b"\xc0\x0c" + struct.pack(">HHIH", 28, 0x8001, 120, 16) + socket.inet_pton(socket.AF_INET6, text)
        s.sendto(q[:2] + struct.pack(">5H", 0x8400, 1, 1, 0, 0) + q[12:16 + len(wire)] + rr, who)
"""


INGRESS, CORPORATE = "10.96.0.80", "192.0.2.90"
ISTIO, GATEWAY_API = "networking.istio.io/v1", "gateway.networking.k8s.io/v1"


def kubernetes(api, kind, name, **fields):
    return {"apiVersion": api, "kind": kind, "metadata": manifests.meta(name, "default"), **fields}


def ingress(ip):
    return {"apiVersion": "v1", "kind": "Service", "metadata": manifests.meta("ingress", "default", {"istio": "ingressgateway",
            "gateway.networking.k8s.io/gateway-name": "door"}), "spec": {"clusterIP": ip, "ports": [{"port": 80}]}}


def routes():
    return [kubernetes(ISTIO, "ServiceEntry", "db", spec={"hosts": ["db.site.example"], "addresses": [CORPORATE]}),
            kubernetes(ISTIO, "ServiceEntry", "hijack", spec={"hosts": ["www.example.com", "shop.default.svc.cluster.local"], "addresses": [CORPORATE]}),
            kubernetes(ISTIO, "Gateway", "edge", spec={"selector": {"istio": "ingressgateway"}, "servers": [{"hosts": ["*"]}]}),
            kubernetes(ISTIO, "VirtualService", "web", spec={"hosts": ["web.site.example"], "gateways": ["edge"]}),
            kubernetes(GATEWAY_API, "Gateway", "door", spec={"listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]}),
            kubernetes(GATEWAY_API, "HTTPRoute", "cam", spec={"hostnames": ["cam.site.example"], "parentRefs": [{"name": "door"}]})]


@scenario("dns-routed", "wrong answers", "=0")
def dns_routed(lab, found):
    """Host names of Istio and Gateway API objects under the wanted domain lead a pod to what carries them, follow it and go with it; others,
    and names of services, stay whose they are. The cluster's own DNS service is the upstream while there is one."""
    node, client, _ = site(lab, 2, routedDomains=["site.example"], clusterUpstreams="auto")
    node.apply("routes.yaml", *routes())
    node.apply("ingress.yaml", ingress(INGRESS))
    names = {"db.site.example": {CORPORATE}, "web.site.example": {INGRESS}, "cam.site.example": {INGRESS}}

    def ask(name):
        return lines(client, "dig", "+short", "+tries=1", "+time=3", name)

    wait_for("the names are known", lambda: all(ask(name) == want for name, want in names.items()), 15)
    for name, want in (("shop.default.svc.cluster.local", {VIP}), ("www.example.com", {"192.0.2.80"})):
        found.same(ask(name), want, name)
    node.apply("ingress.yaml", ingress("10.96.0.81"))
    wait_for("the gateway's service moved", lambda: ask("web.site.example") == ask("cam.site.example") == {"10.96.0.81"}, 15)
    node.forget("ingress.yaml")
    wait_for("no gateway, no name", lambda: ask("web.site.example") == set() and ask("db.site.example") == {CORPORATE}, 15)

    def servers():
        return [s["address"] for s in node.ctl("dns", "upstreams")["servers"]]

    node.extra["dns"]["upstreams"] = []
    node.write_config()
    found.check(node.ctl_ok("reload"), "reload")
    node.apply("dns.yaml", {"apiVersion": "v1", "kind": "Service", "metadata": manifests.meta("kube-dns", "kube-system"),
                            "spec": {"clusterIP": UPSTREAM, "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}})
    wait_for("the cluster's DNS is asked", lambda: servers() == [f"{UPSTREAM}:53"] and ask("v4.example.com") == V4, 15)
    node.apply("dns.yaml", {"apiVersion": "v1", "kind": "Service", "metadata": manifests.meta("rke2-dns", "kube-system", {"k8s-app": "kube-dns"}),
                            "spec": {"clusterIP": "10.96.0.53", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}})
    wait_for("it has another name and address", lambda: servers() == ["10.96.0.53:53"], 15)
    node.apply("dns-endpoints.yaml", manifests.endpoints("rke2-dns", [(SERVICE_IP, node.name, "dns")], [{"name": "dns", "targetPort": 53, "protocol": "UDP"}],
                                                         ns="kube-system"))
    wait_for("it leads back to this server, which is never asked", lambda: servers() == [] and ask("shop.default.svc.cluster.local") == {VIP}, 15)


@scenario("dns-routed-api", "wrong answers", "=0")
def dns_routed_api(lab, found):
    """Routes, gateways and service entries from an API server: their names lead pods, external names and search paths to what carries them, follow
    them, and outlast the cloud; without permission for them the rest goes on."""
    node, client, (other, *_) = site(lab, 2, labels={})
    node.stop()
    api = ApiServer(lab, "gw", f"{UPSTREAM}:6443")
    node.extra = {"source": {"kubeconfig": kubeconfig(node, f"http://{UPSTREAM}:6443")},
                  "dns": {"upstreams": [UPSTREAM], "routedDomains": ["site.example"], "autopath": "all"}}
    alias = {"apiVersion": "v1", "kind": "Service", "metadata": manifests.meta("alias", "default"),
             "spec": {"type": "ExternalName", "externalName": "web.site.example"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": manifests.meta("a0", "default"), "spec": {"nodeName": node.name},
           "status": {"phase": "Running", "podIP": client.ip}}
    api.apply(*cluster(node), *shop([other]), pod, alias, ingress(INGRESS), *routes())
    api.tell(fault="no_routes")
    node.start()

    def ask(name):
        return lines(client, "dig", "+short", "+tries=1", "+time=3", name)

    wait_for("services are known without the routes", lambda: ask("shop.default.svc.cluster.local") == {VIP}, 15)
    wait_for("the status says why routes are missing", lambda: any("httproutes" in p for p in node.ctl("status")["problems"]), 15)
    found.same(ask("web.site.example"), set(), "a name whose route may not be read")
    api.tell(fault=None)
    for domains in ([], ["site.example"]):  # asked for anew at once, instead of when the back-off is over
        node.extra["dns"]["routedDomains"] = domains
        node.write_config()
        found.check(node.ctl_ok("reload"), "reload")
    names = {"db.site.example": {CORPORATE}, "web.site.example": {INGRESS}, "cam.site.example": {INGRESS}}
    wait_for("the names are known", lambda: all(ask(name) == want for name, want in names.items()), 15)
    found.same(ask("www.example.com"), {"192.0.2.80"}, "a name of the world that an object claims")
    found.same(ask("shop.default.svc.cluster.local"), {VIP}, "a service's name that an object claims")
    found.same(ask("alias.default.svc.cluster.local"), {"web.site.example.", INGRESS}, "an ExternalName that leads to a route")
    found.same(by_glibc(client, "cam.site.example"), {INGRESS}, "a route's name along the search path")
    api.apply(ingress("10.96.0.81"), kubernetes(ISTIO, "ServiceEntry", "db", spec={"hosts": ["db.site.example"], "addresses": ["192.0.2.91"]}))
    wait_for("they follow what carries them", lambda: ask("cam.site.example") == {"10.96.0.81"} and ask("db.site.example") == {"192.0.2.91"}, 15)
    api.stop()
    found.same(ask("alias.default.svc.cluster.local"), {"web.site.example.", "10.96.0.81"}, "without the cloud")
    api.start()
    api.delete(kubernetes(ISTIO, "ServiceEntry", "db"))
    wait_for("it goes with its object", lambda: ask("db.site.example") == set(), 15)


FLOOD = """
import socket, sys, time
q = bytes.fromhex("000001000001000000000000") + b"".join(bytes([len(x)]) + x.encode() for x in sys.argv[1].split(".")) + bytes(1) + b"\\0\\1\\0\\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(20):
        s.sendto(q, (sys.argv[2], 53))
    time.sleep(0.02)
"""


def limited(node, action):
    text = node.run("curl", "-s", "--unix-socket", node.socket, "http://x/metrics").stdout
    return sum(int(n) for n in re.findall(rf'^edgemeshd_dns_rate_limited_total\{{action="{action}"\}} (\d+)$', text, re.M))


@scenario("dns-rate", "wrong answers", "=0")
def dns_rate(lab, found):
    """A pod floods beyond dns.rateLimit: its own resolver gets its answers over TCP, its neighbour's are untouched; a reload lets it go."""
    node, client, (neighbour, *_) = site(lab, 3, rateLimit={"perSecond": 20, "truncateEvery": 1})
    flood = lab.start(client.ns, [sys.executable, "-c", FLOOD, "shop.default.svc.cluster.local", SERVICE_IP])
    wait_for("the flood is limited", lambda: limited(node, "truncated") > 100, 20)
    digs = [client.run("dig", "+tries=1", "+time=5", "shop.default.svc.cluster.local", check=False).stdout for _ in range(5)]
    for dig in digs:
        found.check(VIP in dig, f"dig in the pod that floods: {dig[-300:]}")
    found.check(any("(TCP)" in dig for dig in digs), f"none of {len(digs)} was sent to TCP: {digs[-1][-300:]}")  # one in 50 ms may have its turn by UDP
    got = by_glibc(client, "shop")
    found.check(got == {VIP, VIP6}, f"glibc in the pod that floods: {sorted(got)}")
    dig = neighbour.run("dig", "+tries=1", "+time=5", "+ignore", "shop.default.svc.cluster.local", check=False).stdout
    found.check(VIP in dig and " tc" not in dig, f"dig in its neighbour: {dig[-300:]}")
    node.extra["dns"]["rateLimit"] = {"perSecond": 20, "truncateEvery": 0}
    node.write_config()
    found.check(node.ctl_ok("reload"), "reload")
    wait_for("without truncation the rest gets nothing", lambda: limited(node, "dropped") > 100, 20)
    node.extra["dns"]["rateLimit"] = {"perSecond": 0}
    node.write_config()
    found.check(node.ctl_ok("reload"), "reload")
    dig = client.run("dig", "+tries=3", "+time=5", "+ignore", "shop.default.svc.cluster.local", check=False).stdout
    found.check(VIP in dig and " tc" not in dig, f"dig without a limit: {dig[-300:]}")
    flood.kill()


def tapped(lab, log):
    with open(lab.log(log)) as f:
        return [json.loads(line) for line in f.read().splitlines() if line.startswith("{") and line.endswith("}")]


@scenario("dns-tap", "wrong", "=0")
def dns_tap(lab, found):
    """A dnstap receiver gets each query of a pod and its answer; without it the server goes on, and a receiver that comes back is served again."""
    path = os.path.join(lab.dir, "tap.sock")
    program = [sys.executable, os.path.join(HERE, "..", "dns", "tap_reader.py"), "--listen", path, "100000"]
    reader = lab.spawn(program, stdout=open(lab.log("tap1"), "ab"), stderr=subprocess.STDOUT)
    node, client, _ = site(lab, 2, tapSocket=path)

    def frames(log, name):
        return [f for f in tapped(lab, log) if f["name"].lower() == name]

    for name, rcode in (("flat.default.svc.cluster.local", 0), ("v4.example.com", 0), ("nothing.example.com", 3)):
        client.run("dig", "+short", name, check=False)
        wait_for(f"two frames about {name}", lambda: len(frames("tap1", name)) >= 2, 10)
        query, answer = frames("tap1", name)[-2:]
        found.same([query["type"], answer["type"]], [5, 6], f"{name}: CLIENT_QUERY and CLIENT_RESPONSE")
        found.same([query["client"], query["identity"], answer["rcode"], answer["reply"]], [client.ip, node.name, rcode, True], name)
    reader.kill()
    reader.wait()
    for _ in range(3):
        found.check(lines(client, "dig", "+short", "shop.default.svc.cluster.local") == {VIP}, "without a receiver")
    lab.spawn(program, stdout=open(lab.log("tap2"), "ab"), stderr=subprocess.STDOUT)

    def again():
        client.run("dig", "+short", "flat.default.svc.cluster.local", check=False)
        return frames("tap2", "flat.default.svc.cluster.local")
    wait_for("the receiver that came back is served", again, 20, every=0.3)
