"""The data set of the dns bench: N services in 100 namespaces as Kubernetes objects, as a zone file, as unbound's local data, and the
query files. Deterministic."""
import json
import os
import random

N, NAMESPACES, TTL = 10_000, 100, 30
OUTSIDE = ["api.example.com", "www.example.org", "registry.example.net", "storage.googleapis.example"]


def names():
    for i in range(N):
        yield f"svc-{i // NAMESPACES:04d}", f"team-{i % NAMESPACES:03d}", f"10.{96 + i // 65536}.{(i >> 8) & 255}.{i & 255}", i


def service(name, ns, ip):
    return {"metadata": {"name": name, "namespace": ns, "uid": f"u-{ns}-{name}", "resourceVersion": "1"},
            "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}}


def endpoint_slice(name, ns, i):
    return {"metadata": {"name": name + "-abcde", "namespace": ns, "uid": f"e-{ns}-{name}", "resourceVersion": "1",
                         "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": [{"addresses": [f"172.{16 + i // 65536}.{(i >> 8) & 255}.{i & 255}"], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}]}


def full(name, ns):
    return f"{name}.{ns}.svc.cluster.local"


def write(folder):
    def put(name, text):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    all_names = list(names())
    put("cluster.zone", "$ORIGIN cluster.local.\n$TTL 30\n@ SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ NS ns.dns\nns.dns A 127.0.0.1\n" + "".join(
        f"{full(n, ns)}. {TTL} A {ip}\n_http._tcp.{full(n, ns)}. {TTL} SRV 0 100 80 {full(n, ns)}.\n" for n, ns, ip, _ in all_names))
    put("unbound.conf", 'local-zone: "cluster.local." static\nlocal-data: "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 '
        '7200 1800 86400 5"\n' + "".join(f'local-data: "{full(n, ns)}. {TTL} A {ip}"\nlocal-data: "_http._tcp.{full(n, ns)}. {TTL} SRV 0 100 80 {full(n, ns)}."\n'
                                         for n, ns, ip, _ in all_names))
    r = random.Random(7)
    shuffled = [full(n, ns) for n, ns, _, _ in all_names]
    r.shuffle(shuffled)
    put("q-a.txt", "".join(f"{n} A\n" for n in shuffled))
    put("q-srv.txt", "".join(f"_http._tcp.{n} SRV\n" for n in shuffled))
    mix = []  # what pods ask: A, the AAAA beside it that is not there, and the search path of names outside
    for n in shuffled:
        x = r.random()
        mix.append(f"{n} A\n" if x < .45 else f"{n} AAAA\n" if x < .90
                   else f"{r.choice(OUTSIDE)}.team-{r.randrange(NAMESPACES):03d}.svc.cluster.local {r.choice(['A', 'AAAA'])}\n")
    put("q-mix.txt", "".join(mix))
    put("objects.json", json.dumps({
        "namespaces": [{"metadata": {"name": f"team-{i:03d}", "uid": f"ns{i}", "resourceVersion": "1"}} for i in range(NAMESPACES)],
        "services": [service(n, ns, ip) for n, ns, ip, _ in all_names],
        "endpointslices": [endpoint_slice(n, ns, i) for n, ns, _, i in all_names], "pods": []}))
