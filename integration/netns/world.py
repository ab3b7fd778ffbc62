"""Where labs run: as root in the machine's own namespaces (every link is made inside namespaces of the lab), otherwise as root of a
user namespace of our own. enter() re-executes the running program there; it returns only in a place where labs work."""
import os
import subprocess
import sys

INSIDE = "EDGEMESH_LAB_WORLD"
USERNS_MEND = ("this user may not make network namespaces: run it as root, or allow user namespaces once with "
               "`sudo sysctl -w kernel.unprivileged_userns_clone=1` (Debian) or `kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu)")


def rootless():
    return os.environ.get(INSIDE) == "user"


def works(*argv):
    return subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def check_tun():
    if not os.path.exists("/dev/net/tun"):
        sys.exit("/dev/net/tun is missing: sudo modprobe tun, or mknod /dev/net/tun c 10 200 where the kernel has it built in")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        sys.exit("/dev/net/tun may not be opened by this user: run it as root, or sudo chmod 666 /dev/net/tun (Debian's default)")


def enter():
    if INSIDE in os.environ:
        if rootless() and os.environ.get(INSIDE + "_READY") != "1":
            make_place()
        return
    check_tun()
    if os.geteuid() == 0 and works("unshare", "-n", "true"):
        os.environ[INSIDE] = "root"
        return
    if not works("unshare", "-rUn", "--mount", "true"):
        sys.exit(USERNS_MEND)
    os.environ[INSIDE], os.environ["EDGEMESH_LAB_UID"] = "user", str(os.getuid())
    os.execvp("unshare", ["unshare", "-rUn", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def make_place():
    """`ip netns` needs a /run to write to; what /etc/resolv.conf points at must stay a file, so that pods can have their own."""
    target = os.path.realpath("/etc/resolv.conf")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.makedirs("/run/netns")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if target.startswith("/run/"):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    os.environ[INSIDE + "_READY"] = "1"
