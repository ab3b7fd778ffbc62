"""Rules as other programs write them: docker, ufw, firewalld, kube-proxy in both its modes. iptables' own are in the form of
iptables-save, so that both kinds of iptables can load them."""

# docker: its bridge may call out and within, is called only at published ports; everything else forwarded is dropped.
DOCKER_FILTER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d {pod}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 8080 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
"""
DOCKER_NAT = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport {port} -j DNAT --to-destination {pod}:8080
COMMIT
"""

# Only the policy, as a host shows where docker set it and pods are on another bridge.
BARE_FORWARD = """table ip filter {
 chain FORWARD { type filter hook forward priority filter; policy drop;
  ct state established,related counter accept
 }
}
table ip6 filter {
 chain FORWARD { type filter hook forward priority filter; policy drop;
 }
}
"""


def ufw_like(family):
    icmp = "icmp type echo-request" if family == "ip" else "icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }"
    return f"""table {family} filter {{
 chain INPUT {{ type filter hook input priority filter; policy drop;
  jump ufw-before-input
  jump ufw-user-input
 }}
 chain FORWARD {{ type filter hook forward priority filter; policy drop;
  jump ufw-before-forward
 }}
 chain ufw-before-input {{
  iifname "lo" counter accept
  ct state established,related counter accept
  ct state invalid counter drop
  {icmp} counter accept
 }}
 chain ufw-before-forward {{
  ct state established,related counter accept
 }}
 chain ufw-user-input {{
  tcp dport {{ 22, 20006 }} counter accept
  udp dport 20006 counter accept
 }}
}}
"""


UFW_LIKE = ufw_like("ip") + ufw_like("ip6")
FIREWALLD_LIKE = """table inet firewalld {
 chain filter_INPUT { type filter hook input priority filter + 10; policy accept;
  ct state { established, related } accept
  ct status dnat accept
  iifname "lo" accept
  ct state invalid drop
  jump filter_INPUT_ZONES
  reject with icmpx admin-prohibited
 }
 chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
  ct state { established, related } accept
  iifname "lo" accept
  ct state invalid drop
  jump filter_FORWARD_ZONES
  reject with icmpx admin-prohibited
 }
 chain filter_INPUT_ZONES {
  iifname "eth0" goto filter_IN_public
  goto filter_IN_public
 }
 chain filter_IN_public {
  tcp dport { 22, 20006 } accept
  udp dport 20006 accept
  meta l4proto { icmp, ipv6-icmp } accept
 }
 chain filter_FORWARD_ZONES {
  iifname "eth0" goto filter_FWD_public
  goto filter_FWD_public
 }
 chain filter_FWD_public {
  oifname "nowhere0" accept
 }
}
"""


def kube_proxy_iptables(services):
    """kube-proxy's iptables mode; services: [(name, vip, port, proto, [endpoint ip:port])]."""
    nat, rules, reject = [], [], []
    for i, (name, vip, port, proto, endpoints) in enumerate(services):
        svc = f"KUBE-SVC-{'ABCDEFGHIJ'[i] * 16}"
        where = f"-d {vip}/32 -p {proto} -m comment --comment \"{name} cluster IP\" -m {proto} --dport {port}"
        if not endpoints:
            reject.append(f"-A KUBE-SERVICES -d {vip}/32 -p {proto} -m comment --comment \"{name} has no endpoints\" -m {proto} --dport {port} "
                          "-j REJECT --reject-with icmp-port-unreachable")
            continue
        nat.append(f":{svc} - [0:0]")
        rules += [f"-A KUBE-SERVICES {where} -j {svc}", f"-A {svc} ! -s 10.244.0.0/16 {where[:where.index('-m comment')]}-m {proto} --dport {port} -j KUBE-MARK-MASQ"]
        for k, e in enumerate(endpoints):
            sep = f"KUBE-SEP-{'ABCDEFGHIJ'[i] * 8}{k:08d}"
            nat.append(f":{sep} - [0:0]")
            chance = f"-m statistic --mode random --probability {1 / (len(endpoints) - k):.11f} " if k + 1 < len(endpoints) else ""
            rules += [f"-A {svc} {chance}-j {sep}", f"-A {sep} -s {e.split(':')[0]}/32 -j KUBE-MARK-MASQ",
                      f"-A {sep} -p {proto} -m {proto} -j DNAT --to-destination {e}"]
    rules.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
    return "\n".join([
        "*nat", ":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]",
        ":KUBE-MARK-MASQ - [0:0]", ":KUBE-NODEPORTS - [0:0]", ":KUBE-POSTROUTING - [0:0]", ":KUBE-SERVICES - [0:0]", *nat,
        "-A PREROUTING -j KUBE-SERVICES", "-A OUTPUT -j KUBE-SERVICES", "-A POSTROUTING -j KUBE-POSTROUTING",
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN", "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully", *rules, "COMMIT",
        "*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":KUBE-FIREWALL - [0:0]", ":KUBE-FORWARD - [0:0]",
        ":KUBE-NODEPORTS - [0:0]", ":KUBE-SERVICES - [0:0]",
        "-A INPUT -j KUBE-NODEPORTS", "-A INPUT -m conntrack --ctstate NEW -j KUBE-SERVICES", "-A INPUT -j KUBE-FIREWALL",
        "-A FORWARD -j KUBE-FORWARD", "-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES",
        "-A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES", "-A OUTPUT -j KUBE-FIREWALL",
        "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP", "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
        "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", *reject, "COMMIT", ""])


def kube_proxy_nft(services):
    """kube-proxy's nftables mode, for the same services."""
    chains, vips, empty = [], [], []
    for name, vip, port, proto, endpoints in services:
        if not endpoints:
            empty.append(f"{vip} . {proto} . {port} : goto reject-chain")
            continue
        chain = f"service-{name.replace('/', '-')}-{proto}-{port}"
        vips.append(f"{vip} . {proto} . {port} : goto {chain}")
        targets = []
        for k, e in enumerate(endpoints):
            ip, to = e.split(":")
            end = f"endpoint-{name.replace('/', '-')}-{proto}-{port}-{k}"
            targets.append(f"{k} : goto {end}")
            chains.append(f" chain {end} {{\n  ip saddr {ip} jump mark-for-masquerade\n  meta l4proto {proto} dnat to {ip}:{to}\n }}")
        chains.append(f" chain {chain} {{\n  ip daddr {vip} {proto} dport {port} ip saddr != 10.244.0.0/16 jump mark-for-masquerade\n"
                      f"  numgen random mod {len(endpoints)} vmap {{ {', '.join(targets)} }}\n }}")
    only_vips = ", ".join(sorted({s[1] for s in services}))
    elements = lambda e: f"elements = {{ {', '.join(e)} }}" if e else ""
    key = "type ipv4_addr . inet_proto . inet_service : verdict;"
    return "\n".join([
        "table ip kube-proxy {", f" set cluster-ips {{ type ipv4_addr; elements = {{ {only_vips} }}\n }}",
        " set nodeport-ips { type ipv4_addr; elements = { 192.168.1.10 }\n }",
        " map service-nodeports { type inet_proto . inet_service : verdict;\n }",
        " chain reject-chain {\n  reject\n }", " chain mark-for-masquerade {\n  meta mark set meta mark | 0x4000\n }",
        " chain masquerading {\n  meta mark & 0x4000 == 0 return\n  meta mark set meta mark ^ 0x4000\n  masquerade fully-random\n }",
        *reversed(chains),
        f" map no-endpoint-services {{ {key} {elements(empty)}\n }}", f" map service-ips {{ {key} {elements(vips)}\n }}",
        " chain services {\n  ip daddr . meta l4proto . th dport vmap @service-ips\n  ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports\n }",
        " chain service-endpoints-check {\n  ip daddr . meta l4proto . th dport vmap @no-endpoint-services\n }",
        " chain cluster-ips-check {\n  ip daddr @cluster-ips reject\n }",
        " chain filter-input { type filter hook input priority -110; policy accept;\n  ct state new jump service-endpoints-check\n }",
        " chain filter-forward { type filter hook forward priority -110; policy accept;\n  ct state new jump service-endpoints-check\n  ct state new jump cluster-ips-check\n }",
        " chain filter-output { type filter hook output priority -110; policy accept;\n  ct state new jump service-endpoints-check\n }",
        " chain filter-output-post-dnat { type filter hook output priority -90; policy accept;\n  ct state new jump cluster-ips-check\n }",
        " chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept;\n  jump services\n }",
        " chain nat-output { type nat hook output priority -100; policy accept;\n  jump services\n }",
        " chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept;\n  jump masquerading\n }", "}", ""])
