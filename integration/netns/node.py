"""A node of a lab: a host namespace with a docker-like bridge, pods behind it, and our daemon with its configuration."""
import json
import os
import signal
import subprocess
import sys

import manifests
from lab import HERE, LabError, started_at, wait_for

SERVICE_IP = "169.254.96.16"
TRUST_DOMAIN = "lab.edgemesh"
DOCKER_LIKE = """table ip docker_like {
 chain post {
  type nat hook postrouting priority srcnat; policy accept;
  ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
 }
}
"""
HTTP, TCP, UDP = 8080, 2701, 9000
PYTHON = [sys.executable, "-S", "-E"]  # our small programs need the standard library only; the rest of a start costs more than a call


class Inside:
    """What runs in the namespace self.ns of self.lab."""

    def run(self, *argv, **kw):
        return self.lab.run(self.ns, list(argv), **kw)

    def client(self, *args, timeout=60):
        """A client there: what it saw, as a dict."""
        r = self.run(*client_argv(self.lab, *args), check=False, timeout=timeout)
        try:
            return json.loads(r.stdout)
        except ValueError:
            return {"error": (r.stderr or r.stdout).strip()[-300:] or f"exit status {r.returncode}"}

    def start_client(self, *args):
        return self.lab.start(self.ns, client_argv(self.lab, *args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def start_server(self, name):
        """pod_server.py there, once it listens."""
        server = self.lab.start(self.ns, [*PYTHON, os.path.join(HERE, "pod_server.py"), "--name", name], stdout=subprocess.PIPE, text=True)
        if server.stdout.readline().strip() != "ready":
            raise LabError(f"the server {name} in {self.ns} did not start")
        return server


class Pod(Inside):
    """A namespace on the node's bridge; the pods of all nodes draw from the same 172.17.0.0/16."""

    def __init__(self, node, name, index):
        self.node, self.lab, self.name, self.ns = node, node.lab, name, f"{node.ns}-{name}"
        self.ip, self.ip6 = f"172.17.0.{index + 2}", f"fd17::{index + 2}"
        self.port = f"v{index}"
        self.server = None

    def cable(self):
        lab = self.lab
        lab.ns(self.ns)
        lab.cable(self.node.ns, self.port, self.ns, "eth0")
        lab.ip(self.node.ns, f"link set {self.port} master docker0")
        lab.ip(self.ns, f"addr add {self.ip}/16 dev eth0", "route add default via 172.17.0.1",
               f"addr add {self.ip6}/64 dev eth0 nodad", "route add default via fd17::1")
        self.write_etc()

    def write_etc(self, namespace="default"):
        """resolv.conf as the kubelet writes it for a pod of this namespace."""
        write_etc(self.lab, self.ns, self.name, f"nameserver {SERVICE_IP}\n"
                  f"search {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:2 attempts:2\n")

    def serve(self):
        """Starts the ordinary programs in the pod."""
        self.server = self.start_server(self.name)
        return self

    def kill(self):
        """The programs end as the kernel ends them when memory is short."""
        self.server.kill()
        self.server.wait()

    def cut(self, is_cut=True):
        """The pod's cable: silence instead of answers."""
        self.lab.ip(self.node.ns, f"link set {self.port} {'down' if is_cut else 'up'}")


def client_argv(lab, name, *args):
    """A client of pod_client.py or pod_calls.cc, to be run in any namespace."""
    program = [*PYTHON, os.path.join(HERE, "pod_client.py")] if name in ("echo", "stream", "download", "ping") else [lab.calls()]
    return [*program, name, *map(str, args)]


def write_etc(lab, ns, hostname, resolv):
    os.makedirs(lab.etc(ns), exist_ok=True)
    for name, text in (("resolv.conf", resolv), ("hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n"),
                       ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")):
        with open(os.path.join(lab.etc(ns), name), "w") as f:
            f.write(text)


class Node(Inside):
    def __init__(self, lab, ns, name, ip, network="", public="", roles=()):
        self.lab, self.ns, self.name, self.ip = lab, ns, name, ip
        self.network, self.public, self.roles = network, public, list(roles)
        self.identity, self.overlay, self.overlay6 = {}, "", ""  # of its certificate, once issued
        self.pods, self.daemon, self.relays, self.direct, self.extra = {}, None, [], True, {}
        self.wrapper = []    # goes before the daemon's own command line
        self.pod_cidrs = []  # of its certificate: native mode
        self.advertise = []  # where others reach it without punching, for its MeshNode
        self.dir = os.path.join(lab.dir, ns)
        os.makedirs(os.path.join(self.dir, "manifests"))
        lab.nodes[ns] = self
        write_etc(lab, ns, name, f"nameserver {SERVICE_IP}\noptions timeout:2 attempts:2\n")
        lab.sysctl(ns, {"ipv4/conf/all/rp_filter": 1, "ipv4/conf/default/rp_filter": 1})
        lab.ip(ns, "link add docker0 type bridge", "link set docker0 up", "addr add 172.17.0.1/16 dev docker0",
               "addr add fd17::1/64 dev docker0 nodad")
        lab.nft(ns, DOCKER_LIKE)

    def add_pod(self, name):
        pod = self.pods[name] = Pod(self, name, len(self.pods))
        pod.cable()
        return pod

    # ---- objects
    def manifest(self, name):
        return os.path.join(self.dir, "manifests", name)

    def apply(self, name, *objects):
        manifests.write(self.manifest(name), *objects)

    def forget(self, name):
        os.unlink(self.manifest(name))

    # ---- the daemon
    def path(self, *names):
        return os.path.join(self.dir, *names)

    @property
    def socket(self):
        return self.path("admin.sock")

    def program(self, name):
        for sub in ("bin", "daemon", "."):
            path = os.path.join(self.lab.build, sub, name)
            if os.path.exists(path):
                return path
        raise LabError(f"{name} is not built in {self.lab.build}: make build")

    def config(self):
        """The one place of the labs that writes the daemon's configuration."""
        c = {"apiVersion": "edgemeshd.io/v1alpha1", "kind": "Config", "nodeName": self.name,
             "dataDir": self.path("data"), "runDir": self.path("run"),
             "source": {"directory": self.path("manifests")},
             "mesh": {"network": self.network} if self.network else {},
             "admin": {"socket": self.socket}}
        if self.identity:
            c["tunnel"] = {"enabled": True, "directEnabled": self.direct,
                           "identity": {"cert": self.path("node.crt"), "key": self.path("node.key"), "ca": self.path("ca.crt"),
                                        "denyList": self.path("deny.json")},
                           **({"relay": {"enabled": True}, "advertise": [f"{self.public}:20006"]} if "relay" in self.roles else {}),
                           **({"relays": [{"name": r.name, "address": f"{r.public}:20006"} for r in self.relays]} if self.relays else {})}
        for key, value in self.extra.items():
            c[key] = {**c[key], **value} if isinstance(value, dict) and key in c else value
        return {k: v for k, v in c.items() if v != {}}

    def write_config(self):
        manifests.write(self.path("config.yaml"), self.config())
        return self.path("config.yaml")

    def start(self, wait=True):
        self.daemon = self.lab.start(self.ns, [*self.wrapper, self.program("edgemeshd"), "--config", self.write_config()], log=f"{self.ns}.log")
        if wait:
            wait_for(f"edgemeshd on {self.name} ready (log: {self.lab.log(self.ns + '.log')})", self.ready, 20)
        return self

    def ready(self):
        if self.daemon.poll() is not None:
            raise LabError(f"edgemeshd on {self.name} ended with status {self.daemon.returncode}:\n{self.last_log()}")
        return self.ctl_ok("status")

    def last_log(self, lines=15):
        try:
            with open(self.lab.log(f"{self.ns}.log"), errors="replace") as f:
                return "".join(f.readlines()[-lines:]).rstrip()
        except OSError:
            return ""

    def stop(self, sig=signal.SIGTERM, seconds=15):
        """-> exit status."""
        if self.daemon is None:
            return None
        self.daemon.send_signal(sig)
        try:
            self.daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"edgemeshd on {self.name} did not end within {seconds} s of signal {sig}") from None
        status, self.daemon = self.daemon.returncode, None
        return status

    def ctl_ok(self, *args):
        return self.run(self.program("edgemeshctl"), "--socket", self.socket, *args, check=False, timeout=10).returncode == 0

    def ctl(self, *args):
        """edgemeshctl ... -o json, parsed."""
        return json.loads(self.run(self.program("edgemeshctl"), "--socket", self.socket, *args, "-o", "json", timeout=20).stdout)

    def rss_kib(self):
        with open(f"/proc/{self.daemon.pid}/status") as f:
            fields = dict(line.split(":", 1) for line in f)
        return {k: int(fields[k].split()[0]) for k in ("VmRSS", "RssAnon", "RssFile")}

    def cpu_seconds(self):
        with open(f"/proc/{self.daemon.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def alive(self):
        return self.daemon is not None and started_at(self.daemon.pid) is not None


def issue_certificates(nodes):
    """One CA for the lab; each node gets its certificate, and with it its overlay addresses. -> the CA's folder."""
    first, ca = nodes[0], os.path.join(nodes[0].lab.dir, "ca")
    ctl = first.program("edgemeshctl")
    if not os.path.exists(ca):
        first.lab.call([ctl, "ca", "init", "--dir", ca, "--trust-domain", TRUST_DOMAIN])
    for n in nodes:
        roles = [a for r in n.roles for a in ("--role", r)] + [a for c in n.pod_cidrs for a in ("--pod-cidr", c)]
        n.identity = json.loads(first.lab.call([ctl, "ca", "issue", n.name, "--dir", ca, "--out", n.dir, *roles, "-o", "json"]))
        n.overlay = next(ip for ip in n.identity["overlay"] if ":" not in ip)
        n.overlay6 = next(ip for ip in n.identity["overlay"] if ":" in ip)
    return ca


def mesh_manifests(nodes):
    """The MeshNode objects every node of the lab reads."""
    return [manifests.mesh_node(n.name, [n.overlay, n.overlay6], n.network, n.roles,
                                [f"{n.public}:20006"] if "relay" in n.roles else n.advertise, n.pod_cidrs) for n in nodes]


def join(nodes, relay=None):
    """Certificates and MeshNodes for all; the relay, if there is one, in everybody's configuration."""
    ca = issue_certificates(nodes)
    for n in nodes:
        n.relays = [relay] if relay and n is not relay else []
        n.apply("mesh.yaml", *mesh_manifests(nodes))
    return ca
