"""Objects from API servers: a scripted Kubernetes one and a scripted MetaServer, with everything that goes wrong with real ones."""
import json
import os
import subprocess
import sys
import time

import manifests
from bystander import Bystander
from fixtures import answers, shop
from lab import HERE, LabError, wait_for
from node import issue_certificates
from registry import scenario
from topology import one_node

TOKEN = "c2NyaXB0ZWQ"


class ApiServer:
    """netns/api_server.py in a namespace; keeps what it was given, so that it can be started again with the same objects."""

    def __init__(self, lab, ns, listen, *args):
        self.lab, self.ns, self.listen, self.args, self.kept = lab, ns, listen, args, {}
        self.start()

    def start(self):
        # it stands for another machine: what it works must not look like our node's load
        self.process = self.lab.start(self.ns, ["nice", "-n", "19", sys.executable, os.path.join(HERE, "api_server.py"), "--listen", self.listen, *self.args],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            raise LabError("the API server did not start")
        if self.kept:
            self.tell(apply=list(self.kept.values()))

    def stop(self):
        self.process.kill()
        self.process.wait()

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise LabError("the API server ended")
        return json.loads(line)

    def apply(self, *objects):
        for o in objects:
            self.kept[o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]] = o
        self.tell(apply=list(objects))

    def delete(self, *objects):
        for o in objects:
            self.kept.pop((o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]), None)
        self.tell(delete=list(objects))


def cluster(node):
    """What no cluster is without."""
    kube = manifests.service("kubernetes", ["10.96.0.1"], [manifests.port(443, 6443, "https")])
    ends = {"apiVersion": "v1", "kind": "Endpoints", "metadata": manifests.meta("kubernetes", "default"),
            "subsets": [{"addresses": [{"ip": "192.168.1.1"}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}]}
    return [manifests.namespace("default"), manifests.node(node.name, node.ip), kube, ends]


def as_endpoints(name, pods, ports):
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": manifests.meta(name, "default"),
            "subsets": [{"addresses": [{"ip": p.ip, "nodeName": p.node.name, "targetRef": {"kind": "Pod", "name": p.name}} for p in pods],
                         "ports": [{"name": p["name"], "port": p["targetPort"], "protocol": p["protocol"]} for p in ports]}]}


def kubeconfig(node, server, **user):
    path = node.path("kubeconfig")
    cluster_ = {"server": server, **({"insecure-skip-tls-verify": True} if server.startswith("https") else {})}
    manifests.write(path, {"apiVersion": "v1", "kind": "Config", "current-context": "lab",
                           "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "edgemeshd"}}],
                           "clusters": [{"name": "lab", "cluster": cluster_}], "users": [{"name": "edgemeshd", "user": user}]})
    return path


class Bench:
    """The node, its client and its servers, and services that come one after the other."""

    def __init__(self, lab, found):
        self.found = found
        self.node = one_node(lab, 5)
        self.client, calm, *self.servers = self.node.pods.values()
        for p in self.servers:
            p.serve()
        self.calm = Bystander(found, [], self.client, calm)
        self.made = 0

    def next_service(self):
        self.made += 1
        ip = f"10.96.1.{self.made}"
        return ip, shop(self.servers, f"svc-{self.made}", [ip])

    def add_five(self, api, seconds):
        """Five services, one after the other. At least one must be there soon. -> address and objects of the last."""
        took = []
        for _ in range(5):
            ip, objects = self.next_service()
            api.apply(*objects)
            took.append(self.seen("a service that was added", ip, seconds))
        self.found.check(min(took) < 0.5, f"changes take {took} s")
        return ip, objects

    def seen(self, what, ip, seconds):
        """Seconds until that service answers."""
        began = time.monotonic()
        try:
            wait_for(what, lambda: answers(self.client, self.servers, ip), seconds)
        except LabError as e:
            self.found.append(f"{e}; {self.node.last_log(4)}")
        return time.monotonic() - began


@scenario("api-source", "failures", "=0", seconds=180, why="waits out the back-off after each fault")
def api_source(lab, found):
    """503, refusals, slow and half lists, garbage, 410, cut watches, a huge answer, a restart: calls go on and changes arrive afterwards."""
    bench = Bench(lab, found)
    node, client, servers = bench.node, bench.client, bench.servers
    issue_certificates([node])
    tls = ["--tls-cert", node.path("node.crt"), "--tls-key", node.path("node.key")]
    api = ApiServer(lab, "gw", "192.168.1.1:6443", "--token", TOKEN, *tls)
    node.identity = {}
    with open(node.path("token"), "w") as f:
        f.write(TOKEN + "\n")
    node.extra = {"source": {"kubeconfig": kubeconfig(node, "https://192.168.1.1:6443", tokenFile="token")}}
    first, objects = bench.next_service()
    api.apply(*cluster(node), *bench.calm.objects(), *objects)
    node.start()
    bench.seen("the first service", first, 10)
    usual = bench.calm.ready().settled()

    ip, objects = bench.add_five(api, 3)
    api.delete(*objects)
    wait_for("the deleted service is refused", lambda: not answers(client, servers, ip), 3)

    faults = [{"fault": "status", "code": 503}, {"fault": "status", "code": 429, "after": 2}, {"fault": "refuse"}, {"fault": "slow", "seconds": 2},
              {"fault": "half"}, {"fault": "garbage"}, {"fault": "expired"}, {"fault": "huge", "mib": 1024}]
    with bench.calm.watch("everything that goes wrong with API servers", usual):
        for fault in faults:
            api.tell(**fault)
            api.tell(compact=True, drop=True)  # every watch ends in the middle of a line; those that come back find their version too old
            ip, objects = bench.next_service()
            api.apply(*objects)
            deadline = time.monotonic() + 2.5
            while time.monotonic() < deadline:
                if not found.check(answers(client, servers, first, n=5), f"during {fault}: {client.client('http', first, 80, 5)}"):
                    break
            api.tell(fault=None)
            bench.seen(f"a service that was added during {fault}", ip, 15)
    rss = node.rss_kib()["RssAnon"]
    found.check(rss < 64 << 10, f"RssAnon {rss} KiB after an answer of 1 GiB")

    broken = manifests.service("broken", ["10.96.7.7"], [manifests.port(80)])
    broken["spec"]["ports"][0]["port"] = "many"
    ip, objects = bench.next_service()
    api.apply(broken, *objects)
    bench.seen("a service behind one that cannot be read", ip, 3)
    problems = " ".join(node.ctl("status")["problems"])
    found.check("Service default/broken: spec.ports[0].port" in problems, f"status does not name the broken one: {problems!r}")

    api.tell(stats=True)
    api.tell(bookmark=True)
    api.tell(drop=True)
    ip, objects = bench.next_service()
    api.apply(*objects)
    bench.seen("a service after the watches were cut", ip, 5)
    found.check(not any(s.startswith("list") and "services" in s for s in api.tell(stats=True)), "a cut watch was answered with a list")

    api.stop()
    found.check(answers(client, servers, first, n=20), "with the API server dead")
    with open(node.path("token"), "w") as f:
        f.write("bmV3\n")
    api.args = ["--token", "bmV3", *tls]
    ip, objects = bench.next_service()
    for o in objects:
        api.kept[o["kind"], "default", o["metadata"]["name"]] = o
    api.start()
    bench.seen("a service, from a server that was restarted, with a renewed token", ip, 15)


@scenario("metaserver", "failures", "=0", seconds=120, why="an empty list is held back for 30 s")
def metaserver(lab, found):
    """A MetaServer: no EndpointSlices, slow, no versions, empty lists while it has no cloud; nothing is lost and changes arrive."""
    bench = Bench(lab, found)
    node, client, servers = bench.node, bench.client, bench.servers
    api = ApiServer(lab, node.ns, "127.0.0.1:10550", "--metaserver")
    node.extra = {"source": {"metaServer": {"server": "http://127.0.0.1:10550"}}}

    def endpoints_service():
        ip, (service, slice_) = bench.next_service()
        return ip, [service, as_endpoints(service["metadata"]["name"], servers, service["spec"]["ports"])]

    first, objects = endpoints_service()
    calm = bench.calm.objects()
    api.apply(*cluster(node), calm[0], as_endpoints("calm", [bench.calm.server], calm[0]["spec"]["ports"]), *objects)
    api.tell(fault="slices_500")
    node.start()
    bench.seen("the first service, by Endpoints", first, 10)
    ip, objects = endpoints_service()
    api.apply(*objects)
    bench.seen("a service that was added", ip, 3)

    with bench.calm.ready().watch("an empty, a slow and a dead MetaServer"):
        api.tell(fault="empty")
        api.tell(drop=True)
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline and found.check(answers(client, servers, first, n=3), "an empty list emptied the table"):
            time.sleep(0.5)
        found.check("is the MetaServer connected" in " ".join(node.ctl("status")["problems"]), f"status says {node.ctl('status')['problems']}")
        api.tell(fault="slow", seconds=3)
        ip, objects = endpoints_service()
        api.apply(*objects)
        bench.seen("a service, from a slow server", ip, 20)

        api.stop()
        found.check(answers(client, servers, first, n=10), "with the MetaServer dead")
        api.start()
        ip, objects = endpoints_service()
        api.apply(*objects)
        bench.seen("a service, after a restart of the MetaServer", ip, 20)
