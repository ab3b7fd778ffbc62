"""System calls that fail in the daemon's other threads: the workers of the tunnel, and the one that writes the snapshot."""
import os
import signal
import subprocess
import sys
import time

from bystander import Bystander
from clock import metric
from fixtures import VIP, answers, deploy
from lab import wait_for
from node import join
from registry import scenario
from topology import lan2

# strace counts from when it is there: the first of these calls, and a run of them.
ERRORS = {"recvmmsg": ("ENOBUFS", "ENOMEM"), "recvmsg": ("ENOBUFS", "ENOMEM"), "sendmmsg": ("ENOBUFS", "EPERM", "ENOMEM"), "sendmsg": ("ENOBUFS", "EPERM", "ENOMEM"),
          "sendto": ("ENOBUFS", "EPERM"), "read": ("EIO", "ENOMEM"), "readv": ("EIO",), "write": ("EIO", "ENOSPC"), "writev": ("EIO", "ENOBUFS"), "epoll_wait": ("EINTR",),
          "epoll_pwait": ("EINTR",), "epoll_pwait2": ("EINTR",), "ioctl": ("ENOMEM",), "futex": ("EINTR",), "mmap": ("ENOMEM",), "openat": ("EMFILE",), "fsync": ("EIO",), "rename": ("ENOSPC",)}
WHEN = ("1", "1..20")


def threads(pid):
    """{id: name} of all but the main one"""
    out = {}
    for t in os.listdir(f"/proc/{pid}/task"):
        if int(t) != pid:
            with open(f"/proc/{pid}/task/{t}/comm") as f:
                out[int(t)] = f.read().strip()
    return out


def strace(lab, tid, *args):
    tr = lab.spawn(["strace", "--quiet=all", "-p", str(tid), *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("strace to attach", lambda: f"TracerPid:\t{tr.pid}\n" in open(f"/proc/{tid}/status").read(), 5, 0.01)
    return tr


def detach(tr):
    tr.send_signal(signal.SIGTERM)
    tr.wait()


def snapshot_writer(lab, found, node, others, pods, client):
    """It lives for as long as it writes: strace follows it from the main thread. What fails is told, and done again."""
    path = node.path("data/objects.snapshot")
    for i, (call, error) in enumerate((("fsync", "EIO"), ("rename", "ENOSPC"))):
        what, vip = f"snapshot: {call} fails with {error}", f"10.96.4.{i + 1}"
        tr = lab.spawn(["strace", "-f", "--quiet=all", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}", "-p", str(node.daemon.pid)],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("strace to attach", lambda: f"TracerPid:\t{tr.pid}\n" in open(f"/proc/{node.daemon.pid}/status").read(), 5, 0.02)
        before = os.stat(path).st_mtime_ns
        deploy([node, *others], pods, f"more-{i}", ips=[vip])
        wait_for(f"{what}: the alarm", lambda: (metric(node, "edgemeshd_state_write_failed") or 0) >= 1, 20, 0.2)
        found.same(os.stat(path).st_mtime_ns, before, f"{what}: the snapshot is touched")
        wait_for(f"{what}: calls to what came meanwhile", lambda: answers(client, pods, vip, n=3), 10)
        detach(tr)
        wait_for(f"{what}: over", lambda: metric(node, "edgemeshd_state_write_failed") == 0, 30, 0.2)
        found.check(os.stat(path).st_mtime_ns > before, f"{what}: it was not written afterwards")


@scenario("thread-faults", "failures", "=0", seconds=240, why="one try for each call of each thread")
def thread_faults(lab, found):
    """Each system call of the tunnel's workers and of the snapshot's writer fails, once and many times: no crash, calls go on afterwards."""
    a, b = lan2(lab, pods_a=3, pods_b=2)
    join([a, b])
    for n in (a, b):
        n.network = ""  # only the tunnel leads to the other's pods
    client, calm_client, calm_pod = a.pods.values()
    servers = [p.serve() for p in b.pods.values()]
    deploy([a, b], servers)
    calm = Bystander(found, [a, b], calm_client, calm_pod)
    a.start(), b.start()
    wait_for("A calls B", lambda: answers(client, servers, VIP, n=6), 15)
    calm.ready()
    tried, seen = 0, {}
    for tid, name in threads(a.daemon.pid).items():
        trace = a.path(f"trace.{tid}")
        tr = strace(lab, tid, "-o", trace)
        client.client("http", VIP, 80, 10), client.client("udp", VIP, 9000, 4, 8192)
        time.sleep(0.3)
        detach(tr)
        with open(trace, errors="replace") as f:
            seen[tid] = sorted({line.split("(")[0] for line in f if "(" in line} & ERRORS.keys())
        print(f"     thread {name}: {', '.join(seen[tid]) or 'idle'}", file=sys.stderr, flush=True)
    found.check(any(seen.values()), "no thread but the main one makes any call: the test is void")
    with calm.watch("threads' calls fail"):
        for tid, calls in seen.items():
            for call, error, when in ((c, e, w) for c in calls for e in ERRORS[c] for w in WHEN):
                what = f"{call} number {when} fails with {error}"
                tr = strace(lab, tid, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
                load = client.start_client("steady", VIP, 80, 0.4, 20)
                load.communicate(timeout=30)
                detach(tr)
                tried += 1
                if not found.check(a.alive(), f"{what}: the daemon is gone: {a.last_log(2)}"):
                    return
                found.check(answers(client, servers, VIP, n=3), f"{what}: no calls afterwards: {a.last_log(2)}")
        wait_for("the first snapshot", lambda: os.path.exists(a.path("data/objects.snapshot")), 15)
        snapshot_writer(lab, found, a, [b], servers, client)
    print(f"     {tried} failures in {len(seen)} threads", file=sys.stderr, flush=True)
