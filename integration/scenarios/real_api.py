"""Objects from a real kube-apiserver with etcd behind it, spoken to by kubectl; our own RBAC manifest is all the daemon may do."""
import json
import os
import shutil
import subprocess

import manifests
from api_source import Bench, kubeconfig
from fixtures import answers
from lab import LabError, wait_for
from registry import scenario

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "kubernetes")
HOST, PORT = "192.168.1.1", 6443
ADMIN = "YWRtaW4"
SERVICES = 1200  # of one page 500


def program(name):
    """From the folder KUBE_PROGRAMS names, else from PATH."""
    path = shutil.which(name, path=os.environ.get("KUBE_PROGRAMS", "") + os.pathsep + os.environ["PATH"])
    if not path:
        raise LabError(f"{name} is not here: KUBE_PROGRAMS=FOLDER names a folder with kube-apiserver, etcd and kubectl (docs/guide/kubernetes.md)")
    return path


class RealApi:
    def __init__(self, lab, ns):
        self.lab, self.ns, self.dir = lab, ns, os.path.join(lab.dir, "kube")
        os.makedirs(self.dir)
        with open(self.path("tokens.csv"), "w") as f:
            f.write(f'{ADMIN},admin,admin,"system:masters"\n')
        lab.run(ns, ["openssl", "genrsa", "-out", self.path("sa.key"), "2048"])
        self.etcd = self.daemon("etcd", "--data-dir", self.path("etcd"), "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls",
                                "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380")
        self.start()

    def path(self, name):
        return os.path.join(self.dir, name)

    def daemon(self, name, *args):
        with open(self.path(f"{name}.log"), "a") as log:
            return self.lab.start(self.ns, ["nice", "-n", "5", program(name), *args], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def start(self):
        self.server = self.daemon(
            "kube-apiserver", "--etcd-servers", "http://127.0.0.1:2379", "--bind-address", HOST, "--advertise-address", HOST, "--secure-port", str(PORT),
            "--cert-dir", self.dir, "--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "RBAC", "--token-auth-file",
            self.path("tokens.csv"), "--service-account-issuer", "https://lab", "--service-account-key-file", self.path("sa.key"),
            "--service-account-signing-key-file", self.path("sa.key"))
        wait_for("the API server is ready", self.ready, 60, every=0.5)

    def ready(self):
        if self.server.poll() is not None:
            with open(self.path("kube-apiserver.log")) as f:
                raise LabError("kube-apiserver ended: " + f.read()[-600:])
        return self.kubectl("get", "--raw", "/readyz", check=False) == "ok"

    def stop(self):
        self.server.kill()
        self.server.wait()

    def kubectl(self, *args, check=True, **kw):
        argv = [program("kubectl"), "--server", f"https://{HOST}:{PORT}", "--token", ADMIN, "--certificate-authority", self.path("apiserver.crt"),
                "--cache-dir", self.path("cache"), *args]
        r = self.lab.run(self.ns, argv, check=False, timeout=120, **kw)
        if check and r.returncode:
            raise LabError(f"kubectl {' '.join(args)}: {r.stderr.strip()[-400:]}")
        return r.stdout.strip()

    def apply(self, *objects):
        self.kubectl("apply", "--server-side", "-f", "-", input=manifests.to_yaml(*objects))

    def create(self, *objects):
        self.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def compact(self):
        """etcd forgets the past: whoever resumes from there must list anew."""
        ask = ["curl", "-sS", "http://127.0.0.1:2379/v3/kv/range", "-d", '{"key":"AA=="}']
        revision = json.loads(self.lab.run(self.ns, ask).stdout)["header"]["revision"]
        self.lab.run(self.ns, ["curl", "-sS", "http://127.0.0.1:2379/v3/kv/compaction", "-d", json.dumps({"revision": revision, "physical": True})])


@scenario("api-real", "failures", "=0", seconds=300, why="starts etcd and kube-apiserver three times", at_once=1, by_name=True)
def api_real(lab, found):
    """A real kube-apiserver: least privilege by our manifest, pages, watches, a CRD, a restart after compaction, no rights, no token."""
    bench = Bench(lab, found)
    node, client, servers = bench.node, bench.client, bench.servers
    api = RealApi(lab, "gw")
    for file in ("rbac.yaml", "crd-meshnode.yaml"):
        api.kubectl("apply", "-f", os.path.join(DEPLOY, file))

    def renew_token():
        with open(node.path("token"), "w") as f:
            f.write(api.kubectl("-n", "edgemesh-system", "create", "token", "edgemeshd", "--duration", "1h") + "\n")

    renew_token()
    shutil.copy(api.path("apiserver.crt"), node.path("api-ca.crt"))
    path = kubeconfig(node, f"https://{HOST}:{PORT}", tokenFile="token")
    with open(path) as f:
        text = f.read().replace("insecure-skip-tls-verify: true", "certificate-authority: api-ca.crt")
    with open(path, "w") as f:
        f.write(text)
    node.identity, node.extra = {}, {"source": {"kubeconfig": path}}

    api.create(*[manifests.service(f"many-{i}", [f"10.96.{8 + i // 250}.{1 + i % 250}"], [manifests.port(80)]) for i in range(SERVICES)])
    first, objects = bench.next_service()
    api.apply(manifests.node(node.name, node.ip), *bench.calm.objects(), *objects)
    node.start()
    bench.seen("the first service", first, 20)
    usual = bench.calm.ready().settled()
    table = node.ctl("services")["services"]
    found.check(sum(s["name"].startswith("many-") for s in table) == SERVICES, f"{len(table)} services of {SERVICES} and a few")
    found.check(not node.ctl("status")["problems"], f"problems: {node.ctl('status')['problems']}")

    ip, objects = bench.add_five(api, 5)
    name = objects[0]["metadata"]["name"]
    api.kubectl("delete", "endpointslices", "-l", f"kubernetes.io/service-name={name}")
    wait_for("a service without endpoints is refused", lambda: not answers(client, servers, ip), 5)
    api.apply(manifests.mesh_node("elsewhere", ["100.64.7.7"]))

    with bench.calm.watch("a kube-apiserver that is killed, comes back with a compacted past, and takes rights and token away", usual):
        api.stop()
        found.check(answers(client, servers, first, n=20), "with the API server dead")
        api.start()
        ip, objects = bench.next_service()
        api.apply(*objects)
        bench.seen("a service, after a restart", ip, 20)

        api.stop()
        for _ in range(3):
            api.start()
            api.apply(*bench.next_service()[1])
            api.compact()
            api.stop()
        api.start()
        ip, objects = bench.next_service()
        api.apply(*objects)
        bench.seen("a service, after a compaction", ip, 20)

        api.kubectl("delete", "clusterrolebinding", "edgemeshd")
        api.stop()
        api.start()
        wait_for("status names the missing right", lambda: "docs/guide/kubernetes.md" in " ".join(node.ctl("status")["problems"]), 30)
        found.check(answers(client, servers, first, n=5), "without rights")
        api.kubectl("apply", "-f", os.path.join(DEPLOY, "rbac.yaml"))
        ip, objects = bench.next_service()
        api.apply(*objects)
        bench.seen("a service, with the rights again", ip, 40)

        api.kubectl("-n", "edgemesh-system", "delete", "serviceaccount", "edgemeshd")
        api.stop()
        api.start()
        wait_for("status names the credentials", lambda: "renew the credentials" in " ".join(node.ctl("status")["problems"]), 40)
        api.kubectl("apply", "-f", os.path.join(DEPLOY, "rbac.yaml"))
        renew_token()
        ip, objects = bench.next_service()
        api.apply(*objects)
        bench.seen("a service, with a new token", ip, 40)
    wait_for("no problem is left", lambda: not node.ctl("status")["problems"], 40)
