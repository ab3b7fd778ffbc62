"""NAT boxes as nftables rules, by the vocabulary of RFC 4787: how a box maps (to which external port an internal endpoint is bound)
and how it filters (who may send to that port)."""
import random

# mapping: none | eim (remapped port) | eim-kernel (port preserving, what Linux masquerade does) | adm | edm | edm-seq
# filter : eif | adf | apdf | none (open)
PROFILES = {
    "public":     dict(map="none", filt="none"),                          # public address, no NAT, no firewall
    "fw":         dict(map="none", filt="apdf"),                          # public address behind a stateful firewall
    "fullcone":   dict(map="eim", filt="eif"),
    "addr":       dict(map="eim", filt="adf"),
    "port":       dict(map="eim", filt="apdf"),                           # the common home router
    "linux":      dict(map="eim-kernel", filt="apdf"),                    # Linux masquerade, firewalled INPUT
    "linux-open": dict(map="eim-kernel", filt="apdf", input="accept"),    # an early inbound packet poisons the mapping
    "adm":        dict(map="adm", filt="apdf"),
    "sym":        dict(map="edm", filt="apdf"),                           # symmetric, random ports
    "sym-seq":    dict(map="edm-seq", filt="apdf"),                       # symmetric, predictable ports
    "udpblock":   dict(map="eim", filt="apdf", udp="drop", tcp="443"),    # only TCP 443 leaves
    "noudp":      dict(map="eim", filt="apdf", udp="drop"),
}
POOL = 2048  # a rootless nft may not send more in one message
UDP_TIMEOUT, TCP_TIMEOUT = 120, 7440
L4 = "meta l4proto { tcp, udp }"
OUT, IN = 'iifname "lan" oifname "wan"', 'iifname "wan"'
BACK = 'iifname "lan" oifname "lan" ct status dnat'


def chain(name, hook, priority, rules, policy="accept", kind="filter"):
    body = "".join(f"  {r}\n" for r in rules if r)
    return f" chain {name} {{\n  type {kind} hook {hook} priority {priority}; policy {policy};\n{body} }}\n"


def filter_table(name, hook, priority, rules, family="inet"):
    """A table of one chain, for the labs' bans, counters and sabotage."""
    return f"table {family} {name} {{\n" + chain("c", hook, priority, rules) + "}\n"


def tables_of_ports(o):
    """External ports: a random index is remembered per internal endpoint (eim), per endpoint and peer address (adm), or counted up per
    flow (edm-seq); it travels in the packet mark and @pool turns it into a port (numgen as port data would be byte swapped)."""
    seq = random.randrange(20000, 50000)
    ports = [seq + i for i in range(POOL)] if o["map"] == "edm-seq" else random.sample(range(1024, 65536), POOL)
    t = o["udp_timeout"]
    lasting = f"flags dynamic,timeout; timeout {t + 2}s; size 65535;"
    learned = f"flags dynamic,timeout; timeout {t}s; size 65535;"
    out = [f" map eim {{ type inet_proto . ipv4_addr . inet_service : mark; {lasting} }}\n",
           f" map eimd {{ type inet_proto . ipv4_addr . inet_service . ipv4_addr : mark; {lasting} }}\n",
           f" map rev {{ type inet_proto . inet_service : ipv4_addr . inet_service; {learned} }}\n",
           f" map adf {{ type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; {learned} }}\n",
           " map pmp { type inet_proto . inet_service : ipv4_addr . inet_service; flags timeout; }\n",
           " set udpblk { type inet_service; flags interval; }\n"]
    if o["map"] in ("eim", "adm", "edm-seq"):
        out.append(" map pool { type mark : inet_service; elements = { " + ", ".join(f"{i} : {p}" for i, p in enumerate(ports)) + " } }\n")
    return out


def turns_back(o):
    """Whether hosts behind the box reach each other by its outside address (hairpin); only endpoint-independent mappings can."""
    return o["hairpin"] and o["map"].startswith("eim")


def choose_port(o):
    """Before translation: pick the external port, refreshed by every outbound packet."""
    ways = [OUT] + ([BACK] if turns_back(o) else [])
    return {
        "eim": [rule for way in ways for rule in (
            f"{way} {L4} update @eim {{ meta l4proto . ip saddr . th sport : numgen random mod {POOL} }}",
            f"{way} {L4} meta mark set meta l4proto . ip saddr . th sport map @eim")],
        "adm": [f"{OUT} {L4} update @eimd {{ meta l4proto . ip saddr . th sport . ip daddr : numgen random mod {POOL} }}",
                f"{OUT} {L4} meta mark set meta l4proto . ip saddr . th sport . ip daddr map @eimd"],
        "edm-seq": [f"{OUT} {L4} ct state new meta mark set numgen inc mod {POOL}"],
    }.get(o["map"], [])


def translate(o, pub):
    if o["map"] == "none":
        return []
    by_proto = {"edm": f"snat ip to {pub}:1024-65535 fully-random"}
    if o["map"] in ("eim", "adm", "edm-seq"):
        by_proto["edm"] = f"snat ip to {pub} : meta mark map @pool"
    ways = ['oifname "wan"'] + (['oifname "lan" ct status dnat'] if turns_back(o) else [])
    rules = [f'{way} meta l4proto {p} {by_proto["edm"]}' for way in ways for p in ("udp", "tcp")] if o["map"] != "eim-kernel" else []
    return rules + [f"{way} snat ip to {pub}" for way in ways]


def learn_back(o):
    """After translation: external port -> internal endpoint, whatever chose the port."""
    if not o["map"].startswith("eim"):
        return []
    rules = []
    for direction in ("original", "reply"):
        inner = f"ct {direction} ip saddr . ct {direction} proto-src"
        rules += [f'oifname "wan" {L4} ct direction {direction} update @rev {{ meta l4proto . th sport : {inner} }}',
                  f'oifname "wan" {L4} ct direction {direction} update @adf {{ meta l4proto . ip daddr . th sport : {inner} }}']
    if turns_back(o):
        inner = "ct original ip saddr . ct original proto-src"
        rules.append(f'oifname "lan" ct status dnat {L4} ct direction original update @rev {{ meta l4proto . th sport : {inner} }}')
    return rules


def admit(o, pub):
    """Unsolicited inbound packets: forwarded ports (pmp), then by filtering class; and what comes back to the box from inside."""
    key = {"eif": "meta l4proto . {p} dport map @rev", "adf": "meta l4proto . ip saddr . {p} dport map @adf"}.get(o["filt"])
    rules = []
    for p in ("udp", "tcp"):
        if o.get("pmp"):
            rules.append(f"{IN} ip daddr {pub} meta l4proto {p} dnat ip to meta l4proto . {p} dport map @pmp")
        if key and o["map"].startswith("eim"):
            rules.append(f"{IN} ip daddr {pub} meta l4proto {p} dnat ip to {key.format(p=p)}")
        if turns_back(o):
            rules.append(f'iifname "lan" ip daddr {pub} meta l4proto {p} dnat ip to meta l4proto . {p} dport map @rev')
    return rules


def forward(o):
    return [
        "icmp type destination-unreachable icmp code frag-needed drop" if o.get("noptb") else "",
        f"{OUT} meta l4proto udp drop" if o.get("udp") == "drop" else "",
        f'{OUT} tcp dport != {{ {o["tcp"]} }} reject with icmp type admin-prohibited' if o.get("tcp") else "",
        'iifname "lan" udp dport @udpblk drop',
        "ct state established,related accept",
        f"{OUT} accept",
        f'{IN} oifname "lan" accept' if o["filt"] == "none" else "",
        f'{IN} oifname "lan" ct status dnat accept' if o["filt"] in ("eif", "adf") or o.get("pmp") else "",
        f"{BACK} accept" if turns_back(o) else "",
    ]


def options(profile, **more):
    if profile not in PROFILES:
        raise SystemExit(f"no NAT profile {profile}; there are {', '.join(PROFILES)}")
    return {"udp_timeout": UDP_TIMEOUT, "tcp_timeout": TCP_TIMEOUT, "hairpin": 0, **PROFILES[profile], **more}


def ruleset(o, pub):
    """The whole ruleset of a box between interface `lan` and interface `wan` with address pub."""
    own = ['iifname "lo" accept', f"{IN} ct state established,related accept", "icmp type echo-request accept",
           f'iifname "lan" ip daddr {pub} drop', 'iifname "lan" accept']
    v6 = ["meta l4proto ipv6-icmp accept", "ct state established,related accept", 'iifname "lan" accept',
          f"{IN} accept" if o["filt"] == "none" else ""]
    return "".join(["flush ruleset\n", "table ip nat_box {\n", *tables_of_ports(o),
                    chain("choose", "forward", -150, choose_port(o)),
                    chain("translate", "postrouting", 100, translate(o, pub), kind="nat"),
                    chain("learn", "postrouting", 150, learn_back(o)),
                    chain("admit", "prerouting", -100, admit(o, pub), kind="nat"),
                    chain("through", "forward", 0, forward(o), policy="drop"),
                    chain("self", "input", 0, own, policy=o.get("input", "drop")),
                    "}\n", "table ip6 nat_box {\n", chain("through", "forward", 0, v6, policy="drop"), "}\n"])
