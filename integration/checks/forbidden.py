"""Time and chance are given: system clocks, random sources, sleeping, the environment and raw sockets are touched only where the
floor wraps them (base/core, base/loop, base/net) and in tests."""
import re

import tree

FLOOR = ("base/core/", "base/loop/", "base/net/", "integration/")
PATTERNS = [
    (r"\bstd::chrono::(system|steady|high_resolution)_clock\b", "a clock of its own; take `now` or ask Loop::now()"),
    (r"\b(clock_gettime|gettimeofday|time)\s*\(\s*(NULL|nullptr|0|CLOCK_\w+|&)", "a clock of its own; take `now` or ask Loop::now()"),
    (r"\bstd::(random_device|mt19937(_64)?|default_random_engine)\b", "a random source of its own; use the injected base::Rng"),
    (r"(?<![\w.>])(s?rand|s?random|[dejlmn]rand48|arc4random\w*|RAND_bytes|getrandom|getentropy)\s*\(", "a random source of its own; use the injected base::Rng"),
    (r"\b(std::this_thread::sleep_\w+|usleep|nanosleep|(?<![\w.>:])sleep)\s*\(", "sleeping; use a timer of the loop"),
    (r"\b(secure_)?getenv\s*\(", "reading the environment; it belongs into the config"),
    (r"(?<![\w.>:])(::)?socket\s*\(", "a socket of its own; ask base/net or the SocketStore"),
]
COMPILED = [(re.compile(p), why) for p, why in PATTERNS]


def check_file(name, source):
    if name.startswith(FLOOR) or re.search(r"_(test|fuzz|sim|lab)\.(cc|h)$", name) or "/testing/" in name:
        return []
    lines = tree.code(source).splitlines()
    return [f"{name}:{i}: {why}" for i, line in enumerate(lines, 1) for rx, why in COMPILED if rx.search(line)]


def run():
    return [p for name in tree.files(*tree.CODE) for p in check_file(name, tree.text(name))]


def self_test():
    for bad in ("auto t = std::chrono::steady_clock::now();", "clock_gettime(CLOCK_REALTIME, &ts);", "int x = rand();",
                "std::mt19937 g;", "usleep(10);", "sleep(1);", 'getenv("HOME");', "int fd = ::socket(AF_INET, SOCK_DGRAM, 0);",
                "fd = socket(AF_INET, SOCK_STREAM, 0);", "RAND_bytes(p, 4);", "x = time(nullptr);"):
        assert check_file("tunnel/session.cc", bad), bad
    for good in ("// sleep(1) would be wrong", 'log("rand() socket(");', "store.socket(name);", "runtime(0);", "rng.random();", "case Policy::random: return Kind::random;"):
        assert not check_file("tunnel/session.cc", good), good
    assert not check_file("base/net/socket.cc", "fd = socket(AF_INET, SOCK_STREAM, 0);")
    assert not check_file("tunnel/session_test.cc", "usleep(10);")
