#!/usr/bin/env python3
"""make demo: two sites with the same LAN subnet and the same pod subnet, each behind its own NAT; a pod of one calls a service whose
pods are in the other, by name. Every line shown comes from a client's output.
--keep leaves it running; --break PART sabotages one part and must fail at the step that part carries (then the exit status is 3)."""
import argparse
import json
import os
import re
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "netns"), os.path.join(HERE, "..", "scenarios")]
import manifests
import nat
import screen
import world
from fixtures import shop
from lab import Lab, LabError, reap, wait_for
from node import join
from topology import direct_block, nat2

LOCAL, SHOP, SHOP6, REPORTS = "10.96.0.5", "10.96.0.7", "fd96::7", "10.96.0.8"
DOWNLOAD, MB_PER_S = 240_000_000, 20
SLOW = 0.9  # a call that took longer met silence: its first packet was sent again
SLICES = 4  # how far the product is: 1 one node, 3 two sites over the relay, 4 direct and back
PICTURE = """   pod a0 ── node-a ── NAT A ──┐                      ┌── NAT B ── node-b ── pods b0 b1 b2
   172.17.0.2  192.168.1.10    ├── public network ────┤   192.168.1.10    172.17.0.2 .3 .4
                               └── node-r, the relay ─┘
"""


class Wrong(Exception):
    """A step's client saw something else than it should."""


class Demo:
    def __init__(self, lab, patience):
        self.lab, self.patience, self.summary = lab, patience, []
        self.a, self.b, self.r = nat2(lab, pods_a=4, pods_b=3)
        self.client = self.a.pods["a0"]
        self.local, self.remote = list(self.a.pods.values())[1:], list(self.b.pods.values())
        self.relay_before = 0

    # ---- asking
    def show(self, who, *argv, timeout=20):
        screen.command(who.name, self.readable(argv))
        r = who.run(*argv, check=False, timeout=timeout)
        screen.output(r.stdout + r.stderr)
        return r.stdout.strip()

    def readable(self, argv):
        """As one types it on a node where it is installed."""
        if os.path.basename(argv[0]) == "edgemeshctl" and argv[1] == "--socket":
            return ["edgemeshctl", *argv[3:]]
        return argv

    def until(self, what, condition, seconds):
        try:
            return wait_for(what, condition, seconds * self.patience, 0.2)
        except LabError as e:
            raise Wrong(str(e)) from None

    def calls(self, target, n):
        script = f"for i in $(seq {n}); do curl -s --max-time 5 http://{target}/; done | sort | uniq -c"
        out = self.show(self.client, "sh", "-c", script, timeout=60)
        return {line.split()[1]: int(line.split()[0]) for line in out.splitlines() if len(line.split()) == 2}

    def peer(self):
        try:
            rows = self.a.ctl("peers")
        except (LabError, ValueError):
            return {}
        rows = rows if isinstance(rows, list) else rows.get("peers", [])
        return next((p for p in rows if p["name"] == self.b.name), {})

    def path_is(self, direct):
        p = self.peer()
        return p.get("state") == "up" and bool(p.get("direct")) == direct

    def block_direct(self, blocked):
        direct_block(self.lab, "natA", self.b.public, blocked)
        direct_block(self.lab, "natB", self.a.public, blocked)

    def relayed(self):
        """Bytes the relay took in, by the counter of its interface."""
        return self.lab.bytes("R", "eth0")[0]

    def uplink(self):
        return self.lab.bytes("natB", "wan")[1]

    # ---- preparing
    def prepare(self):
        for p in [*self.local, *self.remote]:
            p.serve()
        nodes = [self.a, self.b, self.r] if SLICES > 1 else [self.a]
        if SLICES > 1:
            join(nodes, relay=self.r)
            self.block_direct(True)
        for n in nodes:
            n.apply("local.yaml", *shop(self.local, "local", [LOCAL]))
            if SLICES > 1:
                n.apply("shop.yaml", *shop(self.remote, "shop", [SHOP, SHOP6]))
                n.apply("reports.yaml", *shop(self.remote, "reports", [REPORTS]))
        for n in reversed(nodes):
            n.start(wait=False)
        for n in nodes:
            wait_for(f"edgemeshd on {n.name}", n.ready, 20 * self.patience)

    # ---- the steps
    def dns(self):
        """A name: the pod asks DNS on its node"""
        name = ("shop" if SLICES > 1 else "local") + ".default.svc.cluster.local"
        got = self.show(self.client, "dig", "+short", "+tries=1", "+time=3", name)
        want = SHOP if SLICES > 1 else LOCAL
        if got.split() != [want]:
            raise Wrong(f"{name} is {got or 'nothing'}, not {want}")
        return f"{name.split('.')[0]} is {want}"

    def same_node(self):
        """A service on the same node: the kernel carries it"""
        got = self.show(self.client, "curl", "-sS", "--max-time", "5", "http://local/")
        if got not in [p.name for p in self.local]:
            raise Wrong(f"answered by {got or 'nobody'}")
        return f"{got} answers"

    def over_relay(self):
        """A service in the other site: no direct path is allowed yet, so the relay carries it"""
        self.relay_before = self.relayed()
        first = self.show(self.client, "curl", "-sS", "--max-time", str(10 * self.patience), "http://shop/")
        if first not in [p.name for p in self.remote]:
            raise Wrong(f"answered by {first or 'nobody'}")
        counts = self.calls("shop", 9)
        if sum(counts.values()) != 9:
            raise Wrong(f"{sum(counts.values())} of 9 calls were answered")
        self.show(self.a, self.a.program("edgemeshctl"), "--socket", self.a.socket, "peers")
        moved = self.relayed() - self.relay_before
        if not self.path_is(False) or moved <= 0:
            raise Wrong(f"the path is not the relay: {json.dumps(self.peer())}")
        return f"10 calls answered, {moved} bytes into the relay"

    def target(self):
        return ("shop", self.remote) if SLICES > 1 else ("local", self.local)

    def spread(self):
        """The spread over three endpoints: round robin"""
        name, pods = self.target()
        counts = self.calls(name, 30)
        if sorted(counts) != sorted(p.name for p in pods) or max(counts.values()) - min(counts.values()) > 1:
            raise Wrong(f"not 10 each: {counts}")
        return " ".join(f"{k}:{v}" for k, v in counts.items())

    def edited_rule(self):
        """The DestinationRule is edited: one client, one endpoint; then it is deleted again"""
        name, _ = self.target()
        rule = manifests.destination_rule(name, {"consistentHash": {"useSourceIp": True}})
        screen.output(manifests.to_yaml(rule))
        self.a.apply("rule.yaml", rule)
        self.until("the rule takes effect", lambda: len(self.client.client("http", name, 80, 6).get("counts", {})) == 1, 5)
        counts = self.calls(name, 30)
        self.a.forget("rule.yaml")
        if len(counts) != 1 or sum(counts.values()) != 30:
            raise Wrong(f"not 30 at one endpoint: {counts}")
        self.until("the rule is gone", lambda: len(self.client.client("http", name, 80, 6).get("counts", {})) == 3, 5)
        return " ".join(f"{k}:{v}" for k, v in counts.items())

    def moving_download(self):
        """A download goes on while its path moves from the relay to the direct one and back"""
        screen.note(f"{DOWNLOAD // 1_000_000} MB over one TCP connection at {MB_PER_S} MB/s; the NATs' ban on direct packets is lifted after 2 s")
        digest = self.remote[0].run("curl", "-s", f"http://{self.remote[0].ip}:8080/sha256?n={DOWNLOAD}").stdout.strip()
        screen.command(self.client.name, ["download", f"http://shop/bytes?n={DOWNLOAD}"])
        run = self.client.start_client("download", "shop", 80, DOWNLOAD, MB_PER_S)
        marks = [("over the relay", self.relayed(), self.uplink())]
        time.sleep(2)
        self.block_direct(False)
        started = time.monotonic()
        self.until("a direct path", lambda: self.path_is(True), 10)
        seconds = time.monotonic() - started
        screen.note(f"direct after {seconds:.1f} s")
        marks.append(("direct", self.relayed(), self.uplink()))
        time.sleep(3)
        if run.poll() is not None:
            raise Wrong(f"the download ended before its path had moved back: {run.communicate()[0].strip()[-200:]}")
        self.block_direct(True)
        self.until("the relay again", lambda: self.path_is(False), 10)
        marks.append(("over the relay again", self.relayed(), self.uplink()))
        out = run.communicate(timeout=60 * self.patience)[0].strip()
        marks.append(("", self.relayed(), self.uplink()))
        screen.output(out)
        self.show_bytes(marks)
        if f'"bytes": {DOWNLOAD}' not in out or digest not in out:
            raise Wrong(f"the download is not what the server has (SHA-256 {digest})")
        if marks[2][1] - marks[1][1] > (marks[2][2] - marks[1][2]) / 4:
            raise Wrong("the bytes went on over the relay while the path was said to be direct")
        return f"{DOWNLOAD // 1_000_000} MB, checksum holds, direct after {seconds:.1f} s"

    def show_bytes(self, marks):
        rows = [("while the path was", "out of site B", "through the relay")]
        for (what, r0, u0), (_, r1, u1) in zip(marks, marks[1:]):
            rows.append((what, screen.megabytes(u1 - u0), screen.megabytes(r1 - r0)))
        screen.table(rows)

    def by_ipv6(self):
        """The same call over IPv6, though the sites only have IPv4 between them"""
        address = self.show(self.client, "dig", "+short", "+tries=1", "+time=3", "AAAA", "shop.default.svc.cluster.local")
        got = self.show(self.client, "curl", "-6", "-sS", "--max-time", "5", "http://shop/")
        if address.split() != [SHOP6] or got not in [p.name for p in self.remote]:
            raise Wrong(f"{address or 'no address'}, answered by {got or 'nobody'}")
        return f"{got} answers at {SHOP6}"

    def dead_endpoint(self):
        """An endpoint's process is killed, then its network cut: nobody edits an object, and new calls go to the other two"""
        victim, said = self.remote[1], []
        for what, die, live in (("process killed", victim.kill, victim.serve), ("network cut", lambda: victim.cut(True), lambda: victim.cut(False))):
            screen.note(f"20 calls a second to http://shop/; after 1 s, {victim.name}: {what}")
            run = self.client.start_client("steady", SHOP, 80, 5.5, 50)
            time.sleep(1)
            died = time.monotonic()
            die()
            calls = json.loads(run.communicate(timeout=60)[0])["calls"]
            met = [t - died for t, answer, took in calls if t > died - 0.01 and (answer.startswith("!") or took > SLOW)]
            late = [t for t in met if t > 3 * self.patience]
            if late or not met:
                raise Wrong(f"{what}: {len(late)} calls met it later than 3 s after" if late else f"{what}: no call noticed it")
            self.show_calls(calls)
            said.append(f"{what}: avoided after {max(met):.1f} s")
            health = [r["health"] for r in self.a.ctl("explain", "default/shop")["endpoints"] if r["pod"] == victim.name]
            screen.note(f"the last call that met it began {max(met):.1f} s after; edgemeshctl explain says of {victim.name}: {health[0]}")
            live()
            self.until(f"{victim.name} is back", lambda: self.client.client("http", SHOP, 80, 9).get("counts", {}).get(victim.name) == 3, 20)
            screen.note(f"{victim.name} lives again and has its third of the calls")
        return "; ".join(said)

    def show_calls(self, calls):
        """What the calls of client steady saw, in one line; -> how many were not answered, the longest one."""
        failed = sum(answer.startswith("!") for _, answer, _ in calls)
        longest = max(took for _, _, took in calls)
        screen.output(f"{len(calls)} calls: {len(calls) - failed} answered, {failed} failed; the longest took {longest:.2f} s")
        return failed, longest

    def relay_dies(self):
        """The relay is killed while a download and calls take the direct path: they do not notice, nor do new services"""
        self.block_direct(False)
        self.until("a direct path", lambda: self.path_is(True), 15)
        size = 80_000_000
        screen.command(self.client.name, ["download", f"http://shop/bytes?n={size}"])
        get = self.client.start_client("download", "shop", 80, size, MB_PER_S)
        run = self.client.start_client("steady", SHOP, 80, 4, 50)
        time.sleep(1)
        self.r.stop(signal.SIGKILL)
        screen.note("now kill -9 of edgemeshd on node-r, the relay; the next call is the first one ever to service reports")
        first = self.show(self.client, "curl", "-sS", "--max-time", "5", "http://reports/")
        out = get.communicate(timeout=60 * self.patience)[0].strip()
        screen.output(out)
        failed, longest = self.show_calls(json.loads(run.communicate(timeout=60)[0])["calls"])
        wait = json.loads(out).get("longest_wait", 99) if out.startswith("{") else 99
        if failed or f'"bytes": {size}' not in out or max(wait, longest) > 2 * self.patience:
            raise Wrong(f"{failed} calls failed, the longest took {longest:.1f} s, the download waited {wait:.1f} s")
        if first not in [p.name for p in self.remote]:
            raise Wrong(f"service reports: answered by {first or 'nobody'}")
        self.r.start(wait=False)
        started = time.monotonic()
        self.until("node-a finds the relay again", self.has_relay, 5)
        screen.note(f"started again; node-a is connected to it {time.monotonic() - started:.1f} s later")
        return f"{size // 1_000_000} MB, 0 calls failed, {first} answers for reports"

    def has_relay(self):
        text = self.a.run("curl", "-s", "--unix-socket", self.a.socket, "http://x/metrics", check=False).stdout
        return re.search(r"^edgemeshd_signal_connections [1-9]", text, re.M)

    def no_source(self):
        """node-a's daemon is killed and its manifests are gone: it starts from the snapshot on its own disk"""
        self.until("the snapshot is written", lambda: os.path.exists(self.a.path("data/objects.snapshot")), 10)
        away = self.a.path("manifests.away")
        self.a.stop(signal.SIGKILL)
        shutil.move(self.a.path("manifests"), away)
        try:
            screen.note("kill -9 of edgemeshd on node-a; its folder of manifests is moved away; it is started again")
            self.a.start()
            name, pods = self.target()
            said = self.show(self.a, self.a.program("edgemeshctl"), "--socket", self.a.socket, "status")
            address = self.show(self.client, "dig", "+short", "+tries=2", "+time=3", f"{name}.default.svc.cluster.local")
            near = self.show(self.client, "curl", "-sS", "--max-time", "5", "http://local/")
            far = self.show(self.client, "curl", "-sS", "--max-time", str(10 * self.patience), f"http://{name}/")
        finally:
            shutil.move(away, self.a.path("manifests"))
        if "snapshot" not in said:
            raise Wrong("edgemeshctl status does not say that the snapshot is served")
        if not address or near not in [p.name for p in self.local] or far not in [p.name for p in pods]:
            raise Wrong(f"{name} is {address or 'nothing'}, answered by {far or 'nobody'}; local by {near or 'nobody'}")
        return f"{name} is {address}, {far} answers; local: {near} answers"


# step, the slice that brings it, the part whose sabotage must fail it
STEPS = [
    (Demo.dns, 1, "dns"),
    (Demo.same_node, 1, ""),
    (Demo.over_relay, 3, "relay"),
    (Demo.spread, 1, "lb"),
    (Demo.edited_rule, 1, ""),
    (Demo.by_ipv6, 3, ""),
    (Demo.moving_download, 4, "nat"),
    (Demo.dead_endpoint, 4, ""),
    (Demo.relay_dies, 4, ""),
    (Demo.no_source, 4, ""),
]


def break_part(demo, part):
    """Sabotage, done when everything is up and before the first step."""
    lab = demo.lab
    if part == "dns":
        lab.nft("A", nat.filter_table("sabotage", "input", -10, ["udp dport 53 drop", "tcp dport 53 drop"]))
    if part == "relay":
        demo.r.stop(9)
    if part == "lb":
        name, pods = demo.target()
        ips = [SHOP, SHOP6] if name == "shop" else [LOCAL]
        demo.a.apply(f"{name}.yaml", *shop(pods[:2], name, ips))
    if part == "nat":
        only_relay = f"meta l4proto udp ip daddr != {demo.r.public} ip saddr != {demo.r.public} drop"
        for box in ("natA", "natB"):
            lab.nft(box, nat.filter_table("sabotage", "forward", -20, [only_relay], "ip"))


def sabotages():
    return [part for _, since, part in STEPS if part and since <= SLICES]


def run_steps(demo, broken):
    """-> exit status: 0 all done, 3 failed where the sabotage had to bite, 1 failed elsewhere (or did not fail)."""
    status = 0
    for number, (step, since, part) in enumerate([s for s in STEPS if s[1] <= SLICES], 1):
        title = step.__doc__.split(":")[0]
        if status:
            demo.summary.append((title, "not run", ""))
            continue
        screen.heading(number, step.__doc__)
        try:
            result = step(demo)
            screen.say("   ok: " + result, "green")
            demo.summary.append((title, "ok", result))
        except (Wrong, LabError) as e:
            screen.say(f"   failed: {e}", "red")
            demo.summary.append((title, "failed", str(e).splitlines()[0][:90]))
            status = 3 if broken and part == broken else 1
            for n in (demo.a, demo.b, demo.r):
                if status == 1 and n.last_log():
                    screen.note(f"{n.name} log ends:\n" + n.last_log(8))
    if broken and not status:
        screen.say(f"{broken} was sabotaged and nothing failed", "red")
        return 1
    return status


def look_around(demo):
    lab = demo.lab
    into = f"nsenter -t {demo.a.daemon.pid} -n" if not world.rootless() else f"nsenter -t {demo.a.daemon.pid} -U -n -m --preserve-credentials"
    ctl = os.path.relpath(demo.a.program("edgemeshctl"))
    screen.say("\nLeft running. Look around:", "bold")
    for line in (f"{into} {ctl} --socket {demo.a.socket} status", f"{into} {ctl} --socket {demo.a.socket} explain default/{demo.target()[0]}",
                 f"{into} nft list table inet edgemesh", f"nsenter -t {demo.local[0].server.pid} -n -m curl -s http://{LOCAL}/",
                 f"edit the manifests under {demo.a.path('manifests')}; logs are in {lab.dir}/logs",
                 "make demo takes it away and starts afresh; python3 integration/demo/demo.py --down only takes it away"):
        screen.say("   " + line)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--build", default="build/release")
    args.add_argument("--keep", action="store_true")
    args.add_argument("--break", dest="broken", choices=["relay", "dns", "lb", "nat"])
    args.add_argument("--patient", action="store_true", help="longer waits, for slow builds")
    args.add_argument("--sabotages", action="store_true", help="names the parts --break can sabotage so far")
    args.add_argument("--slices", type=int, default=SLICES, help="only the steps of the first slices (1, 3 or 4)")
    args.add_argument("--down", action="store_true", help="takes away a demo that was kept")
    args = args.parse_args()
    globals()["SLICES"] = args.slices
    if args.sabotages:
        return print("\n".join(sabotages()))
    world.enter()
    if args.down:
        return reap("demo", kept=True)
    if args.broken and args.broken not in sabotages():
        sys.exit(f"--break {args.broken}: that step is not there yet; there are {', '.join(sabotages())}")
    screen.say("edgemeshd: a service call between two pods in different private networks", "bold")
    screen.output(PICTURE)
    screen.note("about a minute; everything happens in network namespaces of its own, nothing on this machine is changed")
    status = 1
    try:
        with Lab("demo", args.build, args.keep) as lab:
            demo = Demo(lab, 4 if args.patient else 1)
            demo.prepare()
            if args.broken:
                break_part(demo, args.broken)
                screen.say(f"   sabotaged: {args.broken}", "yellow")
            status = run_steps(demo, args.broken)
            screen.say("\nSummary", "bold")
            screen.table([("step", "", "what the client saw"), *demo.summary])
            screen.note(f"{screen.elapsed():.0f} s")
            if args.keep:
                look_around(demo)
    except LabError as e:
        screen.say(f"failed: {e}", "red")
    except KeyboardInterrupt:
        status = 130
        screen.say("\nstopped; everything is taken away", "yellow")
    sys.exit(status)


if __name__ == "__main__":
    main()
