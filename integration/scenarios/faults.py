"""System calls that fail: each call of a start and of a reload in turn, one per run (strace injects the error). Disks that refuse."""
import collections
import os
import random
import signal
import subprocess
import sys
import time

from bystander import Bystander
from clock import Marked, metric
from fixtures import VIP, answers, deploy, one_site
from lab import LabError, wait_for
from node import issue_certificates, join
from ownership import kernel_state
from registry import scenario
from topology import lan2

# What each may fail with on a machine that is short of something, or configured by somebody else.
ERRORS = {"openat": ("EMFILE", "EACCES", "ENOSPC"), "socket": ("EMFILE", "ENOMEM"), "bind": ("EADDRINUSE",), "listen": ("EADDRINUSE",),
          "connect": ("ENOBUFS",), "setsockopt": ("ENOMEM",), "getsockopt": ("ENOBUFS",), "getsockname": ("ENOBUFS",), "ioctl": ("EPERM", "ENOMEM"),
          "sendto": ("ENOBUFS", "EPERM"), "sendmsg": ("ENOBUFS", "EPERM"), "recvfrom": ("ENOMEM",), "recvmsg": ("ENOBUFS",),
          "epoll_create1": ("EMFILE",), "epoll_ctl": ("ENOSPC",), "eventfd2": ("EMFILE",), "timerfd_create": ("EMFILE",), "pipe2": ("EMFILE",),
          "signalfd4": ("EMFILE",), "inotify_init1": ("EMFILE",), "inotify_add_watch": ("ENOSPC",), "read": ("EIO",), "write": ("ENOSPC",),
          "fsync": ("EIO",), "rename": ("ENOSPC",), "unlink": ("EROFS",), "mkdir": ("ENOSPC",), "fchmod": ("EPERM",), "chmod": ("EPERM",),
          "fchmodat": ("EPERM",), "mmap": ("ENOMEM",), "mprotect": ("ENOMEM",), "mremap": ("ENOMEM",),
          "brk": ("0",),  # not an error: a break that is lower than asked for says that there is no more
          "flock": ("ENOLCK",), "clone3": ("EAGAIN",), "getdents64": ("EIO",), "newfstatat": ("EACCES",), "fcntl": ("EMFILE",)}
BUDGET_S = 60  # all of them: FAULTS=all integration/accept syscall-faults
Case = collections.namedtuple("Case", "call number error")


def injected(case):
    """strace's arguments for a case."""
    return ["-e", f"trace={case.call}", "-e", f"inject={case.call}:{'retval' if case.error.isdigit() else 'error'}={case.error}:when={case.number}"]


def tracer(*more):
    return ["strace", "-D", "-f", "--quiet=all", *more]


def calls_of_a_start(lab, node):
    """How often a start makes each call -> {call: (first that is ours, last)}; what the loader does before main() is not ours."""
    trace = node.path("trace")
    node.wrapper = tracer("-o", trace, "-e", "trace=" + ",".join(ERRORS))
    node.start()
    node.stop()
    counts, ours = collections.Counter(), {}
    with open(trace, errors="replace") as f:
        lines = f.read().splitlines()
    main = lines[0].split()[0]
    begun = False
    for line in lines:
        pid, text = line.split(maxsplit=1)
        if pid != main:  # strace counts for each thread by itself
            continue
        begun = begun or "config.yaml" in text
        if "SIGTERM" in text:
            break
        call = text.split("(")[0]
        if call not in ERRORS:
            continue
        counts[call] += 1
        if begun:
            ours[call] = (ours.get(call, (counts[call],))[0], counts[call])
    return ours


def ordered(cases, rng):
    """One of every call and error first, then the others."""
    kinds = collections.defaultdict(list)
    for c in cases:
        kinds[c.call, c.error].append(c)
    for k in kinds.values():
        rng.shuffle(k)
    rest = [c for k in kinds.values() for c in k[1:]]
    rng.shuffle(rest)
    return [k[0] for k in kinds.values()] + rest


class Start:
    """One start with one call that fails: it ends with a line that says why and leaves nothing, or it serves."""

    def __init__(self, found, node, client, servers):
        self.found, self.node, self.client, self.servers = found, node, client, servers
        self.before = kernel_state(node)

    def run(self, case):
        node, what = self.node, f"{case.call} number {case.number} fails with {case.error}"
        at = os.path.getsize(node.lab.log(f"{node.ns}.log"))
        node.wrapper = tracer("-o", "/dev/null", *injected(case))
        node.start(wait=False)
        deadline = time.monotonic() + 10
        serves = False
        while not serves and node.daemon.poll() is None and time.monotonic() < deadline:
            serves = node.ctl_ok("status")
        if node.daemon.poll() is None:
            self.found.check(serves, f"{what}: neither ends nor serves")
            if serves:
                self.serving(what)
            try:
                status = node.stop()
            except LabError as e:
                raise LabError(f"{what}: {e}") from None
            self.found.check(status == 0, f"{what}: exit status {status} after SIGTERM")
        else:
            status, node.daemon = node.daemon.returncode, None
            self.ended(what, status, at)
        self.clean(what)

    def serving(self, what):
        try:
            wait_for("calls", lambda: answers(self.client, self.servers, VIP), 4)
        except LabError:
            self.found.append(f"{what}: serves no calls: {self.node.last_log(3)}")

    def ended(self, what, status, at):
        with open(self.node.lab.log(f"{self.node.ns}.log"), errors="replace") as f:
            f.seek(at)
            lines = [line for line in f.read().splitlines() if line.strip()]
        self.found.check(0 < status < 126, f"{what}: exit status {status}: {lines[-2:]}")
        last = lines[-1] if lines else ""
        self.found.check(last.startswith("edgemeshd: ") and ": " in last[11:], f"{what}: its last line is {last!r}")

    def clean(self, what):
        after = kernel_state(self.node)
        for k, v in self.before.items():
            self.found.same(after[k], v, f"{what}: {k} afterwards")


def reload(found, node, client, servers, case):
    """A call fails in a reload: the daemon goes on, with the new or the old configuration."""
    what = f"reload, {case.call} number {case.number} fails with {case.error}"
    tr = node.lab.spawn(["strace", "-f", "--quiet=all", "-o", "/dev/null", *injected(case), "-p", str(node.daemon.pid)], stderr=subprocess.DEVNULL)
    wait_for("strace to attach", lambda: "TracerPid:\t0" not in open(f"/proc/{node.daemon.pid}/status").read(), 5, 0.02)
    node.daemon.send_signal(signal.SIGHUP)
    time.sleep(0.25)
    tr.send_signal(signal.SIGTERM)
    tr.wait()
    if not found.check(node.alive(), f"{what}: the daemon is gone: {node.last_log(2)}"):
        node.start()
        return
    found.check(answers(client, servers, VIP), f"{what}: no calls: {node.last_log(2)}")


@scenario("syscall-faults", "failures", "=0", seconds=230, why="one start for each failing call; FAULTS=all tries every one and takes many minutes")
def syscall_faults(lab, found):
    """Each system call of start and reload fails once: no crash, nothing left in the kernel, a line that says why, or service goes on."""
    node, client, servers = one_site(lab, pods=2)
    issue_certificates([node])
    node.stop()
    faults = os.environ.get("FAULTS", "")  # all, or CALL:NUMBER:ERROR,... to try those again
    every = faults == "all"
    seed = int(os.environ.get("FAULTS_SEED", random.randrange(1 << 30)))
    calls = calls_of_a_start(lab, node)
    only = [Case(c, int(n), e) for c, n, e in (x.split(":") for x in faults.split(",") if ":" in x)]
    cases = only or ordered([Case(c, n, e) for c, (first, last) in calls.items() for n in range(first, last + 1) for e in ERRORS[c]], random.Random(seed))
    start, done, until = Start(found, node, client, servers), 0, time.monotonic() + BUDGET_S
    if every:
        signal.alarm(0)
    for case in cases:
        if not every and time.monotonic() > until:
            break
        told = len(found)
        start.run(case)
        done += 1
        for line in found[told:] if faults else ():
            print("     " + line[:400], file=sys.stderr, flush=True)
    node.wrapper = []
    node.start()
    wait_for("calls", lambda: answers(client, servers, VIP), 5)
    of_reload = [Case(c, n, ERRORS[c][0]) for c in ("openat", "read", "socket", "sendto", "epoll_ctl", "newfstatat") for n in (1, 2, 3, 4)]
    for case in of_reload if every else random.Random(seed).sample(of_reload, 12):
        reload(found, node, client, servers, case)
    wait_for("a reload afterwards", lambda: node.ctl_ok("reload"), 5)  # not by its log line, of which there were many just now
    print(f"     {done} of {len(cases)} calls failed in turn (FAULTS_SEED={seed}), {len(of_reload) if every else 12} in reloads", file=sys.stderr, flush=True)


# ---- the disk

SMALL = 'mount -t tmpfs -o size=64k state "$0" && exec "$@"'


def inside(node, *argv):
    """Runs in the daemon's own mount namespace, where its data directory is the small disk."""
    return node.lab.call(["nsenter", "-m", "-t", str(node.daemon.pid), *argv])


def fill(node):
    """Not a byte is free."""
    data = node.path("data")
    inside(node, "sh", "-c", f"head -c 1000000 /dev/zero > {data}/filler 2>/dev/null; true")


@scenario("disk-full", "failures", "=0", seconds=150, why="full, then read-only, each under load and until it is over")
def disk_full(lab, found):
    """The data directory full, then read-only: service goes on, one alarm, one log line; over as soon as the disk is."""
    a, b = lan2(lab, pods_a=3, pods_b=1)
    join([a, b])
    client, calm_client, calm_pod = a.pods.values()
    servers = [b.pods["b0"].serve()]
    deploy([a, b], servers)
    calm = Bystander(found, [a, b], calm_client, calm_pod)
    os.makedirs(a.path("data"))
    a.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", SMALL, a.path("data")]
    a.start(), b.start()
    wait_for("A calls B", lambda: answers(client, servers, VIP, n=3), 15)
    calm.ready()
    snapshot = lambda: inside(a, "sh", "-c", f"cat {a.path('data')}/objects.snapshot | sha256sum")
    wait_for("the snapshot is written", lambda: "objects.snapshot" in inside(a, "ls", a.path("data")), 10)

    def service(i):
        deploy([a, b], servers, f"svc-{i}", ips=[f"10.96.2.{i}"])
        wait_for(f"service {i} that came meanwhile", lambda: answers(client, servers, f"10.96.2.{i}"), 5)

    for i, (what, begin, end) in enumerate((("disk full", lambda: fill(a), lambda: inside(a, "rm", f"{a.path('data')}/filler")),
                                            ("read-only", lambda: inside(a, "mount", "-o", "remount,ro", a.path("data")),
                                             lambda: inside(a, "mount", "-o", "remount,rw", a.path("data"))))):
        before, mark = snapshot(), Marked(a)
        with calm.watch(what):
            begin()
            service(10 * i + 1)
            wait_for(f"{what}: the alarm", lambda: (metric(a, "edgemeshd_state_write_failed") or 0) >= 1, 10)
            service(10 * i + 2)
            time.sleep(6)  # a second try
            found.same(snapshot(), before, f"{what}: the snapshot on disk")
            problems = [p for p in a.ctl("status")["problems"] if "kept on disk" in p or "keeps on disk" in p]
            found.same(len(problems), 1, f"{what}: lines in status")
            lines = mark.lines(" error ") + mark.lines(" warn ")
            found.check(len(lines) == 1 and "data/" in lines[0], f"{what}: one line that names the file: {lines}")
            found.check(answers(client, servers, VIP, n=20), f"{what}: calls")
            end()
            wait_for(f"{what}: over", lambda: metric(a, "edgemeshd_state_write_failed") == 0, 20)
        found.check(snapshot() != before, f"{what}: the snapshot was not written afterwards")
        found.same(len(mark.lines("up to date again")), 1, f"{what}: lines that it is over")
    fill(a)
    a.stop(signal.SIGKILL)
    a.start()
    wait_for("calls after a restart on an empty disk", lambda: answers(client, servers, VIP, n=3), 15)


@scenario("slow-disk", "seconds", "<=4")
def slow_disk(lab, found):
    """Each flush of the disk takes three seconds when the daemon is told to stop: its rules are gone at once, then it writes what was pending. Figure: until they are gone."""
    node, client, servers = one_site(lab)
    pid = node.daemon.pid
    lab.start(node.ns, ["strace", "-f", "--quiet=all", "-p", str(pid), "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=3000000"])

    def is_traced():
        with open(f"/proc/{pid}/status") as f:
            return "TracerPid:\t0\n" not in f.read()

    wait_for("the disk is slow", is_traced, 10)
    deploy([node], servers, "late-one", ips=["10.96.0.40"])
    wait_for("the service that came last answers", lambda: answers(client, servers, "10.96.0.40"), 10)
    t = time.monotonic()
    node.daemon.send_signal(signal.SIGTERM)
    wait_for("our table is gone", lambda: "edgemesh" not in node.run("nft", "list", "tables").stdout, 30)
    took = time.monotonic() - t
    found.check(node.alive(), "the daemon ended before its disk did: the test is void")
    found.same(node.daemon.wait(60), 0, "exit status")
    node.daemon = None
    with open(os.path.join(node.path("data"), "objects.snapshot"), "rb") as f:
        found.check(b"late-one" in f.read(), "the service that came last is not in the snapshot")
    return took
