"""The container image's recipe, step by step without a registry: this machine, seen copy-on-write, stands for its base."""
import json
import os
import re
import signal
import subprocess

import manifests
import world
from booted import COPY_ON_WRITE, VIP, child_named, objects, say
from install import machines
from bystander import Neighbour
from lab import ROOT, wait_for
from registry import scenario

RECIPE = os.path.join(ROOT, "deploy", "container", "Containerfile")

# $0 the image's folder, the rest the ENTRYPOINT and CMD. As a runtime does it: read-only root, a volume for the state, three capabilities, pid 1.
RUN = COPY_ON_WRITE + r'''rm -rf "$root/etc/edgemeshd" "$root/var/lib/edgemeshd" "$root/usr/bin/edgemeshd" "$root/run/systemd"
cp "$0/edgemeshd.deb" "$root/edgemeshd.deb"
mount -t proc proc "$root/proc"
for d in run dev; do mount -t tmpfs tmpfs "$root/$d"; done
mkdir -p "$root/dev/net"
for d in null urandom net/tun; do : > "$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done
chroot "$root" dpkg -i /edgemeshd.deb
cp "$0/hello.yaml" "$root/etc/edgemeshd/objects/"
mkdir -p "$root/var/lib/edgemeshd"
mount -o remount,ro "$root"
mount -t tmpfs tmpfs "$root/var/lib/edgemeshd"
exec chroot "$root" setpriv --no-new-privs --bounding-set=-all,+net_admin,+net_raw,+net_bind_service --inh-caps=-all "$@"
'''


def last_of(recipe, word):
    """The JSON form of an instruction, as the last stage has it."""
    return json.loads(re.findall(rf"^{word} (\[.*\])$", recipe, re.M)[-1])


@scenario("container-image", "failures", "=0", seconds=120, why="packs and installs")
def container_image(lab, found):
    """The recipe's package, entry point, command and stop signal on a read-only root with three capabilities: a call is answered, it ends in order."""
    if world.rootless():
        return say("not judged: it needs root")
    machines(lab, "machine-a")
    Neighbour(lab, found, "A", "gw", "192.168.1.1")
    with open(RECIPE) as f:
        recipe = f.read()
    image = os.path.join(lab.dir, "image")
    os.makedirs(image)
    deb = lab.call([os.path.join(ROOT, "deploy/debian/build.sh"), lab.build, image]).split()[-1]
    os.rename(deb, os.path.join(image, "edgemeshd.deb"))
    manifests.write(os.path.join(image, "hello.yaml"), *objects())
    outer = lab.start("A", ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", RUN, image,
                            *last_of(recipe, "ENTRYPOINT"), *last_of(recipe, "CMD")], log="image.log")
    call = lambda: lab.run("A", ["curl", "-sS", "--max-time", "1", f"http://{VIP}/"], check=False).stdout.strip() == "far"
    try:
        wait_for("a call is answered", call, 30, 0.1)
    finally:
        with open(lab.log("image.log"), errors="replace") as f:
            log = f.read().strip()
        found.check(" is up: " in log, f"it did not start: {log[-400:]}")
    pid = child_named(outer.pid, "edgemeshd")
    os.kill(pid, getattr(signal, re.search(r"^STOPSIGNAL (\w+)$", recipe, re.M)[1]))
    try:
        found.same(outer.wait(20), 0, "exit status after the stop signal")
    except subprocess.TimeoutExpired:
        found.append("it does not end within 20 s of the stop signal")
    found.check("edgemesh" not in lab.run("A", ["nft", "list", "tables"]).stdout, "rules are left")
