"""The name server with several upstreams that are slow, lose packets, lie, or send its own questions back to it. Run as a program it is
the client: dns_upstreams.py ask COUNT PREFIX SERVER:PORT... prints, for each name <PREFIX><i>.example, the milliseconds, code and TTL of
the answer of each server, asked one after the other, as JSON."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    sys.path.insert(0, os.path.join(HERE, "..", "netns"))

from dns_faults import ask, urgent  # noqa: E402

NAMES = 400


def main():
    count, prefix, servers = int(sys.argv[2]), sys.argv[3], [s.rsplit(":", 1) for s in sys.argv[4:]]
    print(json.dumps([[ask(int(port), "0.0.0.0", f"{prefix}{i}.example", server=host) for host, port in servers] for i in range(count)]))


if __name__ == "__main__":
    sys.exit(main())

from lab import wait_for  # noqa: E402
from registry import scenario  # noqa: E402


class Place:
    """dns_serve in a namespace, with an upstream behind a cable of its own for each of `wires`; more says what an upstream is told."""

    def __init__(self, lab, wires, more=None):
        self.lab, self.ns = lab, lab.ns("dns")
        if not os.path.exists(os.path.join(lab.build, "bin", "dns_serve")):
            subprocess.run(["ninja", "-C", lab.build, "dns_serve"], stdout=subprocess.DEVNULL, check=True)
        self.file = os.path.join(lab.dir, "cases.json")
        service = {"metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
                   "spec": {"type": "ClusterIP", "clusterIP": "10.96.1.10", "clusterIPs": ["10.96.1.10"], "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}}
        with open(self.file, "w") as f:
            json.dump({"objects": {"services": [service]}, "configs": {"c": {"pods": "insecure", "ttl": 5, "forward": "mock"}},
                       "mock_upstream": {f"{k}{i}.example. A": [f"{k}{i}.example. 300 A 192.0.2.53"] for k in "nw" for i in range(NAMES)}}, f)
        self.upstreams = [self.upstream(i, wire, (more or {}).get(i, [])) for i, wire in enumerate(wires)]
        self.server = lab.start(self.ns, urgent([os.path.join(lab.build, "bin", "dns_serve"), self.file, "0.0.0.0:5300", "c", *self.upstreams]), log="dns_serve")
        wait_for("the server answers", lambda: self.service()[1] == 0, 20)

    def upstream(self, i, wire, more):
        ns = self.lab.ns(f"up{i}")
        self.lab.cable(self.ns, f"to{i}", ns, "eth0", **wire)
        mac = "02:00:00:00:{:02x}:{:02x}".format
        for where, dev, last in ((self.ns, f"to{i}", 1), (ns, "eth0", 2)):  # without ARP: what is lost is DNS
            self.lab.ip(where, f"link set {dev} address {mac(i, last)}", f"addr add 10.7.{i}.{last}/24 dev {dev}",
                        f"neigh replace 10.7.{i}.{3 - last} lladdr {mac(i, 3 - last)} nud permanent dev {dev}")
        program = [sys.executable, os.path.join(HERE, "..", "dns", "upstream.py"), self.file, f"10.7.{i}.2:53", "--back", f"10.7.{i}.1:5300", *more]
        self.lab.start(ns, urgent(program), log=f"upstream{i}")
        return f"10.7.{i}.2:53"

    def ask(self, count, prefix, *servers):
        argv = [sys.executable, os.path.abspath(__file__), "ask", str(count), prefix, *(servers or ["127.0.0.1:5300"])]
        return json.loads(self.lab.run(self.ns, urgent(argv), timeout=170).stdout)

    def service(self):
        argv = [sys.executable, os.path.join(HERE, "dns_faults.py"), "ask", "5300", "127.0.0.1", "1", "web.shop.svc.cluster.local"]
        return json.loads(self.lab.run(self.ns, argv).stdout)[0]

    def log(self):
        with open(self.lab.log("dns_serve")) as f:
            return f.read()


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


@scenario("dns-slow-one", "times", "<=2", seconds=180)
def dns_slow_one(lab, found):
    """One of three upstreams is slow: p99 of names nobody asked for before, beside that of a fast upstream asked directly."""
    place = Place(lab, [{"delay": 150}, {"delay": 10}, {"delay": 15}])
    wait_for("the fast upstream answers", lambda: place.ask(1, "w", place.upstreams[1])[0][0][1] == 0, 20)
    rows = place.ask(NAMES, "n", "127.0.0.1:5300", place.upstreams[1])
    found.check(all(r[1] == 0 for row in rows for r in row), "a name was not answered")
    return p99([row[0][0] for row in rows]) / p99([row[1][0] for row in rows])


@scenario("dns-loss", "ms", "<=800", seconds=180)
def dns_loss(lab, found):
    """30 % of all packets to and from three upstreams are lost: p99 of names nobody asked for before, and hardly one stays unanswered."""
    place = Place(lab, [{"delay": 5, "loss": 30}, {"delay": 5, "loss": 30, "seed": 2}, {"delay": 5, "loss": 30, "seed": 3}])
    rows = [row[0] for row in place.ask(NAMES, "n")]
    missed = sum(r[1] != 0 for r in rows)
    found.check(missed <= NAMES // 100, f"{missed} of {NAMES} names were not answered")
    return p99([r[0] for r in rows])


@scenario("dns-lies", "wrong", "=0", seconds=120)
def dns_lies(lab, found):
    """An upstream answers with a wrong id, another question, and records about other names; an honest one is further away."""
    place = Place(lab, [{}, {"delay": 10}], {0: ["--lies"]})
    rows = [row[0] for row in place.ask(100, "n")]
    wrong = sum(r[1] != 0 for r in rows)
    lab.run(place.ns, ["ip", "link", "set", "to1", "down"])
    alone = [row[0] for row in place.ask(3, "w")]
    found.check(all(r[1] == 2 for r in alone), f"with the liar alone something else than SERVFAIL was said: {alone}")
    found.check(place.service()[1] == 0, "service names are not answered any more")
    return wrong


@scenario("dns-loop", "wrong", "=0", seconds=120)
def dns_loop(lab, found):
    """An upstream sends everything back to the server: it is switched off, the other upstream answers, the server goes on."""
    place = Place(lab, [{}, {"delay": 10}], {0: ["--all-back"]})
    rows = [row[0] for row in place.ask(100, "n")]
    found.check("10.7.0.2:53 sends our own queries back to us, through others" in place.log(), "the loop was not noticed: " + place.log()[-500:])
    found.check("10.7.1.2:53 sends" not in place.log(), "an upstream that does not loop was switched off")
    found.check(place.service()[1] == 0, "service names are not answered any more")
    found.check(place.server.poll() is None, "the server is gone")
    return sum(r[1] != 0 for r in rows)


UNBOUND = """server:
 directory: "{dir}"
 chroot: ""
 username: ""
 pidfile: ""
 use-syslog: no
 interface: 127.0.0.1@853
 interface: 127.0.0.1@443
 tls-port: 853
 https-port: 443
 tls-service-key: "{dir}/server.key"
 tls-service-pem: "{dir}/server.pem"
 do-not-query-localhost: no
 local-zone: "example." static
"""


def make_certificates(lab):
    """An authority, and what it issues for the name dns.site.example."""
    def openssl(*argv):
        lab.call(["openssl", *argv])
    at = lambda name: os.path.join(lab.dir, name)  # noqa: E731
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=site", "-keyout", at("ca.key"), "-out", at("ca.pem"))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=dns", "-keyout", at("server.key"), "-out", at("server.csr"))
    with open(at("san"), "w") as f:
        f.write("subjectAltName=DNS:dns.site.example\n")
    openssl("x509", "-req", "-in", at("server.csr"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "30", "-extfile", at("san"), "-out", at("server.pem"))


@scenario("dns-encrypted", "wrong", "=0", seconds=120)
def dns_encrypted(lab, found):
    """unbound over TLS and over HTTPS: names are resolved on one connection each; with another name than its certificate's it is asked nothing."""
    ns = lab.ns("dns")
    make_certificates(lab)
    config = os.path.join(lab.dir, "unbound.conf")
    with open(config, "w") as f:
        f.write(UNBOUND.format(dir=lab.dir) + "".join(f' local-data: "n{i}.example. 300 A 192.0.2.53"\n' for i in range(100)))
    lab.start(ns, ["unbound", "-d", "-c", config], log="unbound")
    if not os.path.exists(os.path.join(lab.build, "bin", "dns_serve")):
        subprocess.run(["ninja", "-C", lab.build, "dns_serve"], stdout=subprocess.DEVNULL, check=True)
    empty = os.path.join(lab.dir, "cases.json")
    with open(empty, "w") as f:
        json.dump({"objects": {}, "configs": {"c": {}}}, f)
    wait_for("unbound listens", lambda: "853" in lab.run(ns, ["ss", "-ltn"]).stdout, 20)

    def rows(port, upstream, count):
        lab.start(ns, [os.path.join(lab.build, "bin", "dns_serve"), empty, f"127.0.0.1:{port}", "c", upstream, "--ca", os.path.join(lab.dir, "ca.pem")], log=f"serve{port}")
        wait_for("the server listens", lambda: f":{port} " in lab.run(ns, ["ss", "-lun"]).stdout, 20)
        argv = [sys.executable, os.path.abspath(__file__), "ask", str(count), "n", f"127.0.0.1:{port}"]
        return [row[0] for row in json.loads(lab.run(ns, argv, timeout=100).stdout)]

    wrong = 0
    for port, upstream in ((5301, "tls://127.0.0.1#dns.site.example"), (5302, "https://127.0.0.1/dns-query#dns.site.example")):
        got = rows(port, upstream, 100)
        wrong += sum(r[1] != 0 for r in got)
        far = "853" if upstream.startswith("tls") else "443"
        open_now = lab.run(ns, ["ss", "-Htn", "state", "established", f"( dport = :{far} )"]).stdout.splitlines()
        found.check(len(open_now) == 1, f"{upstream}: {len(open_now)} connections, one expected")
    stranger = rows(5303, "tls://127.0.0.1#other.example", 2)
    found.check(all(r[1] == 2 for r in stranger), f"a server with another name was believed: {stranger}")
    with open(lab.log("serve5303")) as f:
        log = f.read()
    found.check("tls://127.0.0.1:853#other.example" in log, f"the log does not say why: {log[-400:]}")
    return wrong
