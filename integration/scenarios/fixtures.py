"""The services the scenarios call, and small ways of asking."""
import manifests
from lab import wait_for
from node import HTTP, TCP, UDP

VIP, VIP6 = "10.96.0.7", "fd96::7"
PORTS = [manifests.port(80, HTTP, "http"), manifests.port(2701, TCP, "tcp"), manifests.port(9000, UDP, "udp", "UDP")]


def where(pods, six=False):
    return [(p.ip6 if six else p.ip, p.node.name, p.name) for p in pods]


def shop(pods, name="shop", ips=(VIP, VIP6), ports=PORTS, ns="default", labels=None, **spec):
    """A Service over these pods: the objects of its manifest."""
    out = [manifests.service(name, list(ips), ports, ns, labels, **spec)]
    for ip in ips:
        six = ":" in ip
        out.append(manifests.endpoints(name, where(pods, six), ports, ns, "IPv6" if six else "IPv4"))
    return out


def answers(client, pods, target="shop", port=80, n=1):
    """True when n calls in a row are answered by these pods."""
    r = client.client("http", target, port, n)
    names = {p.name for p in pods}
    return not r.get("error") and r["errors"] == 0 and set(r["counts"]) <= names


def deploy(nodes, pods, name="shop", file=None, **kw):
    """The same manifest on every node of the lab."""
    for n in nodes:
        n.apply(file or f"{name}.yaml", *shop(pods, name, **kw))


def one_site(lab, pods=4, serve=True):
    """One node, its daemon running, service shop over all pods but a0, the client: -> (node, client, servers)."""
    from topology import one_node
    node = one_node(lab, pods)
    client, *servers = node.pods.values()
    for p in servers if serve else ():
        p.serve()
    node.apply("namespaces.yaml", manifests.namespace("default"), manifests.namespace("other"))
    deploy([node], servers)
    node.start()
    wait_for("the service answers", lambda: answers(client, servers), 10)
    return node, client, servers


def curl(pod, url, *more, seconds=5):
    """What curl printed, or `!` and its complaint."""
    r = pod.run("curl", "-sS", "--max-time", str(seconds), *more, url, check=False)
    return r.stdout.strip() if r.returncode == 0 else "!" + r.stderr.strip()
