"""Our daemons on pairs of NAT boxes: what is the best path, which rung found it, how soon."""
import concurrent.futures
import threading
import time

import nat
from lab import LabError
from registry import OPTIONS, scenario
from sites import Sites

PROFILES = ["public", "fw", "fullcone", "addr", "port", "linux", "linux-open", "adm", "sym", "sym-seq", "udpblock"]
PAIRS = [(x, y) for i, x in enumerate(PROFILES) for y in PROFILES[i:]]
# one of each kind for make test: what is easy, what can be poisoned, what is predicted, gambled for, or hopeless
DOZEN = [("public", "fw"), ("fw", "fullcone"), ("fullcone", "sym"), ("addr", "adm"), ("port", "port"), ("port", "linux-open"), ("linux", "linux"),
         ("linux-open", "linux-open"), ("port", "sym-seq"), ("fw", "sym"), ("adm", "sym"), ("port", "udpblock")]
IMPAIR = {"linux-open": {"delay": 15}}  # so that an early packet is early
SECONDS = {"direct": 1.0, "predict": 3.0, "birthday": 20.0}
SYMBOL = {"direct": "D", "predict": "P", "birthday": "B", "relay": "R", "none": "-"}
AT_ONCE = 2


def best(x, y):
    """What theory allows two profiles: direct, predict, birthday or relay."""
    a, b = nat.PROFILES[x], nat.PROFILES[y]
    if "drop" in (a.get("udp"), b.get("udp")):
        return "relay"
    def easy(p):
        return p["map"] in ("none", "eim", "eim-kernel")

    if easy(a) and easy(b):
        return "direct"
    if not easy(a) and not easy(b):
        return "relay"
    hard, other = (b, a) if easy(a) else (a, b)
    if other["filt"] in ("none", "eif", "adf"):
        return "direct"
    return "predict" if hard["map"] == "edm-seq" else "birthday"


def seen(node, other):
    return next((p for p in node.ctl("peers")["peers"] if p["name"] == other.name), {})


def watch(a, b, want):
    """-> (outcome, seconds, a's view). Done when both are direct; on the relay, when the first climb of the ladder is over."""
    began, give_up, relayed = time.monotonic(), 22 if want != "relay" else 12, None
    a.ctl_ok("ping", b.name)
    while True:
        now = time.monotonic()
        va, vb = seen(a, b), seen(b, a)
        up = va.get("state") == vb.get("state") == "up"
        if up and va["direct"] and vb["direct"]:
            rungs = {v.get("rung") for v in (va, vb)}
            outcome = "birthday" if "birthday" in rungs else "predict" if "predict" in rungs else "direct"
            after = [v["directAfterMilliseconds"] / 1000 if v.get("directAfterMilliseconds", -1) >= 0 else now - began for v in (va, vb)]
            return outcome, max(after), va
        relayed = relayed or (now if up else None)
        if relayed and want == "relay" and now - relayed > 3.5:
            return "relay", relayed - began, va
        if now - began > give_up:
            return ("relay" if up else "none"), now - began, va
        if not up:
            a.ctl_ok("ping", b.name)
        time.sleep(0.1)


class Matrix:
    def __init__(self, lab, found, pairs):
        self.lab, self.found, self.pairs = lab, found, list(pairs)
        self.sites, self.busy, self.ready = Sites(lab), set(), threading.Condition()
        self.table = {}

    def take(self):
        """The next pair whose sites are free; None: no more."""
        with self.ready:
            while self.pairs:
                for i, (x, y) in enumerate(self.pairs):
                    names = {f"{x}A", f"{y}B"}
                    if not names & self.busy:
                        self.busy |= names
                        del self.pairs[i]
                        return x, y
                self.ready.wait()
            return None

    def work(self):
        while pair := self.take():
            try:
                self.one(*pair)
            finally:
                with self.ready:
                    self.busy -= {f"{pair[0]}A", f"{pair[1]}B"}
                    self.ready.notify_all()

    def one(self, x, y):
        want, began = best(x, y), time.monotonic()
        with self.ready:  # namespaces are made one at a time
            a = self.sites.site(self.short(x) + "A", x, **IMPAIR.get(x, {}))
            b = self.sites.site(self.short(y) + "B", y, **IMPAIR.get(y, {}))
        why = ""
        try:
            self.sites.start_pair(a, b)
            outcome, seconds, view = watch(a, b, want)
            if outcome != want:
                why = f"expected {want}; {view.get('attempts')} {view.get('nat')} {view.get('lastError')}"
            elif seconds > SECONDS.get(want, 20):
                why = f"later than {SECONDS[want]:g} s; {view.get('attempts')}"
        except LabError as e:
            outcome, seconds, view, why = "none", 0, {}, str(e)
        finally:
            self.sites.stop_pair(a, b)
        with self.ready:
            self.table[x, y] = outcome
            if why:
                self.found.append(f"{x} x {y}: {outcome} after {seconds:.2f} s, {why}")
            rung = f" by {view['rung']}" if view.get("rung") else ""
            print(f"     {'FAIL' if why else 'PASS'} {x} x {y}: {outcome}{rung} {seconds:.2f} s (in all {time.monotonic() - began:.1f} s)", flush=True)

    @staticmethod
    def short(profile):
        return profile.replace("-", "")[:9]

    def run(self):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for w in [pool.submit(self.work) for _ in range(AT_ONCE)]:
                w.result()

    def show(self):
        print(" " * 16 + "".join(f"{p:>11}" for p in PROFILES))
        for i, x in enumerate(PROFILES):
            cells = [SYMBOL[self.table[x, y]] + ("" if self.table[x, y] == best(x, y) else "!" + SYMBOL[best(x, y)]) if (x, y) in self.table else "." for y in PROFILES]
            print(f"     {x:11}" + "".join(f"{c if j >= i else '':>11}" for j, c in enumerate(cells)), flush=True)


@scenario("nat-matrix", "failures", "=0", seconds=110, why="a dozen pairs of sites; with --pass all 66, up to ten minutes each pass")
def nat_matrix(lab, found):
    """Twelve pairs of NAT classes (--pass N: all 66, N times; --shard i/n: a part of them): the best path there is, in time."""
    passes = OPTIONS["passes"]
    part, parts = OPTIONS["shard"]
    m = Matrix(lab, found, [])
    for _ in range(max(passes, 1)):
        m.pairs = [p for i, p in enumerate(PAIRS if passes else DOZEN) if i % parts == part - 1]
        m.run()
        if passes:
            m.show()
    return len(found)
