#!/usr/bin/env python3
"""A scripted Kubernetes API server: list in pages, watch with bookmarks, 410 for what is too old; and everything that goes wrong
with real ones, on command. Plain HTTP or TLS, one thread per connection, standard library only.

  api_server.py --listen 192.168.1.1:6443 [--tls-cert F --tls-key F --client-ca F] [--token T] [--metaserver]

Commands are JSON lines on standard input, each answered by one JSON line on standard output:
  {"apply": [object, ...]} {"delete": [object, ...]}   change what is served
  {"fault": NAME, ...}                                  see Faults; {"fault": null} heals
  {"stats": true}                                       requests by path and kind of request, since the last time
  {"compact": true}                                     every older resourceVersion is too old from now on
  {"drop": true}                                        closes every watch in the middle of a line
  {"bookmark": true}                                    a bookmark on every watch
"""
import argparse
import base64
import http.server
import json
import socketserver
import ssl
import sys
import threading
import time
import urllib.parse

PATHS = {"/api/v1/namespaces": "Namespace", "/api/v1/nodes": "Node", "/api/v1/services": "Service", "/api/v1/endpoints": "Endpoints",
         "/api/v1/pods": "Pod",
         "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSlice", "/apis/networking.istio.io/v1beta1/destinationrules": "DestinationRule",
         "/apis/mesh.edgemeshd.io/v1alpha1/meshnodes": "MeshNode",
         "/apis/networking.istio.io/v1/gateways": "Gateway of Istio", "/apis/networking.istio.io/v1/virtualservices": "VirtualService",
         "/apis/networking.istio.io/v1/serviceentries": "ServiceEntry", "/apis/gateway.networking.k8s.io/v1/gateways": "Gateway",
         "/apis/gateway.networking.k8s.io/v1/httproutes": "HTTPRoute"}
ROUTES = {"Gateway of Istio", "VirtualService", "ServiceEntry", "Gateway", "HTTPRoute"}


def kind_of(o):
    return "Gateway of Istio" if o["kind"] == "Gateway" and o["apiVersion"].startswith("networking.istio.io/") else o["kind"]


class Store:
    """Objects by kind, and the log of their changes since the last compaction."""

    def __init__(self):
        self.changed = threading.Condition()
        self.version = self.oldest = int(time.time() * 10)  # a server that is started again goes on from there, without its log
        self.objects = {kind: {} for kind in PATHS.values()}
        self.log = []  # (version, kind, type, text)

    @staticmethod
    def key(o):
        return o["metadata"].get("namespace", ""), o["metadata"]["name"]

    def put(self, o):
        with self.changed:
            kept = self.objects[kind_of(o)]
            kind = "MODIFIED" if self.key(o) in kept else "ADDED"
            self.version += 1
            o["metadata"]["resourceVersion"] = str(self.version)
            text = json.dumps(o, separators=(",", ":"))
            kept[self.key(o)] = text
            self.log.append((self.version, kind_of(o), kind, text))
            self.changed.notify_all()

    def drop(self, o):
        with self.changed:
            text = self.objects[kind_of(o)].pop(self.key(o), None)
            if text is None:
                return
            self.version += 1
            gone = json.loads(text)
            gone["metadata"]["resourceVersion"] = str(self.version)
            self.log.append((self.version, kind_of(o), "DELETED", json.dumps(gone)))
            self.changed.notify_all()

    def compact(self):
        with self.changed:
            self.oldest, self.log = self.version, []
            self.changed.notify_all()


def chosen(query, text):
    """The one field selector that is asked for: spec.nodeName=..."""
    field, _, value = query.get("fieldSelector", "").partition("=")
    return field != "spec.nodeName" or json.loads(text).get("spec", {}).get("nodeName") == value


class Faults:
    """What the server does wrong at the moment.
      status {code, after}    that answer to everything            slow {seconds}    before every answer
      empty                   every list is empty                  refuse            connections are closed at once
      half                    every list ends in the middle
      huge {mib, shape}       the list of services is that large: one endless `name`, many `items` of an ordinary size, or brackets in brackets: `deep`
      endless {mib}           a line of that size on every watch of services that begins
      garbage                 a line that is no event, on every watch that begins
      expired                 every watch is too old (410, as an event)
      no_slices               404 for discovery.k8s.io             slices_500        500 for discovery.k8s.io
      no_pods                 403 for pods                 no_routes         403 for routes, gateways and service entries"""

    def __init__(self):
        self.name, self.args, self.cut, self.mark = None, {}, 0, 0

    def set(self, command):
        self.name, self.args = command["fault"], command

    def is_(self, name):
        return self.name == name


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "scripted"

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(6, 1, 1)  # TCP_NODELAY

    def do_GET(self):
        srv, faults = self.server, self.server.faults
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        kind = PATHS.get(url.path)
        watch = query.get("watch") in ("true", "1")
        with srv.store.changed:
            srv.stats.append(f"{'watch' if watch else 'page' if 'continue' in query else 'list'} {url.path}")
        if faults.is_("slow"):
            time.sleep(faults.args["seconds"])
        if faults.is_("refuse"):
            self.close_connection = True
            return
        if srv.token and self.headers.get("Authorization") != "Bearer " + srv.token:
            return self.status(401, "Unauthorized", "Unauthorized")
        if faults.is_("status"):
            return self.status(faults.args["code"], "Scripted", "as the script says", faults.args.get("after"))
        if "discovery.k8s.io" in url.path and (faults.is_("no_slices") or faults.is_("slices_500")):
            return self.status(404 if faults.is_("no_slices") else 500, "NotFound", 'no kind "EndpointSliceList" is registered')
        if kind == "Pod" and faults.is_("no_pods"):
            return self.status(403, "Forbidden", 'pods is forbidden: cannot list resource "pods"')
        if kind in ROUTES and faults.is_("no_routes"):
            return self.status(403, "Forbidden", f'cannot list resource "{url.path.rsplit("/", 1)[1]}"')
        if kind is None:
            return self.plain(404, "404 page not found\n")
        try:
            return self.watch(kind, query) if watch else self.list(kind, query)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    # ---- answers
    def plain(self, code, text, type_="text/plain"):
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def status(self, code, reason, message, after=None):
        body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if after:
            self.send_header("Retry-After", str(after))
        self.end_headers()
        self.wfile.write(body)

    def list(self, kind, query):
        store, faults = self.server.store, self.server.faults
        with store.changed:
            items, version, oldest = sorted(store.objects[kind].items()), store.version, store.oldest
        items = [(k, text) for k, text in items if chosen(query, text)]
        if faults.is_("empty"):
            items = []
        start = 0
        if "continue" in query and not self.server.meta:
            version, start = json.loads(base64.b64decode(query["continue"]))
            if version < oldest:
                return self.status(410, "Expired", "the provided continue parameter is too old")
        limit = int(query.get("limit", 0)) if not self.server.meta else 0
        page = items[start:start + limit] if limit else items[start:]
        more = start + len(page) < len(items)
        meta = {} if self.server.meta else {"resourceVersion": str(version)}
        if more:
            meta["continue"] = base64.b64encode(json.dumps([version, start + limit]).encode()).decode()
        head = f'{{"kind":"{kind.split()[0]}List","apiVersion":"v1","metadata":{json.dumps(meta)},"items":['
        if faults.is_("huge") and kind == "Service":
            return self.huge(head, faults.args["mib"], faults.args.get("shape", "name"))
        body = (head + ",".join(text for _, text in page) + "]}").encode()
        if faults.is_("half"):
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:len(body) // 2])
            return
        self.plain(200, body.decode(), "application/json")

    def huge(self, head, mib, shape):
        item = b'{"metadata":{"namespace":"n","name":"s","annotations":{"a":"' + b"x" * (1 << 15) + b'"}},"spec":{"clusterIP":"10.97.0.1"}},'
        start, piece = {"name": (b'{"metadata":{"name":"', b"x" * (1 << 20)), "items": (b"", item * 32), "deep": (b'{"metadata":', b'{"a":[' * (1 << 17))}[shape]
        self.begin_stream()
        self.chunk(head.encode() + start)
        self.pour(piece, mib)
        self.chunk(b"")

    def pour(self, piece, mib):
        for _ in range((mib << 20) // len(piece) + 1):
            self.chunk(piece)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, type_, text):
        self.chunk(f'{{"type":"{type_}","object":{text}}}\n'.encode())

    def watch(self, kind, query):
        store, faults = self.server.store, self.server.faults
        end = time.monotonic() + int(query.get("timeoutSeconds", 300))
        self.begin_stream()
        with store.changed:
            at, fresh = int(query.get("resourceVersion") or 0), not query.get("resourceVersion")
            synthetic = list(store.objects[kind].values()) if fresh else []
            at = store.version if fresh else at
            cut, mark = faults.cut, faults.mark
        for text in synthetic:
            self.event("ADDED", text)
        if faults.is_("endless") and kind == "Service":
            self.chunk(b'{"type":"ADDED","object":{"metadata":{"name":"')
            self.pour(b"x" * (1 << 20), faults.args["mib"])
        if faults.is_("garbage"):
            self.chunk(b'{"type":"ADDED","object":{"metadata"\n')
        while time.monotonic() < end:
            with store.changed:
                if not fresh and (at < store.oldest or faults.is_("expired")):
                    too_old = True
                else:
                    too_old = False
                    news = [e for e in store.log if e[0] > at and e[1] == kind]
                    if not news and (cut, mark) == (faults.cut, faults.mark):
                        store.changed.wait(0.5)
                        news = [e for e in store.log if e[0] > at and e[1] == kind]
                    version = store.version
            if too_old:
                self.event("ERROR", '{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}')
                break
            for _, _, type_, text in news:
                if chosen(query, text):
                    self.event(type_, text)
            at = version
            if mark != faults.mark:
                mark = faults.mark
                self.event("BOOKMARK", json.dumps({"kind": kind.split()[0], "metadata": {"resourceVersion": str(at)}}))
            if cut != faults.cut:
                self.chunk(b'{"type":"DELETED","object":{"metadata":{"na')
                self.close_connection = True
                return
        self.chunk(b"")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, allow_reuse_address = True, True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass

    def get_request(self):
        sock, address = self.socket.accept()
        return (self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) if self.tls else sock), address


def obey(srv, command):
    if "apply" in command:
        for o in command["apply"]:
            srv.store.put(o)
    if "delete" in command:
        for o in command["delete"]:
            srv.store.drop(o)
    if "fault" in command:
        srv.faults.set(command)
    if "compact" in command:
        srv.store.compact()
    if "drop" in command:
        with srv.store.changed:
            srv.faults.cut += 1
            srv.store.changed.notify_all()
    if "bookmark" in command:
        with srv.store.changed:
            srv.faults.mark += 1
            srv.store.changed.notify_all()
    if "stats" in command:
        with srv.store.changed:
            seen, srv.stats = srv.stats, []
        counts = {}
        for s in seen:
            counts[s] = counts.get(s, 0) + 1
        return counts
    return {"version": srv.store.version}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--listen", default="127.0.0.1:0")
    args.add_argument("--tls-cert")
    args.add_argument("--tls-key")
    args.add_argument("--client-ca", help="clients must show a certificate of this authority")
    args.add_argument("--token", help="clients must send it")
    args.add_argument("--metaserver", action="store_true", help="no pages, no resourceVersions in lists")
    args = args.parse_args()
    host, port = args.listen.rsplit(":", 1)
    srv = Server((host, int(port)), Handler)
    srv.store, srv.faults, srv.stats, srv.token, srv.meta, srv.tls = Store(), Faults(), [], args.token, args.metaserver, None
    if args.tls_cert:
        srv.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        srv.tls.load_cert_chain(args.tls_cert, args.tls_key)
        srv.tls.set_alpn_protocols(["http/1.1"])
        if args.client_ca:
            srv.tls.load_verify_locations(args.client_ca)
            srv.tls.verify_mode = ssl.CERT_REQUIRED
    threading.Thread(target=srv.serve_forever, daemon=True).start()
    print(json.dumps({"port": srv.server_address[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(obey(srv, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
