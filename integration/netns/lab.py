"""A laboratory of network namespaces: namespaces and cables under a prefix of their own, programs started in them, everything noted
in a state file so that the next lab clears away what a crashed one left. Topologies are in topology.py, nodes in node.py."""
import glob
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import world

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = threading.Lock()


class LabError(Exception):
    pass


def started_at(pid):
    """Start time of a process in clock ticks, or None: pids come again."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return None if fields[0] == "Z" else int(fields[19])
    except OSError:
        return None


def state_home():
    uid = os.environ.setdefault("EDGEMESH_LAB_UID", str(os.getuid()))
    path = os.path.join(tempfile.gettempdir(), f"edgemesh-lab-{uid}")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def remove_lab(path):
    """Kills what the lab of this folder started, and removes its namespaces and the folder."""
    try:
        with open(os.path.join(path, "state.json")) as f:
            state = json.load(f)
    except (OSError, ValueError):
        state = {"pids": [], "id": None}
    alive = [p for p, at in state["pids"] if started_at(p) == at]
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for p in alive:
            try:
                os.kill(p, sig)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + (2 if sig == signal.SIGTERM else 1)
        while time.monotonic() < deadline and any(started_at(p) is not None for p in alive):
            time.sleep(0.02)
        alive = [p for p in alive if started_at(p) is not None]
    if state["id"] and os.path.isdir("/run/netns"):
        for ns in os.listdir("/run/netns"):
            if ns.startswith(state["id"] + "-"):
                subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL)
    shutil.rmtree(path, ignore_errors=True)


def reap(name, kept=False):
    """Clears labs of this name whose owner is gone; those somebody keeps only when kept is true."""
    for entry in os.listdir(state_home()):
        path = os.path.join(state_home(), entry)
        if not entry.startswith(name + "."):
            continue
        try:
            with open(os.path.join(path, "state.json")) as f:
                state = json.load(f)
        except (OSError, ValueError):
            state = {"owner": (0, 0), "keep": False}
        if started_at(state["owner"][0]) != state["owner"][1] or state["owner"][0] == 0:
            if not state["keep"] or kept:
                remove_lab(path)


class Lab:
    """with Lab("demo") as lab: ...; leaving clears it away, also after Ctrl-C and SIGTERM. One per process."""

    def __init__(self, name, build="build/release", keep=False):
        world.enter()
        reap(name, kept=True)
        self.id = "em" + secrets.token_hex(2)
        self.keep = keep
        self.build = build if os.path.isabs(build) else os.path.join(ROOT, build)
        self.dir = os.path.join(state_home(), f"{name}.{self.id}")
        os.makedirs(os.path.join(self.dir, "logs"))
        self.pids, self.legs, self.nodes = [], 10, {}
        self.save()

    def __enter__(self):
        for s in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, lambda *_: sys.exit(143))
        return self

    def __exit__(self, error, *_):
        if self.keep and error is None:
            self.save()
        else:
            self.close()

    def close(self):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # an impatient second Ctrl-C must not leave half of it behind
            signal.signal(s, signal.SIG_IGN)
        remove_lab(self.dir)
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.default_int_handler if s == signal.SIGINT else signal.SIG_DFL)

    def save(self):
        state = {"id": self.id, "keep": self.keep, "owner": (os.getpid(), started_at(os.getpid())), "pids": self.pids}
        path = os.path.join(self.dir, "state.json")
        with open(path + ".tmp", "w") as f:
            json.dump(state, f)
        os.rename(path + ".tmp", path)

    # ---- namespaces and cables
    def full(self, ns):
        return f"{self.id}-{ns}"

    def etc(self, ns):
        return os.path.join(self.dir, "etc", ns)

    def ip(self, ns, *commands):
        """Lines for `ip -batch` in ns."""
        self.call(["ip", "-n", self.full(ns), "-batch", "-"], input="\n".join(commands) + "\n")

    def ns(self, name, forwarding=False):
        self.call(["ip", "netns", "add", self.full(name)])
        self.ip(name, "link set lo up")
        self.sysctl(name, {"ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0,
                           **({"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1} if forwarding else {})})
        return name

    def sysctl(self, ns, values, missing_ok=False):
        script = "".join(f"echo {v} > /proc/sys/net/{k} {'2>/dev/null' if missing_ok else ''}\n" for k, v in values.items())
        self.run(ns, ["sh", "-c", script], check=not missing_ok)

    def cable(self, a, if_a, b, if_b, **impair):
        """Between (ns a, if_a) and (ns b, if_b). With delay, jitter (ms), loss (%), rate (Mbit/s) it is the user-space wire: not every
        kernel has netem."""
        if any(impair.get(k) for k in ("delay", "jitter", "loss", "rate")):
            wire = self.tool("wire", os.path.join(HERE, "wire.cc"), "-pthread")
            knobs = [str(impair.get(k, d)) for k, d in (("delay", 0), ("jitter", 0), ("loss", 0), ("rate", 0), ("queue", 1000), ("seed", 1))]
            p = self.spawn([wire, self.full(a), if_a, self.full(b), if_b, *knobs], stdout=subprocess.PIPE, text=True)
            if p.stdout.readline().strip() != "ready":
                raise LabError("the wire between two namespaces did not come up")
        else:
            self.call(["ip", "link", "add", if_a, "netns", self.full(a), "type", "veth", "peer", "name", if_b, "netns", self.full(b)])
        for ns, dev in ((a, if_a), (b, if_b)):
            self.ip(ns, f"link set {dev} up")

    def nft(self, ns, rules):
        self.run(ns, ["nft", "-f", "-"], input=rules)

    def bytes(self, ns, dev):
        """(received, sent) by the interface's own counters."""
        out = json.loads(self.call(["ip", "-n", self.full(ns), "-j", "-s", "link", "show", "dev", dev]))
        return out[0]["stats64"]["rx"]["bytes"], out[0]["stats64"]["tx"]["bytes"]

    # ---- programs
    @staticmethod
    def call(argv, **kw):
        r = subprocess.run(argv, capture_output=True, text=True, **kw)
        if r.returncode:
            raise LabError(f"{' '.join(argv)}: {r.stderr.strip()}")
        return r.stdout

    def inside(self, ns, argv):
        """argv as it is run in the namespace, with the namespace's own /etc files."""
        return [self.tool("enter", os.path.join(HERE, "enter.cc")), self.full(ns), self.etc(ns), *argv]

    def run(self, ns, argv, check=True, timeout=60, **kw):
        try:
            r = subprocess.run(self.inside(ns, argv), capture_output=True, text=True, errors="replace", timeout=timeout, **kw)
        except subprocess.TimeoutExpired:
            if check:
                raise LabError(f"in {ns}: {' '.join(argv)}: not done after {timeout} s") from None
            return subprocess.CompletedProcess(argv, 124, "", f"not done after {timeout} s")
        if check and r.returncode:
            raise LabError(f"in {ns}: {' '.join(argv)}: {(r.stderr or r.stdout).strip()[-500:]}")
        return r

    def spawn(self, argv, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        p = subprocess.Popen(argv, start_new_session=True, **kw)
        self.pids.append((p.pid, started_at(p.pid)))
        self.save()
        return p

    def start(self, ns, argv, log=None, **kw):
        """A program that stays; its output goes to logs/<log> of the lab's folder."""
        if log:
            out = open(self.log(log), "ab")
            kw.update(stdout=out, stderr=subprocess.STDOUT)
        return self.spawn(self.inside(ns, argv), **kw)

    def log(self, name):
        return os.path.join(self.dir, "logs", name)

    def tool(self, name, source, *flags):
        """A small C++ program of the lab, compiled on first use and when it or a header beside it changed."""
        out = os.path.join(ROOT, "build", "lab", name)
        read = [source, *glob.glob(os.path.join(glob.escape(os.path.dirname(source)), "*.h"))]
        with TOOLS:  # other processes make it as well at times, each under a name of its own
            if not os.path.exists(out) or os.path.getmtime(out) < max(map(os.path.getmtime, read)):
                os.makedirs(os.path.dirname(out), exist_ok=True)
                self.call(["clang++-19", "-O2", "-std=c++20", "-w", source, "-o", f"{out}.{os.getpid()}", *flags])
                os.rename(f"{out}.{os.getpid()}", out)
        return out

    def calls(self):
        return self.tool("pod_calls", os.path.join(HERE, "pod_calls.cc"), "-pthread")


def wait_for(what, condition, seconds=10, every=0.05):
    """condition() until it is true; its value. LabError names what never came."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(every)
