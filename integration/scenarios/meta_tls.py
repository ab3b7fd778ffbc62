"""EdgeMesh's agent files with a MetaServer that is really asked: plain, over TLS with a token, over TLS with both certificates."""
import os

import manifests
import bystander
from api_source import ApiServer, as_endpoints, cluster
from install import HEAD, edgemesh_start, machines, stop
from lab import wait_for
from registry import scenario

AT, VIP = "127.0.0.1:10550", "10.96.0.7"
TOKENS = ("b25l", "dHdv")
PKI = """set -e
new() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }
sign() { openssl req -new -key $1.key -subj "$2" -out $1.csr; printf '%s\\n' "$3" > $1.ext; openssl x509 -req -in $1.csr -CA $4.crt -CAkey $4.key -CAcreateserial -days 30 -extfile $1.ext -out $1.crt; }
for ca in rootCA other; do new $ca; openssl req -x509 -key $ca.key -subj /CN=KubeEdge -days 30 -out $ca.crt; done
new meta; sign meta /O=KubeEdge/CN=KubeEdge "subjectAltName=IP:127.0.0.1,IP:169.254.30.10" rootCA
new stranger; sign stranger /O=KubeEdge/CN=KubeEdge "subjectAltName=IP:127.0.0.1" other
new server; sign server /O=system:nodes/CN=system:node:edge-1 "extendedKeyUsage=clientAuth" rootCA
"""


class Edge:
    """A machine with EdgeCore's files, a service one host away, and EdgeMesh's agent file on it."""

    def __init__(self, lab, found):
        self.lab, self.found = lab, found
        (self.m,) = machines(lab, "edge-1")
        for p in ("edgemeshd", "edgemeshctl"):
            os.symlink(os.path.join(lab.build, "bin", p), os.path.join(self.m.dir, "local", "bin", p))
        self.m.run("mkdir -p /etc/edgemesh/metaserver /run/secrets/kubernetes.io/serviceaccount && cd /etc/edgemesh/metaserver && { " + PKI + "} 2>&1")
        self.calm = bystander.Neighbour(lab, found, self.m.ns, "gw", "192.168.1.1")
        self.objects = [*cluster(self.m), *self.service("calm", bystander.VIP), *self.service("shop", VIP)]

    def service(self, name, vip):
        ports = [manifests.port(80, 8080, "http")]
        endpoints = as_endpoints(name, [], ports)
        endpoints["subsets"][0]["addresses"] = [{"ip": "192.168.1.1"}]
        return manifests.service(name, [vip], ports), endpoints

    def pki(self, name):
        return os.path.join(self.m.dir, "etc", "edgemesh", "metaserver", name)

    def token(self, text):
        self.m.run(f"echo {text} > /run/secrets/kubernetes.io/serviceaccount/token")

    def server(self, *args):
        api = ApiServer(self.lab, "A", AT, "--metaserver", *args)
        api.apply(*self.objects)
        return api

    def tls(self, name="meta"):
        return ["--tls-cert", self.pki(f"{name}.crt"), "--tls-key", self.pki(f"{name}.key")]

    def start(self, meta_server):
        doc = {**HEAD, "modules": {"edgeProxy": {"enable": True}, "edgeDNS": {"enable": True}}}
        if meta_server:
            doc["kubeAPIConfig"] = {"metaServer": meta_server}
        manifests.write(os.path.join(self.m.dir, "etc", "edgemesh", "agent.yaml"), doc)
        self.m.run("rm -rf /var/lib/edgemeshd/*")
        edgemesh_start(self.m, "/etc/edgemesh/agent.yaml", "--config-file", "NODE_NAME=edge-1 NAMESPACE=kubeedge")

    def answers(self, vip=VIP):
        return self.m.run(f"curl -sS --max-time 2 http://{vip}/", check=False).strip() == "far"

    def serves(self, what):
        wait_for(f"{what}: the service answers", self.answers, 15, 0.2)
        got = self.m.run("dig +short +time=2 +tries=2 @169.254.96.16 shop.default.svc.cluster.local", check=False).split()
        self.found.same(got, [VIP], f"{what}: the name")

    def problems(self):
        return self.m.run("edgemeshctl status -o json", check=False)


@scenario("c20", "failures", "=0", seconds=120, why="six starts of the daemon, each with another MetaServer", at_once=2)
def c20(lab, found):
    """EdgeMesh's agent files and a MetaServer over http, one-way TLS and mTLS: objects are served; a strange server and no certificate are refused in words."""
    edge = Edge(lab, found)
    secure = {"server": f"http://{AT}", "security": {"requireAuthorization": True}}
    one_way = {**secure, "security": {"requireAuthorization": True, "insecureSkipTLSVerify": True}}
    named = {"server": f"https://{AT}", "security": {"requireAuthorization": True, "tlsCaFile": "/etc/edgemesh/metaserver/rootCA.crt",
                                                     "tlsCertFile": "/etc/edgemesh/metaserver/server.crt", "tlsPrivateKeyFile": "/etc/edgemesh/metaserver/server.key"}}
    edge.token(TOKENS[0])
    mutual = [*edge.tls(), "--token", TOKENS[0], "--client-ca", edge.pki("rootCA.crt")]
    usual = edge.calm.settled()
    for what, file, args in (("http, by default", None, []), ("one-way TLS and a token", one_way, [*edge.tls(), "--token", TOKENS[0]]),
                             ("mTLS and a token, default paths", secure, mutual), ("mTLS, paths of the file", named, mutual)):
        with edge.calm.watch(f"{what} (the machine to its router)", usual):
            api = edge.server(*args)
            edge.start(file)
            edge.serves(what)
        if what != "mTLS, paths of the file":
            stop(edge.m)
            api.stop()

    with edge.calm.of_service().watch("the MetaServer dead, then with a new token"):
        api.stop()
        found.check(edge.answers(), "with the MetaServer dead")
        edge.token(TOKENS[1])
        api.args = ["--metaserver", *edge.tls(), "--token", TOKENS[1], "--client-ca", edge.pki("rootCA.crt")]
        edge.objects[-2]["spec"].update(clusterIP="10.96.0.8", clusterIPs=["10.96.0.8"])
        api.kept = {}
        api.start()
        api.apply(*edge.objects)
        wait_for("a change, from a MetaServer with a new token", lambda: edge.answers("10.96.0.8"), 40, 0.3)
    stop(edge.m), api.stop()

    for what, file, args, words in (("a server of another CA", secure, [*edge.tls("stranger"), "--token", TOKENS[1]], "another CA than ours"),
                                    ("a server that wants a certificate, none is shown", one_way, mutual, "certificate required")):
        api = edge.server(*args)
        edge.start(file)
        wait_for(f"{what}: status says so", lambda: words in edge.problems(), 10, 0.3)
        found.check(not edge.answers("10.96.0.8"), f"{what}: objects are served")
        stop(edge.m), api.stop()
