"""Wrong input: one line that names the place and the mend, and nothing half-installed."""
import os
import signal
import time

import manifests
from fixtures import VIP, answers, deploy, one_site
from lab import wait_for
from node import SERVICE_IP, TRUST_DOMAIN, join
from ownership import kernel_state
from registry import scenario
from topology import lan2, one_node


def refused(node, found, what, argv, *words):
    """The daemon ends by itself with a failure and one line that contains these words."""
    r = node.run(*argv, check=False, timeout=8)
    lines = [line for line in (r.stdout + r.stderr).splitlines() if line.strip()]
    found.check(r.returncode not in (0, 124), f"{what}: exit status {r.returncode}: {lines[-3:]}")
    errors = lines[-1:] if lines else [""]
    found.check(bool(lines) and all(w.lower() in errors[0].lower() for w in words), f"{what}: {errors[0]!r} lacks one of {words}")
    return lines


@scenario("bad-config", "failures", "=0")
def bad_config(lab, found):
    """Unreadable, unknown key, wrong type, syntax: --check-config and a start both refuse with file, line and mend."""
    node = one_node(lab, 1)
    d = node.program("edgemeshd")
    good = open(node.write_config()).read()
    before = kernel_state(node)

    def attempt(what, text, *words):
        path = node.path("bad.yaml")
        with open(path, "w") as f:
            f.write(text)
        for argv in ([d, "--check-config", path], [d, "--config", path]):
            lines = refused(node, found, what, argv, "bad.yaml:", *words)
            found.same(len(lines), 1, f"{what}: lines printed")

    refused(node, found, "no such file", [d, "--config", node.path("nowhere.yaml")], "nowhere.yaml")
    attempt("unknown key", good + "admim:\n  socket: /x\n", "admim", "admin")
    attempt("wrong type", good + "dns:\n  port: many\n", "dns.port")
    attempt("syntax", good + "tunnel: [1, 2\n")
    found.same(node.run(d, "--check-config", node.path("config.yaml"), check=False).returncode, 0, "the good one")
    after = kernel_state(node)
    for k in before:
        found.same(after[k], before[k], f"{k} afterwards")


@scenario("bad-place", "failures", "=0")
def bad_place(lab, found):
    """Port 53 taken, no NET_ADMIN, no /dev/net/tun: one line with the mend and nothing half-installed."""
    node = one_node(lab, 1)
    argv = [node.program("edgemeshd"), "--config", node.write_config()]
    before = kernel_state(node)
    taker = lab.start(node.ns, ["python3", "-c", "import socket,time\nfor k in (socket.SOCK_DGRAM, socket.SOCK_STREAM):\n"
                                " s=socket.socket(socket.AF_INET,k); s.bind(('0.0.0.0',53)); k==socket.SOCK_STREAM and s.listen(); "
                                "globals()[f's{k}']=s\ntime.sleep(60)"])
    time.sleep(0.5)
    for what, prefix, word in (("port 53 taken", [], "53"),
                               ("no NET_ADMIN", ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"], "NET_ADMIN"),
                               ("no /dev/net/tun", ["sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"], "/dev/net/tun")):
        refused(node, found, what, [*prefix, *argv], word)
        after = kernel_state(node)
        for k in before:
            found.same(after[k], before[k], f"{k} after {what}")
        if what.startswith("port"):
            taker.kill()


@scenario("bad-manifest", "failures", "=0")
def bad_manifest(lab, found):
    """A manifest with a mistake keeps the last good state and is named with file:line; a mended one is taken up; SIGHUP too."""
    node, client, servers = one_site(lab)
    with open(node.manifest("shop.yaml")) as f:
        good = f.read()
    with open(node.manifest("shop.yaml"), "w") as f:
        f.write(good.replace("spec:", "spec: [", 1))
    wait_for("a line that names shop.yaml", lambda: "shop.yaml:" in node.last_log(50), 5)
    found.check(answers(client, servers, VIP, n=3), "the last good state answers")
    deploy([node], servers[:1])
    wait_for("the mended file is taken up", lambda: set(client.client("http", VIP, 80, 6)["counts"]) == {servers[0].name}, 3)
    nodes = [manifests.mesh_node("node-x", ["100.64.1.7"]), manifests.mesh_node("node-y", ["100.64.1.7"])]
    node.apply("clash.yaml", *nodes)
    wait_for("two nodes with one overlay address are named", lambda: "100.64.1.7" in node.last_log(50), 5)
    with open(node.path("config.yaml"), "a") as f:
        f.write("unknownKey: 1\n")
    node.daemon.send_signal(signal.SIGHUP)
    wait_for("a bad reload is refused", lambda: "unknownKey" in node.last_log(50), 5)
    found.check(node.alive() and answers(client, servers, VIP, n=3), "the daemon goes on with the old configuration")
    node.extra["dns"] = {"port": 5353}
    node.write_config()
    node.daemon.send_signal(signal.SIGHUP)
    wait_for("DNS answers on the new port", lambda: node.run("dig", "-p", "5353", "+short", "+tries=1", "+time=1", f"@{SERVICE_IP}",
                                                             "shop.default.svc.cluster.local", check=False).stdout.strip() == VIP, 5)
    found.same(node.run("ss", "-Hlntu", "sport = :53").stdout, "", "sockets left on the old port")
    os.unlink(node.manifest("clash.yaml"))


@scenario("bad-certificate", "failures", "=0")
def bad_certificate(lab, found):
    """Missing, mismatched, another node's or a foreign CA's: refused at the start with file and mend; a foreign peer is named and gets nothing."""
    a, b = lan2(lab, pods_b=1)
    client, server = a.pods["a0"], b.pods["b0"]
    server.serve()
    ctl, ca = a.program("edgemeshctl"), join([a, b])
    foreign = os.path.join(lab.dir, "foreign")
    lab.call([ctl, "ca", "init", "--dir", foreign, "--trust-domain", TRUST_DOMAIN])
    lab.call([ctl, "ca", "issue", a.name, "--dir", foreign, "--out", a.path("foreign")])
    refused(a, found, "a name issued twice", [ctl, "ca", "issue", a.name, "--dir", ca], a.name, "--renew")
    refused(a, found, "an overlay address issued twice", [ctl, "ca", "issue", "node-z", "--dir", ca, "--overlay", b.overlay], b.overlay, b.name)

    start = [a.program("edgemeshd"), "--config", a.path("config.yaml")]
    before, good = kernel_state(a), a.config()["tunnel"]["identity"]
    for what, change, words in (("no certificate", {"cert": a.path("none.crt")}, ("none.crt", "no such file")),
                                ("another node's key", {"key": b.path("node.key")}, (b.path("node.key"), "does not belong")),
                                ("another node's certificate", {"cert": b.path("node.crt"), "key": b.path("node.key")}, (b.name, a.name, "nodeName")),
                                ("another CA", {"ca": a.path("foreign", "ca.crt")}, (a.path("node.crt"), "CA"))):
        a.extra["tunnel"] = {"identity": {**good, **change}}
        a.write_config()
        refused(a, found, what, start, *words)
        after = kernel_state(a)
        for k in before:
            found.same(after[k], before[k], f"{k} after {what}")

    a.extra["tunnel"] = {"identity": {**good, **{k: a.path("foreign", f) for k, f in (("cert", "node.crt"), ("key", "node.key"), ("ca", "ca.crt"))}}}
    deploy([a, b], [server])
    a.start(), b.start()
    found.check(not answers(client, [server], VIP), "a node of a foreign CA gets answers")
    wait_for("A names the peer whose certificate is refused, and why", lambda: f"{b.name}: handshake failed" in a.last_log(200)
             and "another CA than ours" in a.last_log(200), 10)
    wait_for("B says by whom it was refused, and why", lambda: f"{a.ip}:" in b.last_log(200) and "unknown CA" in b.last_log(200), 10)
