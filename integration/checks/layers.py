"""Includes point down only; siblings never include one another. The table is the whole truth about who may see whom."""
import os
import re

import tree

# folder -> what it may include besides itself. A folder not listed takes its parent's line.
BASE_TABLE = ["base/core", "base/loop", "base/net", "base/conf", "base/kube", "base/http"]
ALLOWED = {
    "base/core": [],
    "base/loop": ["base/core", "base/net/addr.h"],
    "base/net": ["base/core", "base/loop"],
    "base/http": ["base/core", "base/loop", "base/net"],
    "base/conf": ["base/core", "base/loop", "base/net"],
    "base/kube": ["base/core", "base/loop", "base/net", "base/conf", "base/http"],
    "base/sim": ["base/core", "base/loop", "base/net"],
    "lb": BASE_TABLE,
    "dns/wire": ["base/core", "base/net/addr.h"],
    "dns/zone": BASE_TABLE + ["dns/wire"],
    "dns/upstream": BASE_TABLE + ["dns/wire"],
    "dns/server": BASE_TABLE + ["dns/wire", "dns/zone", "dns/upstream"],
    "dns": BASE_TABLE,
    "tunnel": BASE_TABLE,
    "cloud": BASE_TABLE + ["lb", "dns", "tunnel"],
    "edgemesh": BASE_TABLE + ["lb", "dns", "tunnel", "cloud"],
    "agent": BASE_TABLE + ["lb", "dns", "tunnel", "cloud"],
    "daemon": BASE_TABLE + ["lb", "dns", "tunnel", "cloud", "edgemesh", "agent"],
    "integration": None,  # tests and labs may look at anything
}
TEST_ONLY = ["base/sim"]  # any *_test.cc, *_sim.cc, *_fuzz.cc may include these
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
TOPS = {k.split("/")[0] for k in ALLOWED}


def rule_of(folder):
    while folder:
        if folder in ALLOWED:
            return folder, ALLOWED[folder]
        folder = os.path.dirname(folder)
    return None, None


def inside(path, prefix):
    return path == prefix or path.startswith(prefix + "/")


def bad_include(name, header):
    """Why `name` must not include `header`, or None."""
    if header.split("/")[0] not in TOPS or header.endswith(".pb.h"):
        return None
    home, allowed = rule_of(os.path.dirname(name))
    if allowed is None or inside(header, home) or any(inside(header, a) for a in allowed):
        return None
    if re.search(r"_(test|sim|fuzz|lab)\.(cc|h)$", name) and any(inside(header, t) for t in TEST_ONLY):
        return None
    if home == "tunnel" and inside(header, "base/sim") and "sim" in name:
        return None
    return f"{home} may not include {header}: arrows point down only (integration/checks/layers.py has the table)"


def check_file(name, source):
    problems = []
    for number, line in enumerate(source.splitlines(), 1):
        m = INCLUDE.match(line)
        why = m and bad_include(name, m.group(1))
        if why:
            problems.append(f"{name}:{number}: {why}")
    return problems


def folder_cycles(includes):
    """Folders of tunnel/ that include each other in a ring: {folder: {folder, ...}} -> list of rings found."""
    rings, done = [], set()

    def walk(node, path):
        if node in path:
            rings.append(" -> ".join(path[path.index(node):] + [node]))
            return
        if node in done:
            return
        for n in sorted(includes.get(node, ())):
            walk(n, path + [node])
        done.add(node)

    for n in sorted(includes):
        walk(n, [])
    return rings


def run():
    problems, graph = [], {}
    for name in tree.files(*tree.CODE):
        source = tree.text(name)
        problems += check_file(name, source)
        if re.search(r"_(test|sim|fuzz|lab)\.(cc|h)$", name):
            continue
        for header in (m.group(1) for m in map(INCLUDE.match, source.splitlines()) if m):
            a, b = os.path.dirname(name), os.path.dirname(header)
            if a != b and header.split("/")[0] in TOPS and not header.endswith(".pb.h") and header != "base/net/addr.h":
                graph.setdefault(a, set()).add(b)
    return problems + [f"folders include each other in a ring: {r}" for r in folder_cycles(graph)]


def self_test():
    assert check_file("lb/pick.cc", '#include "dns/zone/zone.h"\n')
    assert check_file("base/core/a.h", '#include "base/loop/loop.h"\n')
    assert check_file("edgemesh/x.cc", '#include "daemon/wiring.h"\n')
    assert check_file("lb/pick.cc", '#include "base/sim/sim_loop.h"\n')
    assert not check_file("lb/pick_test.cc", '#include "base/sim/sim_loop.h"\n')
    assert not check_file("edgemesh/proxy/p.cc", '#include "lb/pick.h"\n#include <vector>\n#include "base/loop/loop.h"\n')
    assert folder_cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and not folder_cycles({"a": {"b"}, "b": {"c"}})
