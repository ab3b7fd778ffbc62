"""The steps of `make test`. Each returns (number passed, [one text per failure]); Broken stops a step that cannot even run."""
import concurrent.futures
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOBS = os.cpu_count() or 2
TEST_SECONDS_MAX = 300


class Broken(Exception):
    pass


def tail(text, lines=25):
    return "\n".join(text.rstrip().splitlines()[-lines:])


def must(argv, **kw):
    r = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **kw)
    if r.returncode:
        raise Broken(f"{' '.join(argv)}:\n{tail(r.stdout)}")
    return r.stdout


def build(preset, *targets):
    must(["cmake", "--preset", preset])
    must(["ninja", "-C", f"build/{preset}", "-k", "0", f"-j{JOBS}", *targets])


def listed(path):
    with open(os.path.join(ROOT, path)) as f:
        return [line.strip() for line in f if line.strip() and not line.startswith("#")]


def find_program(folder, name):
    for d, _, files in os.walk(os.path.join(ROOT, folder)):
        if name in files and os.access(os.path.join(d, name), os.X_OK):
            return os.path.join(d, name)
    raise Broken(f"{name}: not built under {folder}")


SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def run_program(argv, shard=None):
    """One test program -> (cases passed, [failures]). googletest cases are counted singly; anything else counts as one.
    shard: (i, n), every nth case from the ith."""
    name = os.path.basename(argv[0])
    shards = {"GTEST_SHARD_INDEX": str(shard[0]), "GTEST_TOTAL_SHARDS": str(shard[1])} if shard else {}
    try:
        r = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                           timeout=TEST_SECONDS_MAX, env={**os.environ, **SANITIZER_ENV, **shards}, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as e:
        return 0, [f"{name}: not done after {TEST_SECONDS_MAX} s\n{tail((e.stdout or b'').decode(errors='replace'))}"]
    return judge(name, r.returncode, r.stdout)


VERDICT_BAD = r"^\[  (?:FAILED  |SKIPPED )\] "  # a skipped test is a failed test


def judge(name, code, out):
    passed = len(re.findall(r"^\[       OK \]", out, re.M))
    bad = re.findall(VERDICT_BAD + r"([\w/]+\.[\w/]+)", out, re.M)
    failures = [f"{name}: {case}\n{excerpt(out, case)}" for case in dict.fromkeys(bad)]
    if code and not failures:
        failures = [f"{name}: exit status {code}\n{tail(out, 40)}"]
    if not code and not failures and "[==========]" in out and passed == 0:
        failures = [f"{name}: no test ran"]
    if "[==========]" not in out and not failures:
        passed = 1
    return passed, failures


def self_test():
    """The judge is judged first: a runner that overlooks a failure is worse than none."""
    run, ok, bad = "[ RUN      ] {}\n", "[       OK ] {} (1 ms)\n", "line\n[  FAILED  ] {} (1 ms)\n"
    a, b, skipped = run.format("S.a") + ok.format("S.a"), run.format("S.b") + bad.format("S.b"), run.format("S.c") + "why\n[  SKIPPED ] S.c (0 ms)\n"
    bar = "[==========] 2 tests\n"
    assert judge("t", 0, bar + a) == (1, [])
    assert judge("t", 1, bar + a + b + "[  FAILED  ] 1 test, listed below:\n[  FAILED  ] S.b\n") == (1, ["t: S.b\nline"])
    assert judge("t", 0, bar + a + skipped) == (1, ["t: S.c\nwhy"])
    assert judge("t", -6, bar + a)[1][0].startswith("t: exit status -6")
    assert judge("t", 0, bar)[1] == ["t: no test ran"]
    assert judge("replay", 0, "3 inputs\n") == (1, [])
    first = "PASS a 0 failures =0\nFAIL b 3 calls off <=1\n     why\nFAIL c: exit status 1\n     trace\n"
    assert scenario_verdicts(first) == (1, ["FAIL b 3 calls off <=1\n     why", "FAIL c: exit status 1\n     trace"], [])
    again = first + "PASS b 0 calls off <=1\nFAIL c 2 ms <=1\n"
    assert scenario_verdicts(again) == (2, ["FAIL c 2 ms <=1"], [("b", "FAIL b 3 calls off <=1\n     why")])


def excerpt(out, case):
    """What the case printed between its RUN and its verdict."""
    m = re.search(r"^\[ RUN      \] " + re.escape(case) + r"$(.*?)" + VERDICT_BAD, out, re.M | re.S)
    return tail(m.group(1).strip("\n"), 20) if m else ""


SHARDS = 4


def run_all(programs, at_once=JOBS):
    """Those of waiting_tests.txt first and in shards: most of their time they wait, and one of them at the end would hold up all."""
    waiting = listed("integration/test/waiting_tests.txt")
    rank = {name: i for i, name in enumerate(waiting)}
    parts = []
    for p in sorted(programs, key=lambda p: rank.get(os.path.basename(p[0]), len(waiting))):
        parts += [(p, (i, SHARDS)) for i in range(SHARDS)] if os.path.basename(p[0]) in rank else [(p, None)]
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda part: run_program(*part), parts))
    return sum(r[0] for r in results), [f for r in results for f in r[1]]


def test_programs(preset):
    """argv of each program that registered itself; fuzz targets are given their corpus."""
    names = listed(f"build/{preset}/tests.txt")
    return [[find_program(f"build/{preset}", n)] + ([f"{ROOT}/integration/fuzz/{n}"] if n.endswith("_fuzz") else []) for n in names]


def unit_tests(preset):
    build(preset, "unit_tests")
    programs = test_programs(preset)
    if not programs:
        raise Broken("no test program is registered")
    return run_all(programs, 4 * JOBS if preset == "release" else 2 * JOBS)


def script(argv, good=r"^(?:ok|PASS) +(\S+)", bad=r"^FAIL +(.*)", timeout=3600):
    """A script of ours that prints one verdict line per thing it judged."""
    r = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout,
                       stdin=subprocess.DEVNULL)
    passed, failures = len(re.findall(good, r.stdout, re.M)), re.findall(bad, r.stdout, re.M)
    if r.returncode and not failures:
        failures = [f"{' '.join(argv)}: exit status {r.returncode}"]
    return passed, [failures[0] + "\n" + tail(r.stdout, 60)] + failures[1:] if failures else []


def tree_checks():
    self_test()
    return script([sys.executable, "integration/checks/run.py", "layers", "forbidden", "paths", "filesize", "metrics", "compiler"])


def linked_check():
    build("release", "edgemeshd", "edgemeshctl")
    return script([sys.executable, "integration/checks/run.py", "linked"])


def dns_cases():
    """Counted singly; a case that differs counts as failed."""
    build("release", "dns_serve")
    r = subprocess.run([sys.executable, "integration/conformance/dns/every.py"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    passed = sum(int(n) for n in re.findall(r"^\S+: (\d+) pass", r.stdout, re.M))
    failures = re.findall(r"^(?:FAIL|differs) .*", r.stdout, re.M)
    return passed, failures if failures or not r.returncode else [tail(r.stdout)]


AGAIN_MAX = 3


def acceptance():
    """A scenario that missed its limit is judged once more with the machine to itself; the runner says so, with what was wrong."""
    build("release", "edgemeshd", "edgemeshctl", "tunnel_fleet")  # the last for a scenario that is run by name: it must go on compiling
    listed_names = subprocess.run(["integration/accept", "--list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in listed_names.splitlines() if not line.endswith("[by name only]")]
    r = subprocess.run(["integration/accept", "--jobs", str(4 * JOBS), "--again", str(AGAIN_MAX), *names], cwd=ROOT, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, errors="replace", timeout=3600, stdin=subprocess.DEVNULL)
    passed, failures, second = scenario_verdicts(r.stdout)
    for name, why in second:
        print(f"     {name}: passed at the second try, alone; beside the others:\n       " + why.replace("\n", "\n       "), flush=True)
    missing = len(names) - passed - len(failures)
    if missing or (r.returncode and not failures):
        failures.append(f"integration/accept: exit status {r.returncode}, {missing} scenarios without a verdict\n{tail(r.stdout, 40)}")
    return passed, failures


def scenario_verdicts(out):
    """-> passed, [failure texts], [(name, what its first try said)]. A name's last verdict counts; indented lines belong to the one above."""
    said = {}
    for m in re.finditer(r"^(PASS|FAIL) (\S+?):?(?: .*)?$(?:\n     .*)*", out, re.M):
        said.setdefault(m.group(2), []).append((m.group(1), m.group(0)))
    failures = [tries[-1][1] for tries in said.values() if tries[-1][0] == "FAIL"]
    second = [(name, tries[0][1]) for name, tries in said.items() if len(tries) > 1 and tries[-1][0] == "PASS"]
    return len(said) - len(failures), failures, second


def demo_run(*args, build_dir="build/release", env={}):
    return subprocess.run([sys.executable, "integration/demo/demo.py", "--build", build_dir, *args], cwd=ROOT, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=900, env={**os.environ, **env})


def build_demo():
    build("release", "edgemeshd", "edgemeshctl")


def demo():
    """The demo holds; and each sabotage makes it fail, at the step that part carries."""
    r = demo_run()
    failures = [f"demo: exit status {r.returncode}\n{tail(r.stdout, 60)}"] if r.returncode else []
    passed = 0 if failures else 1
    sabotages = subprocess.run([sys.executable, "integration/demo/demo.py", "--sabotages"], cwd=ROOT, capture_output=True, text=True, check=True)
    parts = sabotages.stdout.split()
    with concurrent.futures.ThreadPoolExecutor(2 * JOBS) as pool:
        broken = list(pool.map(lambda part: demo_run("--break", part), parts))
    for part, r in zip(parts, broken):
        if r.returncode == 3:  # failed, and where it had to
            passed += 1
        else:
            failures.append(f"demo --break {part}: exit status {r.returncode}, 3 (failed at its step) is right\n{tail(r.stdout, 30)}")
    return passed, failures


def build_asan_demo():
    build("asan-ubsan", "edgemeshd", "edgemeshctl")


def asan_demo():
    r = demo_run("--patient", build_dir="build/asan-ubsan", env=SANITIZER_ENV)
    return (0, [f"demo: exit status {r.returncode}\n{tail(r.stdout, 60)}"]) if r.returncode else (1, [])


def build_tsan():
    build("tsan", *listed("integration/test/tsan_tests.txt"))


def tsan():
    return run_all([[find_program("build/tsan", n)] for n in listed("integration/test/tsan_tests.txt")])


def build_sims():
    build("release", *listed("integration/test/sims.txt"))


def simulations(seeds=20, fleet=50):
    sim = ["nice", "-n", "19", sys.executable, "integration/test/sim.py", "--seeds", str(seeds)]
    few, many = script(sim), script([*sim, "--nodes", str(fleet)])
    return few[0] + many[0], few[1] + many[1]


def build_arm(arch):
    build_dir = f"build/{arch}"
    must(["cmake", "-S", "integration/cross", "-B", build_dir, "-G", "Ninja", f"-DARM={arch}"])
    must(["ninja", "-C", build_dir, f"-j{JOBS}"])


def arm(arch, qemu):
    return run_program([qemu, f"{ROOT}/build/{arch}/sans_io_test"])
