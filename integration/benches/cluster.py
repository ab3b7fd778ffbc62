"""A large cluster as an API server sends it: objects with all that real ones carry (managedFields, owners, uids), of which the
daemon reads a part; and a server that gives out lists rendered beforehand and events at once, so that what is measured is its client."""
import json
import socket
import threading
import urllib.parse

PATHS = {"/api/v1/namespaces": "Namespace", "/api/v1/nodes": "Node", "/api/v1/services": "Service", "/api/v1/endpoints": "Endpoints",
         "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice", "/apis/networking.istio.io/v1beta1/destinationrules": "DestinationRule",
         "/apis/mesh.edgemeshd.io/v1alpha1/meshnodes": "MeshNode"}
NODES, NAMESPACES, PAGE = 50, 40, 500
OWN_ENDPOINTS = ["172.17.0.1", "172.17.1.1", "172.17.1.2", "172.17.1.3"]  # addresses of the node that is measured


def uid(i):
    return f"{i * 2654435761 % 2**32:08x}-1d3c-4c1e-9d2f-{i:012x}"


def names(i):
    return f"team-{i % NAMESPACES}", f"backend-{i:05}"


def vip(i):
    return f"10.96.{i // 250}.{i % 250 + 1}"


def endpoint_ips(i, count):
    """Of service i; the last service's are of the node itself, so that it can be called."""
    first = i * count
    return [f"10.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(first, first + count)]


def managed(manager, fields):
    return [{"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-11-02T08:15:30Z", "fieldsType": "FieldsV1",
             "fieldsV1": {f"f:{x}": {".": {}, "f:value": {}} for x in fields}}]


def service(i, port=8080):
    ns, name = names(i)
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": ns, "uid": uid(i), "resourceVersion": str(1000 + i), "creationTimestamp": "2026-11-02T08:15:30Z",
                         "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": ns, "app.kubernetes.io/managed-by": "Helm"},
                         "annotations": {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": ns},
                         "managedFields": managed("helm", ["internalTrafficPolicy", "ports", "selector", "sessionAffinity", "type"])},
            "spec": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": port}],
                     "selector": {"app.kubernetes.io/name": name}, "clusterIP": vip(i), "clusterIPs": [vip(i)], "type": "ClusterIP",
                     "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster"},
            "status": {"loadBalancer": {}}}


def endpoint_slice(i, ips, part=0, ready=True, port=8080):
    ns, name = names(i)
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-{part:02}x7q", "generateName": name + "-", "namespace": ns, "uid": uid(i + 100000 * (part + 1)),
                         "resourceVersion": str(20000 + i), "generation": 4, "creationTimestamp": "2026-11-02T08:15:30Z",
                         "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": ns,
                                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io", "kubernetes.io/service-name": name},
                         "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-02T08:16:02Z"},
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": name, "uid": uid(i), "controller": True, "blockOwnerDeletion": True}],
                         "managedFields": managed("kube-controller-manager", ["addressType", "endpoints", "ports", "ownerReferences", "labels"])},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip], "conditions": {"ready": ready, "serving": ready, "terminating": False},
                           "nodeName": f"worker-{(i + k) % NODES:03}", "zone": f"eu-central-1{'abc'[(i + k) % NODES % 3]}",
                           "targetRef": {"kind": "Pod", "namespace": ns, "name": f"{name}-6d4cf56db6-{(i * 7 + part * 100 + k) % 99999:05}",
                                         "uid": uid(i * 131 + k)}} for k, ip in enumerate(ips)],
            "ports": [{"name": "http", "protocol": "TCP", "port": port}]}


def node(n):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"worker-{n:03}", "labels": {"topology.kubernetes.io/zone": f"eu-central-1{'abc'[n % 3]}"}},
            "spec": {"podCIDR": f"10.{64 + n}.0.0/24"}, "status": {"addresses": [{"type": "InternalIP", "address": f"10.1.0.{n + 1}"}]}}


def cluster(services, per_service, slice_size=100):
    """Objects by kind. The last service's endpoints can be called."""
    slices = []
    for i in range(services):
        ips = OWN_ENDPOINTS if i == services - 1 and per_service == len(OWN_ENDPOINTS) else endpoint_ips(i, per_service)
        slices += [endpoint_slice(i, ips[at:at + slice_size], at // slice_size) for at in range(0, len(ips), slice_size)]
    return {"Namespace": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in ["default", *(f"team-{k}" for k in range(NAMESPACES))]],
            "Node": [node(n) for n in range(NODES)], "Service": [service(i) for i in range(services)], "EndpointSlice": slices}


class ApiServer:
    """HTTP/1.1 on one port, a thread per connection. Custom resources are not there (404)."""

    def __init__(self, objects, port):
        self.pages, self.watches, self.version = {}, {}, 50000
        for kind in set(PATHS.values()):
            self.render(kind, objects.get(kind, []))
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def render(self, kind, items):
        texts = [json.dumps(o, separators=(",", ":")) for o in items]
        for start in range(0, max(1, len(texts)), PAGE):
            page, more = texts[start:start + PAGE], start + PAGE < len(texts)
            meta = {"resourceVersion": str(self.version), **({"continue": str(start + PAGE), "remainingItemCount": len(texts) - start - PAGE} if more else {})}
            body = f'{{"kind":"{kind}List","apiVersion":"v1","metadata":{json.dumps(meta)},"items":[{",".join(page)}]}}\n'.encode()
            self.pages[kind, start] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                got = connection.recv(65536)
                if not got:
                    return
                pending += got
            head, pending = pending.split(b"\r\n\r\n", 1)
            self.answer(connection, head.split(b" ", 2)[1].decode())

    def answer(self, connection, target):
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        kind = PATHS.get(url.path)
        if kind in (None, "DestinationRule", "MeshNode"):
            return connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")
        if query.get("watch") == "true":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.watches[kind] = connection
            return None
        return connection.sendall(self.pages[kind, int(query.get("continue", 0))])

    def event(self, o):
        """The bytes of a change, to be sent on self.watches[kind]."""
        self.version += 1
        o["metadata"]["resourceVersion"] = str(self.version)
        line = json.dumps({"type": "MODIFIED", "object": o}, separators=(",", ":")).encode() + b"\n"
        return b"%x\r\n%s\r\n" % (len(line), line)
