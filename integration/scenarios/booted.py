"""The unit under a systemd that really booted: pid 1 of namespaces of its own, over a copy-on-write view of this machine."""
import os
import shutil
import signal
import subprocess
import sys
import time

import manifests
import world
from bystander import Neighbour
from install import machines
from lab import LabError, wait_for
from registry import scenario

VIP, NAME = "10.96.0.10", "hello.default.svc.cluster.local"
SYSTEMD = "/lib/systemd/systemd"
RESTARTED = 5.0  # seconds from a death to the next call

# $0 a folder; in it, root: this machine's disk, copied on write.
COPY_ON_WRITE = r'''set -e
root=$0/root
mkdir -p "$root" "$0/disk"
mount -t tmpfs tmpfs "$0/disk"
mkdir "$0/disk/upper" "$0/disk/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/disk/upper,workdir=$0/disk/work" "$root"
'''

# $0 the machine's folder, $1 its name. Becomes pid 1.
BOOT = COPY_ON_WRITE + r'''mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for d in run tmp dev; do mount -t tmpfs tmpfs "$root/$d"; done
mkdir -p "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
for d in null zero full random urandom tty net/tun; do : > "$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
rm -rf "$root"/etc/edgemeshd "$root"/var/lib/edgemeshd "$root"/usr/local/lib/systemd/system/edgemeshd.service
cp -a "$0/installed/." "$root"
rm -f "$root"/etc/machine-id; systemd-id128 new > "$root/etc/machine-id"
hostname "$1"
cd "$root"
pivot_root . mnt
umount -l /mnt
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=lab /lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
'''


class Booted:
    def __init__(self, lab, ns, name, objects):
        self.lab, self.ns = lab, ns
        self.dir = os.path.join(lab.dir, f"booted-{name}")
        installed = os.path.join(self.dir, "installed")
        os.makedirs(installed)
        lab.call(["cmake", "--install", lab.build, "--prefix", "/usr/local"], env={**os.environ, "DESTDIR": installed})
        manifests.write(os.path.join(installed, "etc/edgemeshd/objects/hello.yaml"), *objects)
        outer = lab.start(ns, ["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "--propagation", "private",
                               "sh", "-c", BOOT, self.dir, name], log=f"{ns}.boot")
        self.pid = wait_for("systemd is pid 1", lambda: child_named(outer.pid, "systemd"), 15)
        lab.nodes[ns] = self
        self.name = name
        wait_for("the system is up", lambda: self.run("systemctl is-active basic.target", check=False).strip() == "active", 30, 0.2)

    def run(self, command, check=True, timeout=40):
        """The command line at this machine's shell; -> what it printed, both streams."""
        r = subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "sh", "-c", command], text=True, errors="replace",
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        if check and r.returncode:
            raise LabError(f"{self.name}$ {command}\n{r.stdout.strip()[-800:]}\nexit status {r.returncode}")
        return r.stdout

    def show(self, *names):
        return dict(line.split("=", 1) for line in self.run(f"systemctl show edgemeshd -p {','.join(names)}").splitlines())

    def main_pid(self):
        return int(self.show("MainPID")["MainPID"])

    def tells(self, word):
        """The journal takes lines in after the program that wrote them has gone on, or ended."""
        wait_for(f"the journal of edgemeshd names {word}", lambda: word in self.last_log(100).lower(), 10, 0.2)

    def last_log(self, lines=15):
        return self.run(f"journalctl -u edgemeshd -n {lines} --no-pager -o cat", check=False).rstrip()


def child_named(pid, name):
    """The process of this name below pid, seen from here."""
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/stat") as f:
                stat = f.read()
        except OSError:
            continue
        if f"({name})" in stat and descends(int(p), pid):
            return int(p)
    return None


def descends(pid, ancestor):
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            with open(f"/proc/{pid}/stat") as f:
                pid = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            return False
    return False


def objects():
    ports = [manifests.port(80, 8080, "http")]
    ends = manifests.endpoints("hello", [("192.168.1.1", "", "far")], ports)
    for e in ends["endpoints"]:
        e.pop("nodeName", None)
    return [manifests.namespace("default"), manifests.service("hello", [VIP], ports), ends]


def say(text):
    print("     " + text, file=sys.stderr, flush=True)


def answered(m):
    return m.run(f"curl -sS --max-time 1 http://{VIP}/", check=False).strip() == "far"


def served(m, found, what, within=RESTARTED):
    began = time.monotonic()
    wait_for(f"{what}: a call is answered", lambda: answered(m), 20, 0.05)
    found.check(time.monotonic() - began <= within, f"{what}: the first answer after {time.monotonic() - began:.1f} s")
    got = m.run(f"dig +short +time=2 +tries=2 @169.254.96.16 {NAME}", check=False).split()
    found.same(got, [VIP], f"{what}: the name")


def replaced(m, found, what, before):
    pid = wait_for(f"{what}: another main process", lambda: m.show("ActiveState")["ActiveState"] == "active" and m.main_pid() not in (0, before) and m.main_pid(), 40, 0.1)
    served(m, found, what)
    return pid


def hardening(m, found, pid):
    status = dict(line.split(":\t", 1) for line in m.run(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    found.same(int(status["CapBnd"], 16), 1 << 10 | 1 << 12 | 1 << 13, "capabilities")
    found.same((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"), "NoNewPrivs, Seccomp")
    inside = lambda command: m.run(f"nsenter -t {pid} -m sh -c '{command}' 2>&1", check=False)
    for path in ("/usr/x", "/etc/x", "/opt/x", "/sys/fs/cgroup/x"):
        found.check("Read-only file system" in inside(f"touch {path}"), f"{path} may be written: {inside(f'touch {path}')}")
    found.same(inside("touch /var/lib/edgemeshd/x && rm /var/lib/edgemeshd/x"), "", "its own state may be written")
    found.same(m.run("stat -c %a /var/lib/edgemeshd /run/edgemeshd").split(), ["700", "750"], "modes of its folders")
    exposure = float(m.run("systemd-analyze security --no-pager edgemeshd | tail -1").split("edgemeshd.service:")[1].split()[0])
    found.check(exposure <= 3, f"systemd-analyze security: {exposure}")
    return exposure


@scenario("systemd-unit", "failures", "=0", seconds=180, why="boots a system; a watchdog runs out")
def systemd_unit(lab, found):
    """The installed unit under a booted systemd: ready when it serves, hardened, reloaded, handed over, killed, hung, stopped, refused."""
    if world.rootless() or not os.path.exists(SYSTEMD) or not shutil.which("systemd-analyze"):
        return say("not judged: it needs root and systemd")
    machines(lab, "machine-a")
    Neighbour(lab, found, "A", "gw", "192.168.1.1")
    m = Booted(lab, "A", "machine-a", objects())
    found.same(m.run("systemd-analyze verify --man=no edgemeshd.service").strip(), "", "systemd-analyze verify")

    m.run("systemctl start edgemeshd")
    found.same(m.run(f"dig +short +time=1 +tries=1 @169.254.96.16 {NAME}", check=False).split(), [VIP], "the name, as soon as systemctl start returned")
    served(m, found, "started")
    pid = m.main_pid()
    exposure = hardening(m, found, pid)

    m.run("systemctl reload edgemeshd")
    m.tells("taken over")
    found.same(m.main_pid(), pid, "main process after a reload")
    m.run("edgemeshctl handover")
    pid = replaced(m, found, "handed over", pid)
    m.run(f"kill -9 {pid}")
    pid = replaced(m, found, "killed", pid)
    m.run("systemctl restart edgemeshd")
    pid = replaced(m, found, "restarted", pid)

    m.run("mkdir -p /run/systemd/system/edgemeshd.service.d && printf '[Service]\\nWatchdogSec=3\\n' > /run/systemd/system/edgemeshd.service.d/watchdog.conf"
          " && systemctl daemon-reload && systemctl restart edgemeshd")
    pid = m.main_pid()
    time.sleep(5)
    found.same(m.main_pid(), pid, "main process after the watchdog's time")
    m.run(f"kill -{int(signal.SIGSTOP)} {pid}")
    replaced(m, found, "hung", pid)
    m.tells("watchdog")

    m.run("systemctl stop edgemeshd")
    found.same(m.show("ActiveState", "Result"), {"ActiveState": "inactive", "Result": "success"}, "after a stop")
    found.check("edgemesh" not in m.run("nft list tables; ip link", check=False), "after a stop something is left in the kernel")
    m.run("echo 'admim: {}' >> /etc/edgemeshd/config.yaml")
    m.run("systemctl start edgemeshd", check=False)
    m.tells("admim")
    found.check(not m.run("systemctl is-active edgemeshd", check=False).startswith("active"), "a bad configuration starts")
    say(f"systemd-analyze security: {exposure}")
