"""No program of ours loads OpenSSL: its symbols collide with BoringSSL's and the process dies in the middle of a handshake."""
import os
import subprocess

import tree

FORBIDDEN = ("libssl.so", "libcrypto.so", "libcurl", "libgrpc", "libevent_openssl", "libgnutls")


def bad_libraries(ldd_output):
    """Debian's BoringSSL lives in .../android/ and its sonames are libssl.so.0, libcrypto.so.0: allowed there only."""
    bad = []
    for line in ldd_output.splitlines():
        words = line.split()
        if not words or not words[0].startswith(FORBIDDEN):
            continue
        path = words[2] if len(words) > 2 else ""
        if "/android/" not in path:
            bad.append(line.strip())
    return bad


def programs():
    for build in ("build/release", "build/dev"):
        found = [os.path.join(d, f) for d, _, fs in os.walk(os.path.join(tree.ROOT, build)) for f in fs
                 if (f in ("edgemeshd", "edgemeshctl") or f.endswith("_test")) and os.access(os.path.join(d, f), os.X_OK)]
        if found:
            return found
    return []


def run():
    found = programs()
    if not found:
        return ["no built program to look at: build first (make build)"]
    problems = []
    for p in found:
        out = subprocess.run(["ldd", p], capture_output=True, text=True).stdout
        problems += [f"{os.path.relpath(p, tree.ROOT)}: links {b}" for b in bad_libraries(out)]
    return problems


def self_test():
    assert bad_libraries("\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x1)\n")
    assert bad_libraries("\tlibcurl.so.4 => /lib/libcurl.so.4 (0x1)\n")
    assert not bad_libraries("\tlibcrypto.so.0 => /usr/lib/x86_64-linux-gnu/android/libcrypto.so.0 (0x1)\n\tlibc.so.6 => /lib/libc.so.6\n")
