"""No file of ours is longer than 600 lines: beyond that it holds more than one noun."""
import tree

LIMIT = 600


def check_text(name, text):
    lines = text.count("\n")
    return [f"{name}: {lines} lines, the limit is {LIMIT}: split it by noun"] if lines > LIMIT else []


def run():
    names = tree.files(".h", ".cc", ".py", ".sh", ".proto", ".cmake")
    return [p for n in names for p in check_text(n, tree.text(n))]


def self_test():
    assert check_text("a.cc", "x\n" * 601) and not check_text("a.cc", "x\n" * 600)
