#!/usr/bin/env python3
"""What runs in a pod of the labs: ordinary servers that say who they are.
HTTP: / answers the pod's name; /client the caller's address; /bytes?n=N a body of N bytes whose SHA-256 is at /sha256?n=N; /healthz
answers 200 until /feels?status=N says otherwise.
TCP: a banner with the name first (the server speaks first), then echo; after the client's half-close one line with the count.
UDP: the name, a newline, and the datagram back; one that begins with "wait" is answered a second later."""
import argparse
import hashlib
import http.server
import random
import socket
import socketserver
import threading
import urllib.parse

BLOCK = random.Random(7).randbytes(1 << 20)


def body(n):
    """n bytes that differ everywhere a lost or doubled block would have to show."""
    for i in range(0, n, len(BLOCK)):
        tag = f"{i:016d}".encode()
        yield (tag + BLOCK[16:])[:n - i]


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""
    health = 200

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        n = int(query.get("n", "0"))
        if url.path == "/feels":
            Http.health = int(query["status"])
        if url.path == "/healthz":
            return self.text(self.name, Http.health)
        if url.path == "/bytes":
            self.head(n)
            for block in body(n):
                self.wfile.write(block)
            return
        if url.path == "/sha256":
            digest = hashlib.sha256()
            for block in body(n):
                digest.update(block)
            return self.text(digest.hexdigest())
        self.text(self.client_address[0] if url.path == "/client" else self.name)

    def text(self, s, status=200):
        data = (s + "\n").encode()
        self.head(len(data), status)
        self.wfile.write(data)

    def head(self, n, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(n))
        self.end_headers()

    def log_message(self, *_):
        pass


class Echo(socketserver.BaseRequestHandler):
    name = ""

    def handle(self):
        self.request.sendall((self.name + "\n").encode())
        n = 0
        while data := self.request.recv(65536):
            n += len(data)
            self.request.sendall(data)
        self.request.sendall(f"{n} bytes\n".encode())


class Threads(socketserver.ThreadingMixIn, socketserver.TCPServer):
    address_family, allow_reuse_address, daemon_threads, request_queue_size = socket.AF_INET6, True, True, 1024

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, *_):
        pass


def udp(name, port):
    """One socket per address: the answer leaves from the address that was asked, also on a host with several."""
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind(("::", port))
    while True:
        data, peer = s.recvfrom(65536)
        answer = name.encode() + b"\n" + data
        if data.startswith(b"wait"):
            threading.Timer(1.0, s.sendto, (answer, peer)).start()
        else:
            s.sendto(answer, peer)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--name", required=True)
    args.add_argument("--http", type=int, default=8080)
    args.add_argument("--tcp", type=int, default=2701)
    args.add_argument("--udp", type=int, default=9000)
    args = args.parse_args()
    Http.name = Echo.name = args.name
    servers = [Threads(("::", args.http), Http), Threads(("::", args.tcp), Echo)]
    threading.Thread(target=udp, args=(args.name, args.udp), daemon=True).start()
    for s in servers[1:]:
        threading.Thread(target=s.serve_forever, daemon=True).start()
    print("ready", flush=True)
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
