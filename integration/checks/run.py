#!/usr/bin/env python3
"""checks [NAME...]: looks at the tree (and the built programs) for what review must not have to look for.
Each check is first fed a bad example of its own: a check that cannot fail is worth nothing."""
import importlib
import sys
import os

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
NAMES = ["layers", "forbidden", "paths", "filesize", "metrics", "compiler", "linked"]


def check(name):
    """The problems found, as lines."""
    module = importlib.import_module(name)
    try:
        module.self_test()
    except AssertionError as e:
        return [f"{name}: its self-test does not hold: {e}"]
    return module.run()


def main():
    failed = 0
    for name in sys.argv[1:] or NAMES:
        problems = check(name)
        failed += bool(problems)
        print(f"{'FAIL' if problems else 'ok  '} {name}")
        for p in problems:
            print("     " + p)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
