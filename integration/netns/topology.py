"""The three places our product has to work in.
  one_node   one node A with pods on a docker-like bridge
  lan2       nodes A and B on one LAN, both with 172.17.0.0/16 behind them
  nat2       sites A and B, each 192.168.1.0/24 behind its own NAT box, the same node address and the same pod subnet in both,
             and a public node R for the relay"""
import nat
from node import Node

CORE_DROPS = """table inet core {
 chain through {
  type filter hook forward priority 0; policy accept;
  ip daddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 } drop
  ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 } drop
 }
}
"""


def internet(lab):
    """The core: carries public addresses (198.18.0.0/15, the range for such tests) and drops private ones."""
    lab.ns("inet", forwarding=True)
    lab.nft("inet", CORE_DROPS)


def leg(lab, ns, dev="wan", **impair):
    """Attaches dev of ns to the core; -> its public address."""
    lab.legs += 1
    net = f"198.18.{lab.legs}"
    lab.cable("inet", f"l{lab.legs}", ns, dev, **impair)
    lab.ip("inet", f"addr add {net}.1/24 dev l{lab.legs}")
    lab.ip(ns, f"addr add {net}.2/24 dev {dev}", f"route add default via {net}.1")
    return f"{net}.2"


def nat_box(lab, ns, profile="port", lan="192.168.1.1/24", **impair):
    """A box with a bridge `lan` inside and `wan` outside; -> its public address."""
    lab.ns(ns, forwarding=True)
    public = leg(lab, ns, **impair)
    box_rules(lab, ns, nat.options(profile), public, lan)
    return public


def box_rules(lab, ns, options, public, lan):
    """Makes a namespace with interface wan a NAT box."""
    lab.ip(ns, "link add lan type bridge", "link set lan up", f"addr add {lan} dev lan")
    lab.sysctl(ns, {f"bridge/bridge-nf-call-{t}": 0 for t in ("iptables", "ip6tables", "arptables")}, missing_ok=True)
    lab.nft(ns, nat.ruleset(options, public))
    t = options["udp_timeout"]
    lab.sysctl(ns, {"netfilter/nf_conntrack_udp_timeout": t, "netfilter/nf_conntrack_udp_timeout_stream": t}, missing_ok=True)


def host(lab, ns, switch, address, gateway=None, dev="eth0", **kw):
    """A machine on the LAN of `switch` (a namespace with a bridge called lan)."""
    lab.ns(ns, **kw)
    lab.cable(switch, f"p-{ns}"[:15], ns, dev)
    lab.ip(switch, f"link set {f'p-{ns}'[:15]} master lan")
    lab.ip(ns, f"addr add {address} dev {dev}", *([f"route add default via {gateway}"] if gateway else []))
    return ns


def udp_block(lab, box, blocked=True):
    """Path event: the NAT box stops (or goes on) carrying UDP to every port but the relay's own."""
    if blocked:
        lab.nft(box, "add element ip nat_box udpblk { 0-65535 }\n")
        lab.run(box, ["conntrack", "-D", "-p", "udp"], check=False)
    else:
        lab.nft(box, "flush set ip nat_box udpblk\n")


def direct_block(lab, box, other, blocked=True):
    """Path event: the box drops UDP to and from one public address, so that only the relay is left."""
    if blocked:
        lab.nft(box, nat.filter_table("no_direct", "forward", -10,
                                      [f"meta l4proto udp ip daddr {other} drop", f"meta l4proto udp ip saddr {other} drop"], "ip"))
    else:
        lab.nft(box, "delete table ip no_direct\n")


def path_mtu(lab, box, public, mtu, silent=False):
    """Path event: the line of the box (at its public address) carries no longer packets; silent: and nobody hears of it."""
    core = f"l{public.split('.')[2]}"
    too_big = ["icmp type destination-unreachable icmp code frag-needed drop", "icmpv6 type packet-too-big drop"] if silent else []
    for ns, dev in ((box, "wan"), ("inet", core)):
        lab.nft(ns, "table inet no_ptb\ndelete table inet no_ptb\n" + nat.filter_table("no_ptb", "output", 0, too_big))
        lab.ip(ns, f"link set {dev} mtu {mtu}")


def one_node(lab, pods=4, **kw):
    internet(lab)
    public = nat_box(lab, "gw")
    host(lab, "A", "gw", "192.168.1.10/24", "192.168.1.1", forwarding=True)
    a = Node(lab, "A", "node-a", "192.168.1.10", public=public, **kw)
    for i in range(pods):
        a.add_pod(f"a{i}")
    return a


def lan2(lab, pods_a=1, pods_b=3, names=("A", "B"), **kw):
    internet(lab)
    public = nat_box(lab, "gw")
    nodes = []
    for i, ns in enumerate(names):
        host(lab, ns, "gw", f"192.168.1.{10 + i}/24", "192.168.1.1", forwarding=True)
        lab.ip(ns, f"addr add fd01::{10 + i}/64 dev eth0 nodad")
        node = Node(lab, ns, f"node-{ns.lower()}", f"192.168.1.{10 + i}", network="lan", public=public, **kw)
        node.advertise = [f"192.168.1.{10 + i}:20006"]
        for k in range((pods_a, pods_b)[min(i, 1)]):
            node.add_pod(f"{ns.lower()}{k}")
        nodes.append(node)
    return nodes


def nat2(lab, pods_a=1, pods_b=3, profile_a="port", profile_b="port", wire_a=None, wire_b=None, **kw):
    internet(lab)
    nodes = []
    for i, (ns, profile, pods, wire) in enumerate((("A", profile_a, pods_a, wire_a), ("B", profile_b, pods_b, wire_b))):
        public = nat_box(lab, f"nat{ns}", profile, **(wire or {}))
        host(lab, ns, f"nat{ns}", "192.168.1.10/24", "192.168.1.1", forwarding=True)
        node = Node(lab, ns, f"node-{ns.lower()}", "192.168.1.10", network=f"site-{ns.lower()}", public=public, **kw)
        for k in range(pods):
            node.add_pod(f"{ns.lower()}{k}")
        nodes.append(node)
    lab.ns("R")
    public = leg(lab, "R", "eth0")
    relay = Node(lab, "R", "node-r", public, network="public", public=public, roles=["relay"], **kw)
    return [*nodes, relay]
