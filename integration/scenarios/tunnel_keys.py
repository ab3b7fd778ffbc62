"""Keys: used for each nonce once, and to be found in no core dump."""
import json
import os
import signal
import subprocess
import time

from fixtures import VIP, answers, deploy
from lab import HERE, LabError, wait_for
from node import join
from registry import scenario
from relay import say
from restart import follow, pid_of, successor
from topology import lan2
from trust import give_psk
from two_nodes import MB, is_direct, two_sites

WORKERS = 7  # with the control loop eight lanes
FLOWS = 12


@scenario("lanes", "nonces used twice", "=0")
def lanes(lab, found):
    """Eight lanes, many flows, a hand-over and a kill -9 in the middle: no counter comes twice under one key, in either direction."""
    a, b, r = two_sites(lab, start=False, pods_b=1, wire_a={"rate": 400})  # the wire carries datagrams singly
    for n in (a, b):
        n.extra = {"workers": WORKERS}
    for n in (r, a, b):
        n.start(wait=False)
    for n in (r, a, b):
        wait_for(f"{n.name} ready", n.ready, 20)
    client, server = a.pods["a0"], b.pods["b0"]
    wait_for("A calls B", lambda: answers(client, [server], VIP), 15)
    wait_for("the path is direct", lambda: is_direct(a, b) and is_direct(b, a), 15, 0.1)
    sniffer = lab.start("inet", [lab.tool("nonces", os.path.join(HERE, "nonces.cc")), f"l{a.public.split('.')[2]}"], stdout=subprocess.PIPE, text=True)
    sniffer.stdout.readline()
    runs = [client.start_client("stream", VIP, 9000, 30, 4) for _ in range(FLOWS)]
    runs.append(client.start_client("download", VIP, 80, 400 * MB, 4))
    time.sleep(2)
    pids = [pid_of(a)]
    found.check(a.ctl_ok("handover"), "the hand-over was refused")
    wait_for("A's successor serves", lambda: successor(a, pids), 15, 0.02)
    follow(lab, a, pids[-1])
    time.sleep(2)
    b.stop(signal.SIGKILL)
    b.start()
    wait_for("A calls B, restarted", lambda: answers(client, [server], VIP), 20)
    time.sleep(2)
    for p in runs:
        p.send_signal(signal.SIGTERM)
    back = [json.loads(p.communicate(timeout=40)[0]).get("back", 0) for p in runs[:-1]]
    runs[-1].kill()
    sniffer.send_signal(signal.SIGTERM)
    out = json.loads(sniffer.communicate(timeout=30)[0])
    used = {lane for index in out["indices"] for lane in index}
    say(f"{out['packets']} packets under {len(out['indices'])} keys, lanes {sorted(used, key=int)}, {out['twice']} counters twice; {sum(back)} datagrams came back")
    found.same(out["joined"], 0, "datagrams that came joined: the count is void")
    found.check(out["packets"] > 5000 and len(used) >= 5 and len(out["indices"]) >= 6, f"too little was seen: {out}")
    return out["twice"]


# ---- core dumps

def scalar_of(node, key):
    """The private number of an EC key, as it stands in a file and as BoringSSL keeps it."""
    der = subprocess.run(["openssl", "pkey", "-in", key, "-outform", "DER"], check=True, capture_output=True).stdout
    at = der.index(b"\x02\x01\x01\x04\x20") + 5  # ECPrivateKey: version 1, 32 bytes
    return [der[at:at + 32], der[at:at + 32][::-1]]


def secrets_of(node):
    """What must not be found, by what it is."""
    with open(node.path("node.key"), "rb") as f:
        pem = f.read()
    with open(node.path("firstkey.psk"), "rb") as f:
        psk = f.read().strip()
    big, little = scalar_of(node, node.path("node.key"))
    return {"the text of node.key": pem.splitlines()[1], "the private number": big, "the private number, as it is kept": little, "the pre-shared key": psk}


def core_of(lab, node, full):
    """The node's daemon dies; -> its core dump. full: what the daemon forbids is allowed again before, to see that it would be found."""
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    pid = node.daemon.pid
    if full:
        with open(f"/proc/{pid}/coredump_filter", "w") as f:
            f.write("0x33")
    if pattern.startswith("|") or "/" in pattern:  # a machine that gives its cores away: what the kernel would write, by its own rule
        return readable(pid)
    node.daemon.send_signal(signal.SIGABRT)
    node.daemon.wait(15)
    found = [f for f in os.listdir(node.path("cores"))]
    if len(found) != 1:
        raise LabError(f"{node.name} left {found or 'no core dump'}")
    path = node.path("cores", found[0])
    with open(path, "rb") as f:
        core = f.read()
    os.unlink(path)
    return core


def readable(pid):
    """Anonymous memory of the process, if a core dump of it would hold that."""
    with open(f"/proc/{pid}/coredump_filter") as f:
        if not int(f.read(), 16) & 1:
            return b"\x7fELF"
    out = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            area, access, _, _, inode, *_ = line.split()
            if access.startswith("rw") and inode == "0":
                begin, end = (int(x, 16) for x in area.split("-"))
                try:
                    mem.seek(begin)
                    out.append(mem.read(end - begin))
                except OSError:
                    continue
    return b"".join(out)


@scenario("core-dump", "secrets found", "=0")
def core_dump(lab, found):
    """A core dump of a daemon with sessions holds neither its private key nor its pre-shared key; one with heap and stacks would."""
    a, b = lan2(lab, pods_a=1, pods_b=1)
    a.network = b.network = ""
    join([a, b])
    servers = [b.pods["b0"].serve()]
    deploy([a, b], servers)
    for n in (a, b):
        give_psk(n, "firstkey")
        os.makedirs(n.path("cores"))
        n.wrapper = ["sh", "-c", f"cd {n.path('cores')} && ulimit -c unlimited && exec \"$@\"", "sh"]
        n.start()
    wait_for("A calls B", lambda: answers(a.pods["a0"], servers, VIP), 15)
    plain, full = core_of(lab, a, False), core_of(lab, b, True)
    say(f"core dumps: {len(plain) >> 10} KiB, and {len(full) >> 10} KiB with all memory")
    hits = [what for what, bytes_ in secrets_of(a).items() if bytes_ in plain]
    found.check(plain.startswith(b"\x7fELF"), "that is no core dump")
    found.check(not hits, f"in the core dump: {', '.join(hits)}")
    found.check(any(bytes_ in full for bytes_ in secrets_of(b).values()), "a core dump with all memory does not hold them either: the test is void")
    return len(hits)
