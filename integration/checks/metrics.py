"""Every metric in the code is on docs/reference/metrics.md, and nothing is there that the code does not have.
`python3 integration/checks/metrics.py --write` writes the page from the code."""
import os
import re
import sys

import tree

PAGE = "docs/reference/metrics.md"
NAME = re.compile(r"\bedgemeshd_[a-z0-9_]+\b")
IN_CODE = re.compile(r'"(edgemeshd_[a-z0-9_]+)"')


def compare(code_names, page_names):
    # the page also shows the series a histogram expands to
    expanded = {n + s for n in code_names for s in ("", "_bucket", "_sum", "_count")}
    return ([f"{PAGE}: {n} is missing" for n in sorted(code_names - page_names)]
            + [f"{PAGE}: {n} is not in the code" for n in sorted(page_names - expanded)])


def run():
    names = {m for f in sources() for m in IN_CODE.findall(tree.text(f))}
    page = set(NAME.findall(tree.text(PAGE))) if os.path.exists(os.path.join(tree.ROOT, PAGE)) else set()
    return compare(names, page)


MADE = re.compile(r'(counter|gauge|gauge_fn|histogram)\(\s*"(edgemeshd_[a-z0-9_]+)",\s*"((?:[^"\\]|\\.)*)"')
NAMED = re.compile(r'(k\w+) = "(edgemeshd_[a-z0-9_]+)";(?s:.*?)\1Help =\s*"((?:[^"\\]|\\.)*)"')  # name and help as constants
HEAD = """# Metrics

Prometheus text at `/metrics` of the admin address (127.0.0.1 by default). Labels come from small fixed sets, never from names or
addresses. Written by `integration/checks/metrics.py --write`; a check holds this page to the code.

| metric | type | meaning |
|---|---|---|
"""


def page():
    rows = {}
    for f in sources():
        for kind, name, text in MADE.findall(tree.text(f)):
            rows[name] = (kind.removesuffix("_fn"), text)
        for _, name, text in NAMED.findall(tree.text(f)):
            rows[name] = ("counter" if name.endswith("_total") else "gauge", text)
    return HEAD + "".join(f"| `{n}` | {kind} | {text} |\n" for n, (kind, text) in sorted(rows.items()))


def sources():
    return [f for f in tree.files(*tree.CODE) if not re.search(r"_(test|fuzz|sim)\.cc$", f)]


def self_test():
    assert compare({"edgemeshd_a"}, set()) and compare(set(), {"edgemeshd_b"})
    assert not compare({"edgemeshd_a"}, {"edgemeshd_a", "edgemeshd_a_count"})


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    with open(os.path.join(tree.ROOT, PAGE), "w") as out:
        out.write(page())
