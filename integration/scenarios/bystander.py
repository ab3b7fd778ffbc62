"""Who has nothing to do with what happens: calls of one pod to a service of its own node, and beside them calls past all our rules
to the same pod's own address. On a machine that others use as well only the two together say something: a call that took longer
because the machine was busy takes longer past our rules, too."""
import contextlib
import os
import statistics
import sys
import threading

from fixtures import answers, deploy, shop
from lab import wait_for
from node import HTTP, Inside

VIP = "10.96.0.99"
WINDOW_S, EVERY_MS = 1, 40  # every call costs the machine that is judged a millisecond
# Below this nobody notices a factor. What others do on the machine comes on top, be it scenarios (accept --jobs) or programs that had
# all processors busy before we began: on a machine of its own it is the lower one.
ENOUGH_MS = 50 if "EDGEMESH_BESIDE" in os.environ or os.getloadavg()[0] >= os.cpu_count() else 5


def p99_ms(calls):
    took = sorted(seconds for _, _, seconds in calls)
    return took[int(len(took) * 0.99)] * 1000 if took else 0


def usual_p99_ms(calls):
    """The median over the seconds of a run: what one busy moment of the machine does not move."""
    seconds = {}
    for call in calls:
        seconds.setdefault(int((call[0] - calls[0][0]) / WINDOW_S), []).append(call)
    return statistics.median(p99_ms(some) for some in seconds.values()) if seconds else 0


class Window(threading.Thread):
    """One second of calls to one address."""

    def __init__(self, client, host, port):
        super().__init__(daemon=True)
        self.client, self.host, self.port, self.calls = client, host, port, []
        self.start()

    def run(self):
        self.calls = self.client.client("steady", self.host, self.port, WINDOW_S, EVERY_MS).get("calls", [])


class Bystander:
    """Service calm over one pod of the node; call watch() around what happens to others."""

    def __init__(self, found, nodes, client, server, serve=True):
        """With nodes the service is in their manifests; without, objects() are for whoever brings them there."""
        self.found, self.client, self.server = found, client, server
        self.ours, self.past = (client, VIP, 80), (client, server.ip, HTTP)
        if serve:
            server.serve()
        if nodes:
            deploy(nodes, [server], "calm", ips=[VIP])

    def objects(self):
        return shop([self.server], "calm", [VIP])

    def ready(self):
        wait_for("the bystanders' service answers", lambda: answers(self.client, [self.server], VIP, n=3), 15)
        return self

    def windows(self, done):
        """-> [(p99 of the service, p99 past our rules)], one pair per second until done(), at least one."""
        out = []
        while not out or not done(len(out)):
            ours, past = Window(*self.ours), Window(*self.past)
            ours.join(), past.join()
            failed = [a for _, a, _ in ours.calls if a.startswith("!")]
            self.found.check(ours.calls and not failed, f"bystanders: {len(failed)} of {len(ours.calls)} calls failed: {failed[:2]}")
            out.append((p99_ms(ours.calls), p99_ms(past.calls)))
        return out

    def settled(self, n=4):
        """What is usual now; for watch(before=...) when it has to be measured earlier."""
        return self.windows(lambda count: count >= n)

    @contextlib.contextmanager
    def watch(self, what, before=None):
        before = before or self.settled()
        over, meanwhile = threading.Event(), []
        thread = threading.Thread(target=lambda: meanwhile.extend(self.windows(lambda _: over.is_set())), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)
        self.judge(what, before, meanwhile)

    def judge(self, what, before, meanwhile):
        was, past_was = (statistics.median(column) for column in zip(*before))
        now, past_now = (statistics.median(column) for column in zip(*meanwhile))
        busier = max(1, past_now / max(past_was, 0.01))  # the machine, not we
        print(f"     {what}: bystanders' p99 {was:.1f} ms before, {now:.1f} ms meanwhile, worst second {max(m for m, _ in meanwhile):.1f} ms "
              f"(past our rules {past_was:.1f} and {past_now:.1f})", file=sys.stderr, flush=True)
        self.found.check(now <= max(2 * was * busier, ENOUGH_MS), f"{what}: bystanders' p99 went from {was:.1f} to {now:.1f} ms")


class Place(Inside):
    """A namespace of the lab that is neither a pod nor a node of ours."""

    def __init__(self, lab, ns):
        self.lab, self.ns = lab, ns

    def serve(self, name):
        self.start_server(name)
        return self


class Neighbour(Bystander):
    """Where the daemon itself comes and goes, and with it every service: the machine's own calls to a server next door that nobody
    made a service of. Past our rules is that server's own machine."""

    def __init__(self, lab, found, machine, next_door, ip, name="far"):
        self.found, server, client = found, Place(lab, next_door).serve(name), Place(lab, machine)
        self.ours, self.past = (client, ip, HTTP), (server, "127.0.0.1", HTTP)

    def of_service(self):
        """The same for calls to that server by the service address: for when the daemon runs."""
        out = Bystander.__new__(Bystander)
        out.found, out.ours, out.past = self.found, (self.ours[0], VIP, 80), self.ours
        return out
