"""A clean clone stands alone: nothing in the tree points beside it or at the machine it was written on."""
import re

import tree

# written in pieces so that this file passes its own check
PATTERNS = [(re.compile(p), why) for p, why in [
    (r"(?<![\w.])/" r"work(/|\b(?!load|er|ing|s))", "a path of the machine it was written on"),
    (r"(?<![\w./-])/home/(?!\$|<|USER|user/?\b)[a-z]\w*", "somebody's home directory"),
    (r"(?<![\w./-])/" r"root/(?!\$)\w+", "somebody's home directory"),
    (r"\.\./\.\./\.\./\.\./|(?<![\w/.])\.\./(sha" r"red|la" r"bs)\b", "a folder outside the repository"),
    (r"(?<![\w/-])(sha" r"red/(design|datapath|tunnel|style|reference)|la" r"bs/(natlab|datapath|dnslab|proxylab|tunnelprobe))", "a folder outside the repository"),
    (r"artifact" r"registry|\.pkg\.dev\b", "a registry of the machine it was written on"),
]]
SKIP = ("LICENSE",)
BINARY = re.compile(r"^integration/fuzz/[^/]+/")


def check_text(name, text):
    if name in SKIP or BINARY.match(name):
        return []
    return [f"{name}:{i}: {why}: {m.group(0)}" for i, line in enumerate(text.splitlines(), 1)
            for rx, why in PATTERNS for m in [rx.search(line)] if m]


def run():
    return [p for name in tree.files() for p in check_text(name, tree.text(name))]


def self_test():
    for bad in ("see /" + "work/main/x", "cd /" + "home/alice/src", "../" + "sha" + "red/design.md", "`la" + "bs/natlab/wire`", "from /" + "root/x"):
        assert check_text("docs/a.md", bad), bad
    for good in ("the /workers page", "/homepage", "GET /rooted", "a shared library", "/var/run/netns"):
        assert not check_text("docs/a.md", good), good
