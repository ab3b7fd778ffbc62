"""SOCKS5 by node name: the right node, the right password, and for everything else the right code."""
import concurrent.futures
import os
import re
import socket
import struct
import sys

from fixtures import VIP, VIP6, deploy
from lab import wait_for
from node import SERVICE_IP, join
from registry import scenario
from topology import lan2

PORT, LOGIN = 10800, "operator:let me in"
LOGINS = 50


def curl(place, url, login=LOGIN, seconds=15):
    """-> what came, or the SOCKS5 code in the way curl tells it: "code 5", "no login", else its whole complaint."""
    auth = ["--proxy-user", login] if login else []
    r = place.run("curl", "-sS", "-g", "--noproxy", "", "--max-time", str(seconds), "--socks5-hostname", f"{SERVICE_IP}:{PORT}", *auth, url, check=False)
    if r.returncode == 0:
        return r.stdout.strip()
    if m := re.search(r"SOCKS5 connection to .*\((\d+)\)", r.stderr):
        return f"code {m[1]}"
    return "no login" if re.search(r"rejected by the SOCKS5 server|No authentication method was acceptable|authentication", r.stderr) else "!" + r.stderr.strip()


RAW = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
user, password = sys.argv[3].encode().split(b":", 1)
s.sendall(b"\\x05\\x01\\x02"); assert s.recv(2) == b"\\x05\\x02"
s.sendall(b"\\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password); assert s.recv(2) == b"\\x01\\x00"
s.sendall(bytes.fromhex(sys.argv[4]))
print("code", s.recv(10)[1])
"""


def raw(place, request):
    """The code for a request that curl cannot make."""
    r = place.run(sys.executable, "-c", RAW, SERVICE_IP, str(PORT), LOGIN, request.hex(), check=False)
    return r.stdout.strip() or r.stderr.strip()[-200:]


def start_nodes(lab, found):
    a, b, c, d = nodes = lan2(lab, pods_a=1, pods_b=1, names=("A", "B", "C", "D"))
    join(nodes)
    users = os.path.join(a.dir, "users")
    with open(users, "w") as f:
        f.write(f"# who may\n{LOGIN}\n")
    os.chmod(users, 0o600)
    a.extra = {"mesh": {"network": "lan", "socks5": {"enabled": True, "users": users, "connectTimeout": "4s"}, "openPorts": [{"port": 8080}]}}
    b.extra = {"mesh": {"network": "lan", "openPorts": [{"port": p} for p in (8080, 8081, 9999)]}}
    c.extra = {"mesh": {"network": "lan", "openPorts": [{"port": 8080}, {"port": 2701, "nodes": ["node-b"]}]}}
    for n in (a, b, c):  # programs of the nodes themselves
        n.start_server(f"host-{n.name}")
    lab.nft("B", "table ip silent { chain c { type filter hook input priority 10; tcp dport 9999 drop; }; }\n")
    pods = list(b.pods.values())
    for p in pods:
        p.serve()
    deploy([a, b], pods)
    for n in (a, b, c):  # D has a MeshNode and no daemon
        n.start(wait=False)
    for n in (a, b, c):
        wait_for(f"{n.name} ready", n.ready, 20)
    return a, b, c, d, pods


@scenario("socks5", "failures", "=0")
def socks5(lab, found):
    """50 logins at once reach each its own node; wrong passwords, unknown, dead, silent and closed ports each get their code."""
    a, b, c, d, pods = start_nodes(lab, found)
    pod = next(iter(a.pods.values()))
    for n in (b, c):
        wait_for(f"{n.name} is reached by name", lambda n=n: curl(a, f"http://{n.name}:8080/") == f"host-{n.name}", 20)

    def one(i):
        n = (a, b, c)[i % 3]
        return n.name, curl(pod if i % 2 else a, f"http://{n.name}:8080/")

    with concurrent.futures.ThreadPoolExecutor(LOGINS) as pool:
        wrong = [(name, got) for name, got in pool.map(one, range(LOGINS)) if got != f"host-{name}"]
    found.same(wrong, [], f"{len(wrong)} of {LOGINS} parallel logins")

    found.same(curl(a, "http://node-b:8080/", "operator:wrong"), "no login", "a wrong password")
    found.same(curl(a, "http://node-b:8080/", ""), "no login", "no password")
    v4 = socket.inet_aton
    for what, got, want in (
            ("a port that is not open to us", lambda: curl(a, "http://node-c:2701/"), "code 2"),
            ("an address of neither node nor service", lambda: curl(a, "http://192.168.1.1:80/"), "code 2"),
            ("a node without a daemon", lambda: curl(a, "http://node-d:8080/"), "code 3"),
            ("an unknown node", lambda: curl(a, "http://node-x:8080/"), "code 4"),
            ("an open port without a server", lambda: curl(a, "http://node-b:8081/"), "code 5"),
            ("an open port that is silent", lambda: curl(a, "http://node-b:9999/"), "code 6"),
            ("BIND", lambda: raw(a, b"\x05\x02\x00\x01" + v4(VIP) + struct.pack(">H", 80)), "code 7"),
            ("another kind of address", lambda: raw(a, b"\x05\x01\x00\x09" + bytes(6)), "code 8"),
            ("a node by its overlay address", lambda: curl(a, f"http://{b.overlay}:8080/"), "host-node-b"),
            ("a service by name", lambda: curl(pod, "http://shop.default.svc.cluster.local/"), pods[0].name),
            ("a service by address", lambda: curl(a, f"http://{VIP}/"), pods[0].name),
            ("a service by IPv6 address", lambda: curl(a, f"http://[{VIP6}]/"), pods[0].name)):
        found.same(got(), want, what)
    metrics = a.run("curl", "-sS", "http://127.0.0.1:10551/metrics").stdout
    found.check('edgemeshd_socks5_requests_total{answer="refused"} 1' in metrics and "edgemeshd_socks5_logins_refused_total 2" in metrics, "the metrics do not tell of it")
    return len(found)
