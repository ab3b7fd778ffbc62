"""What a newcomer does: the guide's own commands on two bare machines, and EdgeMesh's files put in place of ours."""
import json
import os
import re
import shutil
import time

import manifests
from bystander import Neighbour
from lab import ROOT, wait_for
from machine import Machine
from registry import scenario
from topology import host, internet, nat_box

GUIDE = os.path.join(ROOT, "docs", "guide", "two-nodes.md")
COMMANDS_MAX = 10


def machines(lab, *names):
    internet(lab)
    nat_box(lab, "gw")
    out = []
    for i, name in enumerate(names):
        ns = chr(ord("A") + i)
        host(lab, ns, "gw", f"192.168.1.{10 + i}/24", "192.168.1.1", forwarding=True)
        out.append(Machine(lab, ns, name, f"192.168.1.{10 + i}"))
    return out


def install(m):
    return m.run("make install", cwd=ROOT, timeout=400, env={"MAKEFLAGS": f"RELEASE={m.lab.build}"})


def steps(path):
    """[(where, command)] of the page: sh blocks under a bold line that says where. A command may run over several lines."""
    out, where, block = [], None, None
    with open(path) as f:
        for line in f.read().splitlines():
            if m := re.match(r"\*\*On (.+?)\*\*", line):
                where = m.group(1)
            elif line == "```sh":
                block = []
            elif line == "```" and block is not None:
                out += [(where, c) for c in commands(block)]
                block = None
            elif block is not None:
                block.append(line)
    return out


def commands(lines):
    """Lines joined over backslashes and here-documents."""
    out, until = [], None
    for line in lines:
        if until or (out and out[-1].endswith("\\")):
            out[-1] += "\n" + line
            until = None if line == until else until
            continue
        out.append(line)
        if m := re.search(r"<<'?(\w+)'?", line):
            until = m.group(1)
    return out


@scenario("guide", "seconds", "<=60", seconds=420, why="make install builds what is not built yet")
def guide(lab, found):
    """docs/guide/two-nodes.md, word by word: two bare machines, at most ten commands, the call arrives."""
    a, b = machines(lab, "machine-a", "machine-b")
    todo = steps(GUIDE)
    found.check(0 < len(todo) <= COMMANDS_MAX, f"{len(todo)} commands, {COMMANDS_MAX} are allowed")
    began, printed = time.monotonic(), ""
    calm = Neighbour(lab, found, a.ns, "gw", "192.168.1.1")
    usual = calm.settled()
    with calm.watch("from nothing to the call (machine-a to its router)", usual):
        for where, command in todo:
            for m in {"both": (a, b), "machine-a": (a,), "machine-b": (b,)}[where]:
                if command.endswith("make install"):
                    install(m)
                    began = time.monotonic() if m is b else began  # building is not what is timed
                elif command.startswith("curl"):
                    printed = wait_for(f"{command}", lambda: answer(a, command), 15)
                else:
                    m.run(command)
        seconds = time.monotonic() - began
    found.check("hello from machine-b" in printed, f"the call was answered by {printed!r}")
    peers = json.loads(a.run("edgemeshctl peers -o json"))
    rows = peers if isinstance(peers, list) else peers["peers"]
    found.check(any(p["name"] == "machine-b" and p["state"] == "up" for p in rows), f"the call did not use the tunnel: {rows}")
    for m in (a, b):
        with open(f"/proc/{m.daemon_pid()}/status") as f:
            caps = int(re.search(r"CapBnd:\s*(\w+)", f.read()).group(1), 16)
        found.same(caps, 1 << 10 | 1 << 12 | 1 << 13, f"{m.name}: capabilities")
        m.run("systemctl stop edgemeshd")
    return seconds


def answer(m, command):
    out = m.run(command, check=False, timeout=20)
    return out if "hello" in out else ""


@scenario("install", "failures", "=0", seconds=420, why="make install builds what is not built yet")
def install_twice(lab, found):
    """What is installed is complete and valid; an edited configuration stays; the Debian package starts and restarts nothing."""
    (m,) = machines(lab, "machine-a")
    install(m)
    found.check(m.run("edgemeshd --check-config").strip().endswith(": good"), "the installed configuration")
    found.same(m.run("stat -c %a /etc/edgemeshd/pki").strip(), "700", "mode of the folder of keys")
    if shutil.which("systemd-analyze"):
        found.same(m.run("systemd-analyze verify --man=no /usr/local/lib/systemd/system/edgemeshd.service").strip(), "", "what systemd says of the unit")
    m.run("echo '# mine' >> /etc/edgemeshd/config.yaml")
    install(m)
    found.check("# mine" in m.run("cat /etc/edgemeshd/config.yaml"), "a second install overwrote the configuration")
    if shutil.which("dpkg-shlibdeps"):
        package(m, found)
    if shutil.which("kubectl"):
        for name in ("rbac", "token", "config", "daemonset"):
            out = m.run(f"kubectl annotate --local --dry-run=client -o name -f {ROOT}/deploy/kubernetes/{name}.yaml a=b", check=False)
            found.check(out.strip() and "error" not in out.lower(), f"{name}.yaml: {out}")
        found.check("kind: DaemonSet" in m.run(f"kubectl kustomize {ROOT}/deploy/kubernetes", check=False), "kustomization")


def package(m, found):
    deb = m.run(f"{ROOT}/deploy/debian/build.sh {m.lab.build} $HOME 2>/dev/null", timeout=120).split()[-1]
    m.run(f"dpkg-deb -x {deb} $HOME/x && dpkg-deb -e {deb} $HOME/x/DEBIAN")
    found.check(m.run("$HOME/x/usr/bin/edgemeshd --version").startswith("edgemeshd "), "the packaged daemon does not run")
    found.check("ExecStart=/usr/bin/edgemeshd " in m.run("cat $HOME/x/lib/systemd/system/edgemeshd.service"), "the packaged unit's program")
    control = m.run("cat $HOME/x/DEBIAN/control")
    found.check("android-libboringssl" in control and "libssl" not in control, f"dependencies: {control}")
    for script, args in (("postinst", "configure"), ("postinst", "configure 0.0.1"), ("prerm", "upgrade 0.2"), ("postrm", "upgrade 0.2")):
        calls = m.run(f"mkdir -p /run/systemd/system; log=$HOME/calls; : > $log; PATH=$HOME/fake:$PATH; mkdir -p $HOME/fake; "
                      f"printf '#!/bin/sh\\necho $* >> %s\\n' $log > $HOME/fake/systemctl; chmod +x $HOME/fake/systemctl; "
                      f"sh $HOME/x/DEBIAN/{script} {args} >/dev/null; cat $log")
        found.check(not re.search(r"\b(start|restart|stop|enable|disable)\b", calls), f"{script} {args}: systemctl {calls}")


# ---- EdgeMesh's files

HEAD = {"apiVersion": "agent.edgemesh.config.kubeedge.io/v1alpha1", "kind": "EdgeMeshAgent"}


def edgemesh_start(m, path, flag, env):
    """The daemon on this file, ready: -> what it logged so far."""
    m.run(f"mkdir -p /run/edgemeshd /var/lib/edgemeshd; {env} setsid edgemeshd {flag} {path} >> $MACHINE/daemon.log 2>&1 & echo $! > $MACHINE/unit.pid")
    wait_for(f"edgemeshd on {path}", lambda: "node " in m.run("edgemeshctl status", check=False) and m.run("edgemeshctl status -o json", check=False), 10)
    return m.last_log(80)


def stop(m):
    pid = m.daemon_pid()
    m.run(f"kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.05; done", timeout=15)
    open(os.path.join(m.dir, "daemon.log"), "w").close()


@scenario("c21", "failures", "=0", seconds=420, why="make install builds what is not built yet")
def c21(lab, found):
    """EdgeMesh's agent and gateway files start the daemon as they are; what has no effect is said; printed files are read again."""
    (m,) = machines(lab, "edge-1")
    install(m)
    m.run("edgemeshctl ca init --dir ca --trust-domain c21.example && edgemeshctl ca issue --dir ca edge-1 --role relay --out /etc/edgemeshd/pki")
    m.run("mkdir -p /etc/edgemesh && head -c 32 /dev/urandom | base64 > /etc/edgemesh/psk && chmod 600 /etc/edgemesh/psk")
    agent = {**HEAD, "commonConfig": {"bridgeDeviceName": "edgemesh7", "bridgeDeviceIP": "169.254.96.17"},
             "modules": {"edgeProxy": {"enable": True, "socks5Proxy": {"enable": True, "nodeName": "edge-1"}},
                         "edgeTunnel": {"enable": True, "listenPort": 20106, "transport": "ws", "NoSuchKey": 1,
                                        "relayNodes": [{"nodeName": "edge-1", "advertiseAddress": ["192.168.1.10"]}],
                                        "tunnelLimitConfig": {"TunnelPeerBaseStreamIn": 1024},
                                        "metricConfig": {"enable": True, "port": 9999}}}}
    manifests.write(os.path.join(m.dir, "etc", "edgemesh", "agent.yaml"), agent)
    check = m.run("NODE_NAME=edge-1 edgemeshctl config check /etc/edgemesh/agent.yaml")
    with Neighbour(lab, found, m.ns, "gw", "192.168.1.1").watch("EdgeMesh's files start the daemon (the machine to its router)"):
        agent_file(m, found, check)
        cloud_gateway(m, found)
    printed_files(m, found)


def agent_file(m, found, check):
    log = edgemesh_start(m, "/etc/edgemesh/agent.yaml", "--v=4 --logtostderr --config-file", "NODE_NAME=edge-1 NAMESPACE=kubeedge")
    found.check("--logtostderr: has no effect" in log, f"a flag without effect is not named: {log[-600:]}")
    for setting in ("socks5Proxy.nodeName", "edgeTunnel.transport", "edgeTunnel.NoSuchKey", "edgeTunnel.tunnelLimitConfig"):
        for where, text in (("config check", check), ("the log", log)):
            found.same(len(re.findall(re.escape(setting) + ": .*no effect", text)), 1, f"lines about {setting} in {where}")
    status = json.loads(m.run("edgemeshctl status -o json"))
    found.same(set(status["modules"]), {"mesh", "dns", "tunnel", "relay"}, "modules")
    found.same(status["node"], "edge-1", "node")
    found.check("169.254.96.17" in m.run("ip addr show dev edgemesh7"), "the device has the address of the file")
    sockets = m.run("ss -Hlnu; ss -Hlnt")
    for at in ("169.254.96.17:53 ", "169.254.96.17:10800 ", ":20106 ", ":20107 ", ":9999 "):
        found.check(at in sockets, f"nothing listens on {at}: {sockets}")
    found.check("edgemeshd_" in m.run("curl -sS http://192.168.1.10:9999/metrics"), "metrics on all addresses")
    found.check("REFUSED" not in m.run("dig +time=2 +tries=1 @169.254.96.17 kubernetes.default.svc.cluster.local", check=False), "DNS answers")
    stop(m)


def cloud_gateway(m, found):
    """Around a cluster there is no DNS unless asked for, and nothing is intercepted by a gateway's file."""
    m.run("cp %s/base/conf/testing/edgemesh-gateway-full.yaml /etc/edgemesh/gateway.yaml" % ROOT)
    log = edgemesh_start(m, "/etc/edgemesh/gateway.yaml", "--config", "NODE_NAME=edge-1 KUBERNETES_PORT=tcp://10.96.0.1:443")
    found.check("edgeGateway.nic: has no effect" in log, f"the gateway's settings are not named: {log[-600:]}")
    found.same(set(json.loads(m.run("edgemeshctl status -o json"))["modules"]), {"mesh", "tunnel"}, "modules of a gateway")
    stop(m)


def printed_files(m, found):
    for flag in ("--defaultconfig", "--minconfig", "--defaultconfig=gateway", "--minconfig=gateway"):
        out = m.run(f"edgemeshd {flag} > $HOME/printed.yaml && NODE_NAME=n edgemeshd --check-config $HOME/printed.yaml")
        found.check(out.strip().endswith("printed.yaml: good") and len(out.splitlines()) == 1, f"{flag}: {out}")
    found.check(m.run("edgemeshd --version").startswith("edgemeshd "), "--version")
    m.run("printf 'kind: EdgeMeshAgent\\nmodules: {edgeTunnel: {enable: true, transport: carrier}}\\n' > $HOME/bad.yaml")
    bad = m.run("edgemeshd --config-file $HOME/bad.yaml", check=False)
    found.check("bad.yaml:2:" in bad and "tcp, ws, quic" in bad, f"a wrong transport: {bad}")
