"""A compiler that miscompiles us is refused before anything is built, and the refusal says why and what instead."""
import os
import subprocess

import tree

FILE = "cmake/compiler.cmake"


def refusal(compiler, version):
    """What CMake says to that compiler; "" when it is taken."""
    r = subprocess.run(["cmake", f"-DCMAKE_CXX_COMPILER_ID={compiler}", f"-DCMAKE_CXX_COMPILER_VERSION={version}", "-P", os.path.join(tree.ROOT, FILE)],
                       capture_output=True, text=True)
    return " ".join(r.stderr.split()) if r.returncode else ""


def run():
    problems = [f"{FILE}: g++ {v} is not refused with its reason and mend: {refusal('GNU', v)!r}" for v in ("12.2.0", "10.2.1")
                if not all(part in refusal("GNU", v) for part in (f"g++ {v}", "miscompiles coroutines", "clang-19", "g++ 13"))]
    problems += [f"{FILE}: {c} {v} is refused: {refusal(c, v)}" for c, v in (("GNU", "13.1.0"), ("Clang", "19.1.4")) if refusal(c, v)]
    if f"include({FILE})" not in tree.text("CMakeLists.txt"):
        problems.append(f"CMakeLists.txt does not include {FILE}")
    return problems


def self_test():
    assert refusal("GNU", "4.8.0") and not refusal("GNU", "99.0")
