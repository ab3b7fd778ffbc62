"""Sources that send what nobody should have to read: much too much, much too deep, and a few bad objects among ten thousand."""
import ipaddress
import json
import sys
import time

import manifests
from api_source import ApiServer, Bench, cluster, kubeconfig
from clock import Marked
from fixtures import answers
from lab import wait_for
from registry import scenario

MANY, BAD = 10_000, 10
FIRST_IP = ipaddress.ip_address("10.98.0.0")


def peak_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as f:
        f.write("5")


def of_services(node):
    return [p for p in node.ctl("status")["problems"] if "/services: " in p]


@scenario("hostile-answers", "MiB", "<=48", seconds=150, why="waits out the back-off after each answer")
def hostile_answers(lab, found):
    """Lists of 1 GiB in one string, in many items, as brackets in brackets, and an endless watch line. Figure: the daemon's peak above its usual."""
    bench = Bench(lab, found)
    node, client, servers = bench.node, bench.client, bench.servers
    api = ApiServer(lab, "gw", "192.168.1.1:6443")
    node.extra = {"source": {"kubeconfig": kubeconfig(node, "http://192.168.1.1:6443")}}
    first, objects = bench.next_service()
    api.apply(*cluster(node), *bench.calm.objects(), *objects)
    node.start()
    bench.seen("the first service", first, 10)
    usual, worst, logged = bench.calm.ready().settled(), 0, []
    for fault in ({"fault": "huge", "mib": 1024, "shape": "name"}, {"fault": "huge", "mib": 1024, "shape": "items"},
                  {"fault": "huge", "mib": 1024, "shape": "deep"}, {"fault": "endless", "mib": 1024}):
        what = fault.get("shape", fault["fault"])
        forget_peak(node.daemon.pid)
        before, mark = peak_mib(node.daemon.pid), Marked(node)
        with bench.calm.watch(f"1 GiB, {what}", usual):
            api.tell(**fault)
            api.apply(manifests.namespace("newer"))  # what the watch of services has seen is too old afterwards: it is listed again
            api.tell(compact=True, drop=True)
            said = wait_for(f"{what}: status says so", lambda: of_services(node), 60, 0.2)
            ip, objects = bench.next_service()  # only now: its line on the old watch would spare the daemon the list
            api.apply(*objects)
            time.sleep(4)  # it is tried again
            found.check(answers(client, servers, first, n=10), f"{what}: calls")
            found.same(len(said), 1, f"{what}: {said}: lines in status")
            told = mark.lines(" error ", "services: ")  # the same trouble as a minute ago is not told again
            found.check(len(told) <= 1 and (told or logged), f"{what}: lines in the log: {told}")
            logged += told
            api.tell(fault=None)
            bench.seen(f"{what}: a service that was added meanwhile", ip, 40)
            ip, objects = bench.next_service()
            api.apply(*objects)
            bench.seen(f"{what}: a service that the watch brings", ip, 20)  # after which the back-off starts over
        more = peak_mib(node.daemon.pid) - before
        print(f"     1 GiB, {what}: {more:.1f} MiB above {before:.1f}; {said[0]}"[:260], file=sys.stderr, flush=True)
        worst = max(worst, more)
    return worst


def many(servers):
    """Ten thousand services, every thousandth of which cannot be read; the last good one has endpoints."""
    good, bad = [], []
    for i in range(MANY):
        s = manifests.service(f"s{i}", [str(FIRST_IP + i + 1)], [manifests.port(80, 8080, "http")])
        (bad if i % (MANY // BAD) == 500 else good).append(s)
    for s in bad:
        s["spec"]["ports"][0]["port"] = "many"
    last = good[-1]["metadata"]["name"]
    good.append(manifests.endpoints(last, [(p.ip, p.node.name, p.name) for p in servers], good[-1]["spec"]["ports"]))
    return good, bad, good[-2]["spec"]["clusterIPs"][0]


@scenario("bad-among-many", "failures", "=0", seconds=150, why="ten thousand services, twice")
def bad_among_many(lab, found):
    """10,000 services of which 10 cannot be read, from a directory and from an API server: ten lines, everything else is served."""
    bench = Bench(lab, found)
    node, client, servers = bench.node, bench.client, bench.servers
    good, bad, vip = many(servers)

    def check(what, mark, names):
        wait_for(f"{what}: the last service answers", lambda: answers(client, servers, vip, n=3), 40)
        found.same(node.ctl("status")["services"], MANY - BAD + 1, f"{what}: services")
        for i in (0, 499, 501, 5003, 9998):
            ip = str(FIRST_IP + i + 1)
            got = client.run("dig", "+short", "+time=2", f"s{i}.default.svc.cluster.local", check=False).stdout.strip()
            found.same(got, ip, f"{what}: the name s{i}")
        lines = mark.lines("ports[0].port")
        found.same(len(lines), BAD, f"{what}: lines {[l[-120:] for l in lines[:3]]}")
        for name in names:
            found.same(sum(name in line for line in lines), 1, f"{what}: lines about {name}")
        found.same(len([p for p in node.ctl("status")["problems"] if "ports[0].port" in p]), BAD, f"{what}: problems in status")

    calm = manifests.service("calm-of-its-own", ["10.97.0.1"], [manifests.port(80, 8080, "http")])
    for i in range(0, len(good), 1000):
        with open(node.manifest(f"good-{i}.json"), "w") as f:
            json.dump({"apiVersion": "v1", "kind": "List", "items": good[i:i + 1000]}, f)
    for s in bad:
        node.apply(f"bad-{s['metadata']['name']}.yaml", s)
    node.apply("calm.yaml", manifests.namespace("default"), calm)
    mark = Marked(node)
    node.start()
    check("directory", mark, [f"bad-{s['metadata']['name']}.yaml" for s in bad])
    node.stop()

    api = ApiServer(lab, "gw", "192.168.1.1:6443")
    node.extra = {"source": {"kubeconfig": kubeconfig(node, "http://192.168.1.1:6443")}, "dataDir": node.path("data2")}
    api.tell(apply=[manifests.namespace("default"), manifests.node(node.name, node.ip), calm, *good, *bad])
    mark = Marked(node)
    node.start()
    check("API server", mark, [f"default/{s['metadata']['name']}:" for s in bad])
