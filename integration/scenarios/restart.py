"""The daemon dies, starts without its source, and gives way to a successor, under load."""
import os
import shutil
import signal
import subprocess
import time

import manifests
from bystander import Bystander
from fixtures import VIP, answers, curl, deploy, one_site
from lab import HERE, LabError, wait_for
from node import SERVICE_IP
from registry import scenario

LOAD_VIP, LOAD_PORT, ECHO = "10.96.0.90", 7000, 7777
NAME = "shop.default.svc.cluster.local"


def steady(lab):
    return lab.tool("steady", os.path.join(os.path.dirname(HERE), "benches", "steady.cc"))


def echo_service(lab, node, pods):
    """Service load over echo servers in these pods."""
    for p in pods:
        server = lab.start(p.ns, [steady(lab), "server", "0.0.0.0", str(ECHO)], stdout=subprocess.PIPE, text=True)
        if server.stdout.readline().strip() != "ready":
            raise LabError(f"the echo server in {p.name} did not start")
    deploy([node], pods, "load", ips=[LOAD_VIP], ports=[manifests.port(LOAD_PORT, ECHO, "echo")])


def load(lab, pod, *args):
    return lab.start(pod.ns, [steady(lab), *map(str, args)], stdout=subprocess.PIPE, text=True)


def result(program, seconds=60):
    out, _ = program.communicate(timeout=seconds)
    return [float(x) for x in out.split("\n")[-2].split()]


def pid_of(node):
    return node.ctl("status")["pid"]


def follow(lab, node, pid):
    """The node's daemon is this process from now on: the lab ends it and waits for it."""
    from lab import started_at
    lab.pids.append((pid, started_at(pid)))
    lab.save()


@scenario("cold-start", "failures", "=0")
def cold_start(lab, found):
    """No source at all at the start: names, calls and refusals from the snapshot; a damaged one is ignored; the source then wins."""
    node, client, servers = one_site(lab)
    calm = Bystander(found, [node], client, servers[-1], serve=False).ready()
    usual = calm.settled()
    snapshot = node.path("data/objects.snapshot")
    wait_for("the snapshot is written", lambda: os.path.exists(snapshot), 10)
    time.sleep(6)  # it holds the bystanders' service as well
    node.stop()
    away = node.path("manifests.away")
    shutil.move(node.path("manifests"), away)
    node.start()
    found.check(answers(client, servers, VIP, n=4), "calls by address without a source")
    found.check(curl(client, "http://shop/") in {p.name for p in servers}, "calls by name without a source")
    status = node.ctl("status")
    found.check(status["ready"] and any("from the snapshot of" in p and "source not reached" in p for p in status["problems"]), f"status: {status}")
    found.check("NXDOMAIN" in client.run("dig", "nobody.default.svc.cluster.local").stdout, "a name that no object has must not exist")
    with calm.watch("served from the snapshot, then from the source", usual):
        shutil.move(away, node.path("manifests"))
        deploy([node], servers[:1])
        wait_for("the source replaces the snapshot", lambda: answers(client, servers[:1], VIP, n=6), 5)
    found.check(not any("snapshot" in p for p in node.ctl("status")["problems"]), "the snapshot is still named once the source is read")
    node.stop(signal.SIGKILL)
    with open(snapshot, "r+b") as f:
        f.seek(60)
        byte = f.read(1)[0]
        f.seek(60)
        f.write(bytes([byte ^ 1]))
    node.start()
    wait_for("a damaged snapshot does not matter", lambda: answers(client, servers[:1], VIP, n=2), 5)
    found.check(node.last_log(50).count("the snapshot is ignored") == 1, f"one line about the damaged file: {node.last_log(50)}")
    wait_for("the metric counts it", lambda: "edgemeshd_snapshot_failures_total 1" in node.run("curl", "-s", "http://127.0.0.1:10550/metrics", check=False).stdout
             or "edgemeshd_snapshot_failures_total 1" in node.run("curl", "-s", "--unix-socket", node.socket, "http://x/metrics").stdout, 5)


@scenario("kill9-under-load", "seconds", "<=1", at_once=1)
def kill9_under_load(lab, found):
    """kill -9 and restart under load, with and without a source: no established flow breaks, no new one is refused, DNS answers within 1 s."""
    node, client, servers = one_site(lab)
    echo_service(lab, node, servers)
    calm = Bystander(found, [node], client, servers[-1], serve=False).ready()
    wait_for("the load service answers", lambda: client.client("connect", LOAD_VIP, LOAD_PORT, 2)["result"] == "connected", 5)
    wait_for("the snapshot is written", lambda: os.path.exists(node.path("data/objects.snapshot")), 10)
    time.sleep(6)  # it holds the load service as well
    held = load(lab, client, "hold", LOAD_VIP, LOAD_PORT, 200, 19)
    held.stdout.readline()
    new = load(lab, client, "connect", LOAD_VIP, LOAD_PORT, 500, 17)
    slowest = 0
    with calm.watch("kill -9 and restart, three times"):
        for with_source in (True, False, True):
            time.sleep(1)
            node.stop(signal.SIGKILL)
            if not with_source:
                shutil.move(node.path("manifests"), node.path("away"))
            start = time.monotonic()
            node.start(wait=False)
            wait_for("DNS answers again", lambda: client.run("dig", "+tries=1", "+time=1", "+short", NAME, check=False).stdout.strip() == VIP, 10, 0.01)
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(1)
            if not with_source:
                shutil.move(node.path("away"), node.path("manifests"))
    opened, broken, silence = result(held)
    found.check(opened == 200 and broken == 0, f"{broken} of {opened} established flows broke (longest silence {silence} ms)")
    found.check(silence < 1000, f"an established flow was silent for {silence} ms")
    started, lost, p99, longest = result(new)
    found.check(started > 5000 and lost == 0, f"{lost} of {started} new connections were lost, p99 {p99} ms, longest {longest} ms")
    return slowest


@scenario("handover", "lost", "=0", seconds=120, why="ten hand-overs under load", at_once=1)
def handover(lab, found):
    """Ten hand-overs under 20,000 DNS queries/s and 2,000 new connections/s: nothing is lost, established flows go on."""
    node, client, servers = one_site(lab)
    echo_service(lab, node, servers)
    calm = Bystander(found, [node], client, servers[-1], serve=False).ready()
    wait_for("the load service answers", lambda: client.client("connect", LOAD_VIP, LOAD_PORT, 2)["result"] == "connected", 5)
    rate_dns, rate_tcp = int(os.environ.get("HANDOVER_DNS", 20000)), int(os.environ.get("HANDOVER_TCP", 2000))
    seconds = 40
    held = load(lab, client, "hold", LOAD_VIP, LOAD_PORT, 100, seconds)
    held.stdout.readline()
    dns = load(lab, client, "dns", SERVICE_IP, 53, NAME, rate_dns, seconds)
    tcp = load(lab, client, "connect", LOAD_VIP, LOAD_PORT, rate_tcp, seconds)
    pids, gap = [pid_of(node)], 0
    with calm.watch("ten hand-overs"):
        for i in range(10):
            time.sleep(1)
            t = time.monotonic()
            found.check(node.ctl_ok("handover"), f"hand-over {i} was refused")
            wait_for(f"the successor of hand-over {i} serves", lambda: successor(node, pids), 15, 0.02)
            gap = max(gap, time.monotonic() - t)
            follow(lab, node, pids[-1])
    sent, lost_dns, p99_dns, max_dns = result(dns, 90)
    started, lost_tcp, p99_tcp, max_tcp = result(tcp, 90)
    opened, broken, silence = result(held, 90)
    found.check(lost_dns == 0, f"DNS: {lost_dns:.0f} of {sent:.0f} lost, p99 {p99_dns} ms, longest {max_dns} ms")
    found.check(lost_tcp == 0, f"TCP: {lost_tcp:.0f} of {started:.0f} lost, p99 {p99_tcp} ms, longest {max_tcp} ms")
    found.check(broken == 0, f"{broken:.0f} of {opened:.0f} established flows broke, longest silence {silence} ms")
    found.check(sent >= 0.9 * rate_dns * seconds and started >= 0.9 * rate_tcp * seconds, f"the load was less than asked for: {sent:.0f} queries, {started:.0f} connections")
    wait_for("the old processes end", lambda: not any(alive(p) for p in pids[:-1]), 10)
    found.check(alive(pids[-1]) and answers(client, servers, VIP, n=3), "the last successor serves alone")
    lab.notes = f"p99 {p99_dns} ms DNS, {p99_tcp} ms TCP; slowest hand-over {gap:.2f} s"
    return lost_dns + lost_tcp + broken


def successor(node, pids):
    try:
        pid = pid_of(node)
    except (LabError, ValueError):
        return False
    if pid in pids:
        return False
    pids.append(pid)
    return True


def alive(pid):
    from lab import started_at
    return started_at(pid) is not None
