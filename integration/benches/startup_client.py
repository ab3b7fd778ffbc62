#!/usr/bin/env python3
"""The other side of bench startup: in the node's namespace the API server and a server behind the last service; in a pod's a client
that calls it by its ClusterIP and asks for the name of one of its endpoints.

  startup_client.py SERVICES PER_SERVICE SLICE_SIZE PORT POD_NAMESPACE CHANGES_PROGRAM

Answers one JSON line per command line:
  served                  waits until the last service can be called: {"at": CLOCK_MONOTONIC, "dns_at": ...}
  call                    waits for the call alone: a new connection every millisecond, whatever becomes of those before
  change N                N times the endpoints become unready or ready again: milliseconds from the event to the kernel and to DNS, as
                          changes.cc sees them: an interpreter takes as long for a look as the daemon for the change"""
import contextlib
import ctypes
import gc
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

import cluster

DNS = ("169.254.96.16", 53)
CLONE_NEWNET = 0x40000000
NO_LINGER = struct.pack("ii", 1, 0)  # closed with RST
WAITING_MAX = 64  # connections under way at once


def enter(namespace):
    """The sockets this thread makes from now on are there."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/run/netns/" + namespace, os.O_RDONLY)
    if libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), namespace)
    os.close(fd)


class Client:
    def __init__(self, services, per_service, slice_size, port, pod, changes):
        self.last, self.changes = services - 1, changes
        self.api = cluster.ApiServer(cluster.cluster(services, per_service, slice_size), port)
        self.server = socket.create_server(("0.0.0.0", 8080), backlog=1024)
        self.server.setblocking(False)
        ns, name = cluster.names(self.last)
        self.vip = (cluster.vip(self.last), 80)
        self.service_name = self.question(f"{name}.{ns}.svc.cluster.local")
        self.endpoint_name = f"{cluster.OWN_ENDPOINTS[1].replace('.', '-')}.{name}.{ns}.svc.cluster.local"
        enter(pod)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.settimeout(0.2)

    @staticmethod
    def question(name):
        labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
        return struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"

    def named(self, question):
        try:
            self.udp.sendto(question, DNS)
            answer = self.udp.recv(2048)
            return answer[3] & 15 == 0 and answer[6:8] != b"\0\0"
        except OSError:
            return False

    @staticmethod
    def until(condition, seconds, pause=0.0):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SystemExit("nothing changed within %s s" % seconds)
            time.sleep(pause)
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def first_taken(self, seconds):
        """When somebody took the first of many connections: one that was lost on its way would be asked for again a second later."""
        poll, waiting, end = select.poll(), {}, time.monotonic() + seconds
        while time.monotonic() < end:
            s = socket.socket()
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            s.connect_ex(self.vip)
            waiting[s.fileno()] = s
            poll.register(s, select.POLLOUT)
            seen = poll.poll(1)
            at = time.clock_gettime(time.CLOCK_MONOTONIC)
            refused = [fd for fd, events in seen if events & (select.POLLERR | select.POLLHUP)]
            if len(seen) > len(refused):
                self.forget(waiting.values())
                return at
            for fd in refused or list(waiting)[:-WAITING_MAX]:
                poll.unregister(fd)
                waiting.pop(fd).close()
        raise SystemExit("nobody took a connection within %s s" % seconds)

    def forget(self, connections):
        for c in connections:
            c.close()
        with contextlib.suppress(BlockingIOError):
            while True:
                self.server.accept()[0].close()

    def served(self, _):
        at = self.first_taken(120)
        return {"at": at, "dns_at": self.until(lambda: self.named(self.service_name), 120, 0.002)}

    def call(self, _):
        return {"at": self.first_taken(120)}

    def change(self, count):
        text = b""
        for k in range(int(count)):
            ready = k % 2 == 1
            event = self.api.event(cluster.endpoint_slice(self.last, cluster.OWN_ENDPOINTS, ready=ready))
            text += b"%08d%d " % (len(event), ready) + event
        watch, listener = self.api.watches["EndpointSlice"].fileno(), self.server.fileno()
        argv = [self.changes, str(watch), str(listener), self.vip[0], str(self.vip[1]), DNS[0], self.endpoint_name]
        r = subprocess.run(argv, input=text, stdout=subprocess.PIPE, pass_fds=(watch, listener))
        found = [[float(x) for x in line.split()] for line in r.stdout.decode().splitlines()]
        if r.returncode or len(found) != int(count):
            raise SystemExit(f"change {len(found)} of {count} was not seen")
        return {"kernel_ms": [k for k, _ in found], "dns_ms": [d for _, d in found]}


def main():
    gc.disable()
    client = Client(*map(int, sys.argv[1:5]), *sys.argv[5:7])
    print("ready", flush=True)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        print(json.dumps(getattr(client, command)(argument)), flush=True)


if __name__ == "__main__":
    main()
