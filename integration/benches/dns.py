"""dns: the name server with 10,000 services beside knot, nsd, unbound and the most a socket gives (an echo), one worker each: the server
on the last core, the client on the first, rounds interleaved and in turns from either end. Where allowed both run under SCHED_FIFO in
bursts, so that what else the machine does stays out of the figures. Beside queries per second, which client and server make together,
stands what one answer takes of the server's core."""
import contextlib
import json
import os
import statistics
import struct
import subprocess
import time

import dns_data
from dns_peers import PEERS
from lab import Lab, LabError, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
FIRST_PORT, BURST_MAX, WARM, PAUSE = 5301, 0.6, 0.1, 0.12
CHANGES = 300
TESTS = {  # metric -> client arguments, query file
    "udp_a_qps": (["-c", "4", "-w", "192"], "q-a.txt"),
    "mix_qps": (["-c", "4", "-w", "192"], "q-mix.txt"),
    "srv_qps": (["-c", "4", "-w", "192"], "q-srv.txt"),
    "tcp_pipelined_qps": (["-t", "-c", "16", "-w", "256"], "q-a.txt"),
    "tcp_conn_qps": (["-1", "-c", "8"], "q-a.txt"),
    "latency": (["-c", "1", "-w", "1"], "q-a.txt"),
}
LEAST = {("udp_a_qps", "limit"): 0.95, ("udp_a_qps", "knot"): 1.2, ("mix_qps", "limit"): 0.87, ("mix_qps", "nsd"): 1.3, ("srv_qps", "limit"): 0.95,
         ("tcp_pipelined_qps", "knot"): 8, **{("tcp_conn_qps", p): 1.0 for p in PEERS}}


def tree(pid):
    """pid and all its descendants."""
    children = {}
    for d in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{d}/stat") as f:
            children.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(d))
    out, todo = [], [pid]
    while todo:
        out.append(todo.pop())
        todo += children.get(out[-1], [])
    return out


def each_thread(pid, act):
    for p in tree(pid):
        with contextlib.suppress(OSError):
            for t in os.listdir(f"/proc/{p}/task"):
                act(int(t))


def real_time(pid, on):
    with contextlib.suppress(PermissionError):
        each_thread(pid, lambda t: os.sched_setscheduler(t, os.SCHED_FIFO if on else os.SCHED_OTHER, os.sched_param(5 if on else 0)))


def on_core_ns(pid):
    """What pid's threads have had of a core."""
    total = 0
    for p in tree(pid):
        with contextlib.suppress(OSError):
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/schedstat") as f:
                    total += int(f.read().split()[0])
    return total


def question(name, kind):
    return struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0" + struct.pack(">2H", kind, 1)


class Bench:
    def __init__(self, lab, args):
        self.lab, self.ns, self.cores = lab, lab.ns("bench"), sorted(os.sched_getaffinity(0))
        self.data = os.path.join(lab.dir, "data")
        self.seconds = min(args.seconds, BURST_MAX)
        os.makedirs(self.data)
        dns_data.write(self.data)
        self.blast = lab.tool("dns_blast", os.path.join(HERE, "dns", "blast.cc"), "-march=native")
        self.echo = lab.tool("dns_echo", os.path.join(HERE, "dns", "echo.cc"), "-march=native")
        self.server = os.path.join(lab.build, "bin", "dns_serve")
        if not os.path.exists(os.path.join(lab.build, "bin", "dns_serve")):
            subprocess.run(["ninja", "-C", lab.build, "dns_serve"], stdout=subprocess.DEVNULL, check=True)
        self.ports, self.processes = {}, {}

    def start(self):
        self.spawn("limit", lambda port, d: [self.echo, "127.0.0.1", str(port)])
        for name, argv in PEERS.items():
            self.spawn(name, lambda port, d, argv=argv: argv(port, d, self.data))
        self.spawn("ours", lambda port, d: [self.server, f"{self.data}/objects.json", f"127.0.0.1:{port}", "base", "--commands"],
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def spawn(self, name, argv, **kw):
        port, folder = FIRST_PORT + len(self.ports), os.path.join(self.lab.dir, name)
        os.makedirs(folder)
        os.chmod(folder, 0o777)
        out = {} if kw else {"log": name}
        p = self.lab.start(self.ns, ["taskset", "-c", str(self.cores[-1]), *argv(port, folder)], **kw, **out)
        self.ports[name], self.processes[name] = port, p
        wait_for(f"{name} answers", lambda: self.answers(name), 40)

    def client(self, name, arguments, queries, seconds, warm=WARM):
        argv = ["taskset", "-c", str(self.cores[0]), self.blast, "-s", "127.0.0.1", "-p", str(self.ports[name]), "-f", os.path.join(self.data, queries),
                "-d", str(seconds), "-W", str(warm), *arguments]
        if os.geteuid() == 0 and os.environ.get("EDGEMESH_LAB_WORLD") == "root":
            argv = ["chrt", "-f", "5", *argv]
        return json.loads(self.lab.run(self.ns, argv, timeout=60).stdout)

    def answers(self, name):
        if self.processes[name].poll() is not None:
            raise LabError(f"{name} ended with status {self.processes[name].returncode}")
        each_thread(self.processes[name].pid, lambda t: os.sched_setaffinity(t, {self.cores[-1]}))  # knot moves its own threads
        r = self.client(name, ["-c", "1", "-w", "1"], "q-a.txt", 0.05, 0)
        return r["rcvd"] > 0 and (name == "limit" or r["with_answer"] > 0)

    def measure(self, test, name):
        arguments, queries = TESTS[test]
        pid = self.processes[name].pid
        real_time(pid, True)
        try:
            began = on_core_ns(pid)
            r = self.client(name, arguments, queries, self.seconds)
            r["core_us"] = (on_core_ns(pid) - began) / 1000 / (r["qps"] * (self.seconds + WARM) or 1)  # the time before counting is at the same pace
            return r
        finally:
            real_time(pid, False)
            time.sleep(PAUSE)

    # ---- ours alone

    def command(self, what):
        p = self.processes["ours"]
        p.stdin.write(json.dumps(what) + "\n")
        p.stdin.flush()

    def figures(self):
        self.command({"ask": "figures"})
        return json.loads(self.processes["ours"].stdout.readline())

    def change_times(self):
        """From the moment a changed object is handed over to the first answer with it, in milliseconds; run inside the namespace."""
        program = os.path.join(HERE, "dns", "changes.py")
        r = subprocess.run(self.lab.inside(self.ns, ["taskset", "-c", str(self.cores[0]), "python3", program, str(self.ports["ours"]), str(CHANGES)]),
                           stdout=subprocess.PIPE, text=True, check=True, pass_fds=[self.processes["ours"].stdin.fileno()],
                           env={**os.environ, "COMMANDS_FD": str(self.processes["ours"].stdin.fileno())})
        return sorted(json.loads(r.stdout))


def run(report, args):
    with Lab("bench-dns", args.build) as lab:
        b = Bench(lab, args)
        b.start()
        lost = allocations = answers = 0
        for i in range(args.rounds):
            for test in TESTS:
                for name in ["limit", "ours", *PEERS][::-1 if i % 2 else 1]:
                    counted = name == "ours" and test in ("udp_a_qps", "mix_qps", "srv_qps")
                    before = b.figures()["allocations"] if counted else None
                    r = b.measure(test, name)
                    if counted:
                        allocations += b.figures()["allocations"] - before
                        answers += r["rcvd"]
                    if test == "latency":
                        report.add("latency_p50_us", name, r["p50_us"])
                        report.add("latency_p99_us", name, r["p99_us"])
                    else:
                        report.add(test, name, r["qps"])
                        report.add(test.replace("qps", "core_us"), name, r["core_us"])
                    lost += r["lost"] if name == "ours" and test == "tcp_pipelined_qps" else 0
        real_time(b.processes["ours"].pid, True)
        took = b.change_times()
        real_time(b.processes["ours"].pid, False)
        table = b.figures()["zone_heap"] / 2**20
    for test in TESTS:
        for peer in ["limit", *PEERS] if test != "latency" else []:
            report.figure(test, "q/s", peer, least=LEAST.get((test, peer)))
            report.figure(test.replace("qps", "core_us"), "us", peer)
    report.line("tcp_pipelined_lost", lost, "queries", most=0)
    for metric in ("latency_p50_us", "latency_p99_us"):
        for peer in ["limit", *PEERS]:
            report.figure(metric, "us", peer, most=1.05 if peer == "limit" else None)
    report.line("table_mib", table, "MiB", most=8)
    report.line("change_p50_ms", statistics.median(took), "ms")
    report.line("change_p99_ms", took[int(len(took) * 0.99)], "ms", most=1)
    report.line("allocations_per_answer", round(allocations / answers, 4), "", most=0)
    return report.kept
