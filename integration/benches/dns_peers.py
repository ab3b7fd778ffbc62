"""The name servers the dns bench stands beside: one worker each, on 127.0.0.1, serving the same names."""
import os
import shutil

from lab import LabError

WHERE = {"knot": "knotd", "nsd": "nsd", "unbound": "unbound"}


def program(name):
    path = shutil.which(WHERE[name], path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not path:
        raise LabError(f"{name} is not installed: integration/setup/packages.sh bench")
    return path


def put(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def knot(port, d, data):
    conf = put(d, "knot.conf", f"""server:
    rundir: {d}
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    tcp-idle-timeout: 60
    tcp-reuseport: off
database:
    storage: {d}
log:
  - target: stderr
    any: error
zone:
  - domain: cluster.local
    file: {data}/cluster.zone
    zonefile-load: whole
    journal-content: none
""")
    return [program("knot"), "-c", conf]


def nsd(port, d, data):
    conf = put(d, "nsd.conf", f"""server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  database: ""
  zonesdir: "{d}"
  username: ""
  pidfile: ""
  xfrdfile: ""
  xfrdir: "{d}"
  zonelistfile: "{d}/zonelist"
  tcp-count: 200
  tcp-query-count: 0
  minimal-responses: yes
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "cluster.local"
  zonefile: "{data}/cluster.zone"
""")
    return [program("nsd"), "-d", "-c", conf]


def unbound(port, d, data):
    conf = put(d, "unbound.conf", f"""server:
  interface: 127.0.0.1
  port: {port}
  num-threads: 1
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{d}"
  use-syslog: no
  logfile: "{d}/log"
  incoming-num-tcp: 200
  so-rcvbuf: 4m
  so-sndbuf: 4m
  module-config: "iterator"
  include: "{data}/unbound.conf"
remote-control:
  control-enable: no
""")
    return [program("unbound"), "-d", "-c", conf]


PEERS = {"knot": knot, "nsd": nsd, "unbound": unbound}
