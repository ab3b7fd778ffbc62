"""Our daemons in arrangements of NAT boxes: one LAN, the same LAN twice, carriers' NATs, IPv6, forwarded ports, slow and lossy lines,
short-lived mappings, small MTUs, and what happens to a box while they talk."""
import concurrent.futures
import threading
import time
from dataclasses import dataclass, field


from fixtures import VIP, answers, deploy
from lab import LabError, wait_for
from nat_matrix import seen, watch
from places import Places, options
from registry import OPTIONS, scenario

AT_ONCE = 2
SECONDS = {"direct": 3.0, "predict": 5.0, "birthday": 25.0}  # from the first session; a double NAT may need the second rung
BACK_WITHIN = 15  # seconds, on a machine that is busy
MB = 1_000_000


@dataclass
class Case:
    name: str
    sites: list             # specs; two sites of one host each, or one site of two
    carriers: dict = field(default_factory=dict)
    want: str = ""          # "": what theory says
    then: tuple = ()        # what happens afterwards: (event, side, outcome)
    learn_s: float = 0      # how long it may take until the keepalives are frequent enough
    watch_s: float = 0      # and for so long the path must stay what it is
    skew_s: float = 0       # the second node starts later
    bulk: bool = False      # a transfer must work
    seconds: float = 0      # other than SECONDS

    def expected(self):
        return self.want or best(*(composed(s, self.carriers) for s in self.sites))


def pings(a, b):
    """Whether an answer comes within a second; a lost one is not waited for."""
    ctl = [a.program("edgemeshctl"), "--socket", a.socket, "ping", b.name]
    return a.lab.run(a.ns, ctl, check=False, timeout=1).returncode == 0


def is_easy(p):
    return p["map"] in ("none", "eim", "eim-kernel")


def composed(spec, carriers):
    """A site behind a carrier is a NAT whose mapping and filtering are the stricter of the two."""
    home = options(spec)
    if home.get("pmp"):
        return {"map": "none", "filt": "eif"}
    if home.get("cgn") not in carriers:
        return home
    outer = options(carriers[home["cgn"]])
    filt = max(home["filt"], outer["filt"], key=["none", "eif", "adf", "apdf"].index)
    udp = "drop" if "drop" in (home.get("udp"), outer.get("udp")) else ""
    if is_easy(home) or is_easy(outer):
        hard = outer if is_easy(home) else home
        counts_up = hard["map"] == "edm-seq" and (hard is outer or outer["map"] in ("none", "eim-kernel"))  # else the carrier shuffles them
        kind = "eim" if is_easy(hard) else "edm-seq" if counts_up else "edm"
        return {"map": kind, "filt": filt, "udp": udp}
    return {"map": "edm", "filt": filt, "udp": udp}


def best(a, b):
    if "drop" in (a.get("udp"), b.get("udp")):
        return "relay"
    if is_easy(a) and is_easy(b):
        return "direct"
    if not is_easy(a) and not is_easy(b):
        return "relay"
    hard, other = (b, a) if is_easy(a) else (a, b)
    if other["filt"] in ("none", "eif", "adf"):
        return "direct"
    return "predict" if hard["map"] == "edm-seq" else "birthday"


def carried(over):
    """A home router behind each kind of carrier, against an easy and a common router."""
    return [Case(f"port/CGN {c} x {other}", ["port,cgn=X", other], {"X": c}) for c in over for other in ("fullcone", "port")]


EVENTS = (("flush", 0, "direct"), ("renumber", 1, "direct"), ("udp_block", 0, "relay"), ("udp_unblock", 0, "direct"))
FEW = ["one LAN, reflexive addresses only, hairpin on", "the same CGN, hairpin on", "the same LAN twice", "port/CGN port x port/CGN port",
       "sym with a forwarded port x sym", "sym with a port forwarded by UPnP x sym", "IPv6: sym x sym", "events: port x port"]
CASES = [
    Case("one LAN", ["port,hosts=2"], want="direct"),
    Case("one LAN, reflexive addresses only, hairpin off", ["port,hosts=2,exclude=1"], want="relay"),
    Case("one LAN, reflexive addresses only, hairpin on", ["port,hosts=2,exclude=1,hairpin=1"], want="direct"),
    Case("the same LAN twice", ["port,lan=192.168.1", "port,lan=192.168.1"]),
    Case("the same LAN twice, linux", ["linux,lan=192.168.1", "linux,lan=192.168.1"]),
    Case("the same CGN, hairpin off", ["port,cgn=X", "port,cgn=X"], {"X": "fullcone"}, want="relay"),
    Case("the same CGN, hairpin on", ["port,cgn=X", "port,cgn=X"], {"X": "fullcone,hairpin=1"}, want="direct"),
    Case("the same CGN, hairpin on, the same LAN twice", ["port,cgn=X,lan=192.168.1", "port,cgn=X,lan=192.168.1"], {"X": "port,hairpin=1"}, want="direct"),
    Case("port/CGN fullcone x port", ["port,cgn=X", "port"], {"X": "fullcone"}),
    Case("port/CGN port x port/CGN port", ["port,cgn=X", "port,cgn=Y"], {"X": "port", "Y": "port"}),
    Case("sym/CGN fullcone x port", ["sym,cgn=X", "port"], {"X": "fullcone"}),
    Case("sym/CGN sym x fullcone", ["sym,cgn=X", "fullcone"], {"X": "sym"}),
    Case("linux-open x port, no delay", ["linux-open", "port"]),
    Case("sym with a forwarded port x port", ["sym,pmp=1", "port"]),
    Case("sym with a forwarded port x sym", ["sym,pmp=1", "sym"]),
    Case("sym with a port forwarded by UPnP x sym", ["sym,pmp=upnp", "sym"], seconds=15),
    Case("IPv6: sym x sym", ["sym,v6=1", "sym,v6=1"], want="direct"),
    Case("IPv6: fw x udpblock's neighbour", ["port,v6=1", "sym,v6=1"], want="direct"),
    Case("50 ms, 5 % loss on each side", ["port,delay=50,loss=5", "port,delay=50,loss=5,seed=9"], seconds=8),
    Case("100 ms, 5 % loss, linux-open", ["linux-open,delay=100,loss=5", "port,delay=100,loss=5,seed=9"], seconds=12),
    Case("100 ms, sym x port", ["sym,delay=100", "port,delay=100,seed=9"], seconds=30),
    Case("100 ms, sym-seq x port", ["sym-seq,delay=100", "port,delay=100,seed=9"], seconds=12),
    *carried(["addr", "port", "linux", "linux-open", "adm", "sym", "sym-seq"]),
    Case("udpblock x port", ["udpblock", "port"]),
    Case("mappings live 2 s", ["port,udp_timeout=2", "port"], learn_s=15, watch_s=15),
    Case("mappings live 5 s on both sides", ["linux,udp_timeout=5", "port,udp_timeout=5"], learn_s=25, watch_s=25),
    Case("mappings live 2 s, sym x fullcone", ["sym,udp_timeout=2", "fullcone,udp_timeout=2"], learn_s=15, watch_s=15),
    Case("the second node starts 6 s later", ["port", "linux"], skew_s=6),
    Case("the second node starts 6 s later, linux-open", ["linux-open,delay=15", "linux-open,delay=15,seed=9"], skew_s=6),
    Case("MTU 1300 and no ICMP about it", ["port,mtu=1300,noptb=1", "port"], bulk=True),
    Case("MTU 1300 and no ICMP about it, relayed", ["sym,mtu=1300,noptb=1", "sym,mtu=1300,noptb=1"], bulk=True),
    Case("the same CGN, hairpin on, a hard home", ["sym,cgn=X", "port,cgn=X"], {"X": "fullcone,hairpin=1"}, want="birthday"),
    Case("port/CGN sym x port/CGN port", ["port,cgn=X", "port,cgn=Y"], {"X": "sym", "Y": "port"}),
    Case("adm/CGN port x addr", ["adm,cgn=X", "addr"], {"X": "port"}),
    Case("linux-open/CGN linux-open x linux-open, 100 ms, 5 % loss", ["linux-open,cgn=X,delay=100,loss=5", "linux-open,delay=15,seed=9"], {"X": "linux-open"}, seconds=12),
    Case("port/CGN port x port, 100 ms, 5 % loss, 6 s later", ["port,cgn=X,delay=100,loss=5", "port"], {"X": "port"}, skew_s=6, seconds=12),
    Case("port/CGN fullcone, MTU 1300 and no ICMP about it", ["port,cgn=X,mtu=1300,noptb=1", "linux"], {"X": "fullcone"}, bulk=True),
    Case("MTU 1300 and no ICMP about it on both sides, 5 % loss", ["port,mtu=1300,noptb=1,loss=5", "port,mtu=1300,noptb=1,loss=5,seed=9"], bulk=True, seconds=8),
    Case("mappings live 2 s behind a CGN, 5 % loss", ["port,cgn=X,udp_timeout=2,loss=5", "port"], {"X": "port"}, learn_s=20, watch_s=10, seconds=8),
    Case("mappings live 2 s, 100 ms", ["linux,udp_timeout=2,delay=100", "port,udp_timeout=2"], learn_s=20, watch_s=10, seconds=8),
    Case("the same LAN behind two CGNs, hairpin on", ["port,cgn=X,lan=192.168.1,hairpin=1", "linux,cgn=Y,lan=192.168.1"], {"X": "port,hairpin=1", "Y": "addr,hairpin=1"}),
    Case("100 ms, 5 % loss, fw x sym", ["fw,delay=100,loss=5", "sym,seed=9"], seconds=30),
    Case("100 ms, 5 % loss, sym-seq x linux", ["sym-seq,delay=100,loss=5", "linux,seed=9"], seconds=20),
    Case("udpblock/CGN fullcone x sym", ["udpblock,cgn=X", "sym"], {"X": "fullcone"}),
    Case("events: port x port", ["port", "port"], then=EVENTS),
    Case("events: linux x fullcone", ["linux", "fullcone"], then=EVENTS),
    Case("events: linux-open x linux-open", ["linux-open,delay=15", "linux-open,delay=15,seed=9"], then=EVENTS),
    Case("events: sym x fullcone", ["sym", "fullcone"], then=EVENTS),
    Case("events: port/CGN fullcone x port", ["port", "port,cgn=X"], {"X": "fullcone"}, then=(EVENTS[0], ("flush", 1, "direct"), *EVENTS[2:])),
]


class Topo:
    def __init__(self, lab, found, cases):
        self.lab, self.found, self.cases = lab, found, list(cases)
        self.places, self.one_at_a_time = Places(lab), threading.Lock()

    def run(self):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.one, self.cases))

    def one(self, case):
        began, said = time.monotonic(), ""
        with self.one_at_a_time:
            context = self.places.case()
            place = context.__enter__()
        try:
            said = self.judge(case, place)
            why = ""
        except LabError as e:
            why = str(e)
        except Exception as e:  # of the scenario itself: the others go on
            why = f"{type(e).__name__}: {e}"
        finally:
            with self.one_at_a_time:
                context.__exit__(None, None, None)
        if why:
            self.found.append(f"{case.name}: {why}")
        print(f"     {'FAIL' if why else 'PASS'} {case.name}: {why or said} (in all {time.monotonic() - began:.1f} s)", flush=True)

    def judge(self, case, place):
        with self.one_at_a_time:
            for name, spec in case.carriers.items():
                place.carrier(name, spec)
            nodes = [n for i, spec in enumerate(case.sites) for n in place.site("PQ"[i], spec)]
            pod, server = (nodes[0].add_pod("a0"), nodes[1].add_pod("b0")) if case.bulk else (None, None)
        a, b = nodes
        place.acquaint(a, b)
        if case.bulk:
            server.serve()
            deploy(nodes, [server])
        a.start(wait=False)
        if case.skew_s:
            wait_for(f"{a.name} ready", a.ready, 20)
            until = time.monotonic() + case.skew_s
            while time.monotonic() < until:
                a.ctl_ok("ping", b.name)
                time.sleep(0.2)
        b.start(wait=False)
        for n in nodes:
            wait_for(f"{n.name} ready", n.ready, 20)
        want = case.expected()
        outcome, seconds, view = watch(a, b, want)
        limit = case.seconds or SECONDS.get(want, 20)
        if outcome != want:
            raise LabError(f"{outcome}, expected {want}; {view.get('attempts')} {view.get('nat')} {view.get('lastError')}")
        if seconds > limit:
            raise LabError(f"{outcome} after {seconds:.2f} s, later than {limit:g} s; {view.get('attempts')}")
        said = f"{outcome} {seconds:.2f} s by {view.get('path')}"
        if case.watch_s:
            self.stays(a, b, case.learn_s, case.watch_s)
            said += f", for {case.watch_s:g} s"
        if case.bulk:
            said += self.bulk(pod, server, 4 * MB)
        for event, side, then in case.then:
            said += self.event(place, event, nodes, side, then)
        return said

    @staticmethod
    def stays(a, b, learn_s, seconds):
        """While nobody talks the path must not be lost, once it is learned how long the NATs remember. A machine that is busy for half a
        second can lose it, too: then it is watched from the beginning, twice at most. NATs that forget take it every time."""
        def direct():
            return all(seen(x, y).get("direct") for x, y in ((a, b), (b, a)))

        time.sleep(learn_s)
        for tries_left in (2, 1, 0):
            wait_for("the path is direct again", direct, BACK_WITHIN)
            until = time.monotonic() + seconds
            while time.monotonic() < until and direct():
                time.sleep(0.3)
            if time.monotonic() >= until:
                break
            if not tries_left:
                raise LabError(f"the path is no longer direct, {until - time.monotonic():.0f} s before the end, for the third time")
        for x, y in ((a, b), (b, a)):
            wait_for(f"{x.name} finds its path alive", lambda x=x, y=y: x.ctl_ok("ping", y.name) and seen(x, y).get("direct"), 3)

    @staticmethod
    def bulk(pod, server, size):
        wait_for("a call", lambda: answers(pod, [server]), 15)
        r = pod.client("download", VIP, 80, size)
        if r.get("bytes") != size:
            raise LabError(f"the transfer of {size} bytes: {r}")
        return f", {size / MB:g} MB with waits up to {r['longest_wait']:.2f} s"

    @staticmethod
    def event(place, event, nodes, side, then):
        a, b = nodes
        began, calls, alive_after = time.monotonic(), 0, 0
        getattr(place, event)(nodes[side])
        while True:
            alive = pings(a, b) and pings(b, a)
            direct = [seen(x, y).get("direct") for x, y in ((a, b), (b, a))]
            calls += 1
            now = time.monotonic() - began
            alive_after = (alive_after or now) if alive else 0
            if alive and calls > 2 and now > 2 and direct == [then == "direct"] * 2:
                return f", {event.replace('_', '-')} {alive_after:.1f}/{now:.1f}"
            if now > BACK_WITHIN:
                raise LabError(f"{BACK_WITHIN} s after {event} of {nodes[side].name}: expected {then}, direct is {direct}, ping {alive}; {seen(a, b).get('attempts')}")
            time.sleep(0.1)


@scenario("nat-topo", "failures", "=0", seconds=110, why="eight arrangements of sites; with --pass all of them, up to ten minutes", at_once=2)
def nat_topo(lab, found):
    """Arrangements of NATs and what happens to them (--pass: all; --shard i/n: a part): the best path there is, and again after each event."""
    part, parts = OPTIONS["shard"]
    cases = CASES if OPTIONS["passes"] else [c for c in CASES if c.name in FEW]
    Topo(lab, found, [c for i, c in enumerate(cases) if i % parts == part - 1]).run()
    return len(found)
