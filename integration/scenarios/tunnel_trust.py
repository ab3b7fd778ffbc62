"""Who may be whom: certificates that say too much, nodes that claim what is not theirs, a key in two places, a source that lost its
nodes. Each as the threat model says, and each with one line in the log. (Foreign CA, wrong key: bad-certificate; dates: clock-wrong.)"""
import os
import shutil
import signal
import time

import manifests
from bad_input import refused
from clock import Marked, metric
from fixtures import PORTS, VIP, answers, deploy
from health import result
from lab import wait_for
from native import give_range
from node import TRUST_DOMAIN, Node, issue_certificates, join, mesh_manifests
from registry import scenario
from topology import host, lan2
from two_nodes import peer

OTHER_VIP = "10.96.0.61"
CERTIFICATE = """set -e
openssl ecparam -name prime256v1 -genkey -noout -out $1/node.key
openssl req -new -key $1/node.key -subj / -out $1/node.csr
printf 'basicConstraints=critical,CA:FALSE\\nkeyUsage=critical,digitalSignature\\nextendedKeyUsage=serverAuth,clientAuth\\nsubjectAltName=critical,%s\\n' "$3" > $1/node.ext
openssl x509 -req -in $1/node.csr -CA $2/node-ca.crt -CAkey $2/node-ca.key -CAcreateserial -days 30 -extfile $1/node.ext -out $1/leaf.crt
cat $1/leaf.crt $2/node-ca.crt > $1/node.crt
cp $2/ca.crt $1/ca.crt"""


def sign(node, ca, names):
    """A certificate of the mesh's own authority that it would never make."""
    node.lab.call(["sh", "-c", CERTIFICATE, "sh", node.dir, ca, ",".join(names)])


def one_line(found, mark, seconds, what, *words):
    """The line comes, and only once."""
    wait_for(f"{what}: the log of {mark.node.name} says so", lambda: mark.lines(*words), seconds)
    time.sleep(1)
    found.same(len(mark.lines(*words)), 1, f"{what}: lines with {words} in the log of {mark.node.name}")


def three(lab, **kw):
    """Nodes A, B and C on one LAN, service shop of B. -> (a, b, c, the CA, a pod of A, B's pods)"""
    a, b, c = lan2(lab, pods_a=1, pods_b=1, names=("A", "B", "C"), **kw)
    a.network = b.network = c.network = ""  # only the tunnel leads to the others' pods
    ca = join([a, b, c])
    servers = [b.pods["b0"].serve()]
    for n in (a, b, c):
        deploy([n], servers)
    return a, b, c, ca, a.pods["a0"], servers


@scenario("trust-names", "failures", "=0")
def trust_names(lab, found):
    """A certificate with two names, one with another node's address, a relay without the role: refused or not routed, one line each."""
    a, b, c, ca, client, servers = three(lab)
    a.start(), b.start()
    wait_for("A calls B", lambda: answers(client, servers, VIP), 15)

    # ---- two names: for itself, and for a peer that shows it
    spiffe = f"URI:spiffe://{TRUST_DOMAIN}/node/"
    sign(c, ca, [spiffe + c.name, spiffe + b.name, f"IP:{c.overlay}", f"IP:{c.overlay6}"])
    start = [c.program("edgemeshd"), "--config", c.write_config()]
    refused(c, found, "two names", start, "node.crt", "2 URI names", "exactly one")
    mark = Marked(a)
    c.run("sh", "-c", f"sleep 1 | openssl s_client -connect {a.ip}:20006 -tls1_3 -alpn h2 -cert {c.path('leaf.crt')} -key {c.path('node.key')} "
                      f"-cert_chain {ca}/node-ca.crt", check=False, timeout=15)
    one_line(found, mark, 5, "two names", f"{c.ip}:", "2 URI names")

    # ---- the address of another: as an authority would give it that was restored from an old copy
    sign(c, ca, [spiffe + c.name, f"IP:{b.overlay}", f"IP:{b.overlay6}"])
    mark = Marked(a)
    c.start()
    wait_for("A and C meet", lambda: c.ctl_ok("ping", a.name), 10, 0.2)
    one_line(found, mark, 5, "the address of another", b.name, c.name, "claim the same overlay address", "neither is routed")
    found.check(not answers(client, servers, VIP), "an address that two certificates give to two nodes is routed")
    c.stop()
    issue = [c.program("edgemeshctl"), "ca", "issue", c.name, "--dir", ca, "--out", c.dir, "--renew"]
    lab.call(issue)
    c.start()
    wait_for("A and C meet again", lambda: c.ctl_ok("ping", a.name), 15, 0.2)
    wait_for("A calls B when each has its own address", lambda: answers(client, servers, VIP), 15)

    # ---- a relay without the role: for itself, and for who was told to use it
    c.stop()
    c.extra = {"tunnel": {"relay": {"enabled": True}}}
    c.write_config()
    refused(c, found, "a relay without the role", start, "needs the role relay", c.name, "edgemeshctl ca issue --role relay")
    c.extra = {}
    c.start()
    a.stop()
    a.extra = {"tunnel": {"relays": [{"name": c.name, "address": f"{c.ip}:20006"}]}}
    mark = Marked(a)
    a.start()
    one_line(found, mark, 10, "a relay without the role", f"node {c.name} does not relay", "give it the role")
    time.sleep(4)  # it is tried again
    found.same(len(mark.lines(f"node {c.name} does not relay")), 1, "lines about it after some tries")
    wait_for("A calls B all the same", lambda: answers(client, servers, VIP), 15)


@scenario("trust-claims", "failures", "=0")
def trust_claims(lab, found):
    """A MeshNode claims another node's address and pod range; all MeshNodes vanish at once: calls go on, one line each, and an alarm."""
    a, b, c = lan2(lab, pods_a=1, pods_b=2, names=("A", "B", "C"))
    for n, net in ((a, "10.41.0"), (b, "10.42.0"), (c, "10.43.0")):
        n.network = ""
        give_range(n, net)
    join([a, b, c])
    client, servers, late = a.pods["a0"], [b.pods["b0"].serve()], [b.pods["b1"].serve()]
    deploy([a, b], servers)
    for n in (a, b, c):
        n.start(wait=False)
    for n in (a, b, c):
        wait_for(f"{n.name} ready", n.ready, 20)
    wait_for("A calls B", lambda: answers(client, servers, VIP, n=3), 15)

    by_certificate = (f"the MeshNode of {c.name} names addresses that the certificate of {b.name} gives to {b.name}", "not routed", "correct it")
    for what, others, overlay, cidrs, words in (
            ("an address", [a, b], [b.overlay], [], (f"MeshNode {c.name}", b.overlay, f"belongs to MeshNode {b.name}", "left out", "give it another")),
            ("the address of a node that has no MeshNode", [a], [b.overlay], [], by_certificate),
            ("the pod range of a node that has no MeshNode", [a], [c.overlay], b.pod_cidrs, by_certificate)):
        mark = Marked(a)
        a.apply("mesh.yaml", *mesh_manifests(others), manifests.mesh_node(c.name, overlay, pod_cidrs=cidrs))
        one_line(found, mark, 5, f"a MeshNode that claims {what}", *words)
        found.check(answers(client, servers, VIP, n=5), f"calls while a MeshNode claims {what}")
        a.apply("mesh.yaml", *mesh_manifests([a, b, c]))
        time.sleep(0.5)

    # ---- the source loses them all
    mark = Marked(a)
    run = client.start_client("steady", VIP, 80, 5, 50)
    time.sleep(1)
    a.forget("mesh.yaml")
    one_line(found, mark, 8, "all MeshNodes vanish", "MeshNodes disappeared within a minute", "count until they are back")
    frozen = metric(a, "edgemeshd_mesh_nodes_frozen")
    found.check(frozen and frozen >= 2, f"the alarm: {frozen}")
    failed = [answer for _, answer, took in result(run) if answer.startswith("!") or took > 2]
    found.check(not failed, f"calls while the MeshNodes vanish: {failed[:3]}")
    deploy([a, b], late, "late", ips=[OTHER_VIP], ports=PORTS)
    wait_for("a service not used before", lambda: answers(client, late, OTHER_VIP, n=2), 10)
    b.stop(), b.start()
    wait_for("A calls B, restarted meanwhile", lambda: answers(client, servers, VIP, n=2), 15)
    mark = Marked(a)
    a.apply("mesh.yaml", *mesh_manifests([a, b, c]))
    one_line(found, mark, 8, "they are back", "MeshNodes that had disappeared are back")
    found.same(metric(a, "edgemeshd_mesh_nodes_frozen"), 0, "the alarm when they are back")


@scenario("trust-stolen-key", "failures", "=0")
def trust_stolen_key(lab, found):
    """Somebody else runs a node with B's key while B lives: B keeps its session and its calls, and A says so; when B is gone he gets in."""
    a, b = lan2(lab, pods_a=1, pods_b=1)
    a.network = b.network = ""
    join([a, b])
    client, servers = a.pods["a0"], [b.pods["b0"].serve()]
    deploy([a, b], servers)
    a.start(), b.start()
    wait_for("A calls B", lambda: answers(client, servers, VIP, n=3), 15)
    host(lab, "X", "gw", "192.168.1.66/24", "192.168.1.1", forwarding=True)
    thief = Node(lab, "X", b.name, "192.168.1.66")
    for f in ("node.crt", "node.key", "ca.crt"):
        shutil.copy(b.path(f), thief.path(f))
    thief.identity, thief.overlay, thief.overlay6 = b.identity, b.overlay, b.overlay6
    thief.apply("mesh.yaml", *mesh_manifests([a]))

    mark, session = Marked(a), peer(a, b)
    run = client.start_client("steady", VIP, 80, 8, 50)
    time.sleep(1)
    thief.start()
    thief.ctl_ok("ping", a.name)
    one_line(found, mark, 10, "a key in two places", f"two live processes hold the key of {b.name}", "the older keeps its session", f"edgemeshctl ca deny {b.name}")
    failed = [(answer, took) for _, answer, took in result(run) if answer.startswith("!") or took > 1]
    found.check(not failed, f"B's calls while another runs with its key: {failed[:3]}")
    found.check((metric(a, "edgemeshd_tunnel_rivals_total") or 0) >= 1, "the alarm")
    now = peer(a, b)
    found.same((now.get("state"), now.get("path")), ("up", session.get("path")), "B's session at A")
    b.stop(signal.SIGKILL)
    thief.stop()
    thief.start()
    wait_for("with B gone, whoever has its key is B", lambda: thief.ctl_ok("ping", a.name) and thief.ip in str(peer(a, b).get("path")), 30, 0.5)
