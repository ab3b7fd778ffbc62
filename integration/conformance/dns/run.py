#!/usr/bin/env python3
"""Runs cases.json against a server:  run.py ADDR:PORT [--config base,...] [--cases FILE] [-v] [--json OUT]
The server must have been started with the cases' object set and the named configuration. Exit status 1 if a case fails.
'lenient' cases and cases marked coredns_since are reported as 'differs', not as failures."""
import argparse, ipaddress, json, os, socket, struct, sys, time
T = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41, "RRSIG": 46, "SVCB": 64, "HTTPS": 65, "IXFR": 251, "AXFR": 252, "ANY": 255}
N = {v: k for k, v in T.items()}; RC = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}; CL = {"IN": 1, "CH": 3, "ANY": 255}
def wname(n):
    return b"".join(bytes([len(x)]) + x.encode("latin1") for x in n.rstrip(".").split(".") if x) + b"\0"
def query(q, i):
    if "raw" in q: return bytes.fromhex(q["raw"])
    t = T.get(q["type"]) or int(q["type"][4:]); f = (q.get("opcode", 0) << 11) | (0x8000 if q.get("qr") else 0) | (0x100 if q.get("rd", True) else 0) | (0x20 if q.get("ad") else 0) | (0x10 if q.get("cd") else 0)
    nq = q.get("qdcount", 1); opt = b""; na = 0
    if "edns" in q:
        o = bytes.fromhex(q["option"].replace(" ", "")) if "option" in q else b""
        one = b"\0" + struct.pack(">HHIH", 41, q["edns"], (q.get("edns_version", 0) << 16) | (0x8000 if q.get("do") else 0), len(o)) + o; na = 2 if q.get("edns_twice") else 1; opt = one * na
    return struct.pack(">6H", i, f, nq, 0, 0, na) + (wname(q["name"]) + struct.pack(">2H", t, CL[q.get("class", "IN")])) * nq + opt + bytes.fromhex(q.get("trailing", ""))
def name(m, p):
    o, end, hops = [], None, 0
    while True:
        l = m[p]
        if l == 0: p += 1; break
        if l >= 192:
            if end is None: end = p + 2
            np = (l & 63) << 8 | m[p + 1]; hops += 1
            if np >= p or hops > 60: raise ValueError("bad pointer")
            p = np; continue
        if l > 63: raise ValueError("bad label")
        o.append(m[p + 1:p + 1 + l].decode("latin1")); p += l + 1
    return ".".join(o) + ".", end or p
def parse(m):
    i, f, qd, an, ns, ar = struct.unpack(">6H", m[:12]); p = 12; r = {"id": i, "qr": bool(f & 0x8000), "opcode": f >> 11 & 15, "aa": bool(f & 0x400), "tc": bool(f & 0x200), "rd": bool(f & 0x100), "ra": bool(f & 0x80), "ad": bool(f & 0x20), "cd": bool(f & 0x10), "rc": f & 15, "q": [], "opt": None, "size": len(m)}
    for _ in range(qd): n, p = name(m, p); t, c = struct.unpack(">2H", m[p:p + 4]); p += 4; r["q"].append((n, t, c))
    for sec, k in (("answer", an), ("authority", ns), ("additional", ar)):
        r[sec] = []
        for _ in range(k):
            n, p = name(m, p); t, c, ttl, l = struct.unpack(">HHIH", m[p:p + 10]); p += 10; d = m[p:p + l]
            if t == 41: r["opt"] = {"size": c, "do": bool(ttl & 0x8000), "ver": ttl >> 16 & 255, "data": d.hex()}; r["rc"] |= (ttl >> 24) << 4
            else:
                if t == 1: x = socket.inet_ntoa(d)
                elif t == 28: x = str(ipaddress.ip_address(d))
                elif t in (2, 5, 12): x = name(m, p)[0]
                elif t == 33: x = "%d %d %d " % struct.unpack(">3H", d[:6]) + name(m, p + 6)[0]
                elif t == 16: x = '"' + d[1:1 + d[0]].decode("latin1") + '"'
                elif t == 6: a, y = name(m, p); b, y = name(m, y); x = f"{a} {b} " + " ".join(map(str, struct.unpack(">5I", m[y:y + 20])))
                else: x = d.hex()
                r[sec].append((n, ttl, N.get(t, f"TYPE{t}"), x))
            p += l
    r["rcode"] = RC.get(r["rc"], str(r["rc"])); r["left"] = len(m) - p
    return r
def ask(addr, port, q, i, to):
    m = query(q, i); fam = socket.AF_INET6 if ":" in addr else socket.AF_INET
    if q.get("proto") == "tcp":
        k = q.get("pipeline", 1); s = socket.socket(fam, socket.SOCK_STREAM); s.settimeout(to); s.connect((addr, port)); out = []
        try:
            b = b"".join(struct.pack(">H", len(m)) + struct.pack(">H", (i + j) & 65535) + m[2:] for j in range(k))
            if q.get("split"):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for x in b: s.send(bytes([x])); time.sleep(0.002)
            else: s.sendall(b)
            buf = b""
            while len(out) < k:
                d = s.recv(65536)
                if not d: break
                buf += d
                while len(buf) >= 2 and len(buf) >= 2 + (buf[0] << 8 | buf[1]): l = buf[0] << 8 | buf[1]; out.append(buf[2:2 + l]); buf = buf[2 + l:]
        except OSError: pass
        finally: s.close()
        if len(out) < k or {struct.unpack(">H", x[:2])[0] for x in out} != {(i + j) & 65535 for j in range(k)}: return None
        return struct.pack(">H", i) + next(x for x in out)[2:]
    s = socket.socket(fam, socket.SOCK_DGRAM); s.settimeout(to)
    try: s.sendto(m, (addr, port)); return s.recv(65535)
    except OSError: return None
    finally: s.close()
def rr(t, exact):
    n, ttl, ty, x = t; return (n if exact else n.lower(), ttl, ty, x if exact or ty == "TXT" else x.lower())
def rp(s):
    a = s.split(" ", 3); return (a[0], int(a[1]), a[2], a[3])
def check(c, m, i):
    e, q, bad = c["expect"], c["query"], []
    if e["rcode"] == "DROP": return [] if m is None or "DROP" in e.get("accept", []) else ["answered, expected silence"]
    if m is None: return [] if "DROP" in e.get("accept", []) else ["no answer"]
    try: r = parse(m)
    except Exception as x: return [f"unparsable answer: {x!r}"]
    if not r["qr"]: bad.append("QR clear")
    if "raw" not in q and r["id"] != i: bad.append("id")
    if r["left"]: bad.append(f"{r['left']} octets behind the message")
    if r["rcode"] != e["rcode"]:
        if r["rcode"] in e.get("accept", []): return bad
        return bad + [f"rcode {r['rcode']}, expected {e['rcode']}"]
    if "raw" not in q and q.get("qdcount", 1) == 1 and r["rcode"] not in ("FORMERR", "BADVERS", "NOTIMP") and (len(r["q"]) != 1 or r["q"][0][0] != q["name"]): bad.append(f"question {r['q']}")
    if e.get("aa") is not None and r["aa"] != e["aa"]: bad.append(f"aa {r['aa']}")
    for k in ("tc", "rd", "ra", "ad", "cd"):
        if k in e and r[k] != e[k]: bad.append(f"{k} {r[k]}")
    if "opt" in e and bool(r["opt"]) != e["opt"]: bad.append("OPT " + ("missing" if e["opt"] else "not asked for"))
    if q.get("do") and e.get("opt") and r["opt"] and not r["opt"]["do"]: bad.append("DO not copied")
    if "max_size" in e and r["size"] > e["max_size"]: bad.append(f"size {r['size']}")
    if e["answer"] != ["*"]:
        ex = e.get("exact_case"); norm = lambda t: rr(t, ex) if not e.get("weight") else (lambda z: (z[0], z[1], z[2], " ".join(["0", "*"] + z[3].split()[2:]) if z[2] == "SRV" else z[3]))(rr(t, ex))
        w = [norm(rp(x)) for x in e["answer"]]; g = [norm(x) for x in r["answer"]]
        wild = [x for x in w if "*" in x[3].split() and x[2] != "SRV"]
        if wild: ok = len(g) == len(w) and all(len(x[3].split()) == len(y[3].split()) and all(u in ("*", v) for u, v in zip(x[3].split(), y[3].split())) for x, y in zip(w, g))
        else: ok = sorted(w) == sorted(g)
        if not ok: bad.append(f"answer {g}, expected {w}")
        if e.get("order") == "cname-first" and g and g[0][2] != "CNAME": bad.append("CNAME not first")
    if e.get("authority") is not None:
        g = r["authority"]
        for x in e["authority"]:
            if x.startswith("SOA ") and not any(y[2] == "SOA" and y[0].lower() == x[4:] for y in g): bad.append(f"no {x} in authority")
        if "soa_minimum" in e and g and g[0][2] == "SOA" and int(g[0][3].split()[-1]) != e["soa_minimum"]: bad.append(f"SOA {g[0][3]}")
        if e["authority"] and any(y[2] == "SOA" and y[1] > max(1, int(y[3].split()[-1])) and int(y[3].split()[-1]) for y in g): bad.append("SOA TTL above its minimum (RFC 2308 5)")
    if "additional" in e and r["additional"] and sorted(rr(rp(x), 0) for x in e["additional"]) != sorted(rr(x, 0) for x in r["additional"]): bad.append(f"additional {r['additional']}")
    return bad
def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter); ap.add_argument("server"); ap.add_argument("--config", default="base"); ap.add_argument("--cases", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases.json")); ap.add_argument("-v", action="store_true"); ap.add_argument("--json"); ap.add_argument("--timeout", type=float, default=2)
    a = ap.parse_args(); h, p = a.server.rsplit(":", 1); D = json.load(open(a.cases)); n = {"pass": 0, "FAIL": 0, "differs": 0}; out = {}
    for k, c in enumerate(D["cases"]):
        if c["config"] not in a.config.split(","): continue
        i = 4096 + k; m = ask(h.strip("[]"), int(p), c["query"], i, 0.5 if c["expect"]["rcode"] == "DROP" else a.timeout); bad = check(c, m, i)
        v = "pass" if not bad else "differs" if c["expect"].get("lenient") or "coredns_since" in c["expect"] else "FAIL"; n[v] += 1; out[c["id"]] = {"verdict": v, "why": bad}
        if a.v or v != "pass": print(f"{v:8}{c['id']:28}{c['query']['name'] or '(raw)'} {c['query']['type']}: {'; '.join(bad)[:230]}")
    print(f"{a.config}: {n['pass']} pass, {n['FAIL']} fail, {n['differs']} differ")
    if a.json: json.dump(out, open(a.json, "w"), indent=1)
    return 1 if n["FAIL"] else 0
if __name__ == "__main__": sys.exit(main())
