"""Tries mutants with the tests that reach them."""
import json, os, re, resource, select, signal, subprocess, tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

from switches import BUILD, folder

# Of random tests fewer cases, and none to be the smallest that fails.
QUICK = {
    "PROPTEST_CASES": "32",
    "PROPTEST_MAX_SHRINK_ITERS": "0",
    "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true",
    "RUST_BACKTRACE": "0",
    "RUSTC_BOOTSTRAP": "1",  # for the time that each test takes
}
# What takes long and is about time or memory, for which small mutants are no test.
SLOW = ["a_large_message_in_chunks", "a_million_control_frames", "a_head_that_trickles_in", "the_limit_is_on_what_it_becomes"]
ALL_BUT_SLOW = [argument for test in SLOW for argument in ("--skip", test)]
MEMORY = 8_000_000 << 10  # a mutant may allocate without end
# Seconds. A test that takes longer is not tried.
LONG = 5
# A program built for one mutant hangs if none of its tests ends for so many seconds.
HANGS = 120
# A test that takes longer than that, in seconds, and five times its own time, hangs: that counts as
# noticed.
PATIENCE = 10
# A program that nobody waits for any more ends after so many seconds of processor time.
PROCESSOR = 1800


class Outcomes:
    """What became of each mutant, by its name. Kept in a file."""

    def __init__(self, path):
        self.path, self.of = path, {}
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    it = json.loads(line)
                    self.of[it["name"]] = it["outcome"]

    def has(self, mutant):
        return mutant["name"] in self.of

    def add(self, mutant, outcome, by=""):
        self.of[mutant["name"]] = outcome
        with open(self.path, "a") as file:
            file.write(json.dumps({"name": mutant["name"], "outcome": outcome, "by": by}) + "\n")
        if outcome in ("survived", "unreached", "timeout"):
            print(f"{outcome:9} {mutant['name']}", flush=True)

    def noticed(self, mutant, program, code, tests):
        failed = [test for test, (passed, _) in tests.items() if not passed]
        self.add(mutant, "timeout" if code is None else "caught", f"{program}: {' '.join(failed[:3])}")

    def told(self, mutants):
        """The sum. How many no test noticed."""
        sums = Counter(self.of.get(mutant["name"], "unviable") for mutant in mutants)
        print(", ".join(f"{count} {outcome}" for outcome, count in sums.most_common()))
        return sums["survived"] + sums["unreached"]


def built(tree, packages, target, incremental="0"):
    """The programs with tests, by name: where they are, and where they run. None if it does not compile."""
    programs = {}
    for package, wanted in packages:
        command = ["cargo", "test", "--no-run", "--all-features", "--message-format=json", "-p", package]
        command += ["--target-dir", os.path.join(target, "build")]
        for name in wanted.split():
            command += ["--lib"] if name == "lib" else ["--test", name]
        env = dict(os.environ, **BUILD, CARGO_PROFILE_DEV_DEBUG="0", CARGO_PROFILE_DEV_OPT_LEVEL="1")
        env["CARGO_INCREMENTAL"] = incremental
        told = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
        if told.returncode:
            return None
        for line in told.stdout.splitlines():
            it = json.loads(line)
            if it.get("executable") and it["profile"]["test"]:
                kind, name = it["target"]["kind"][0], it["target"]["name"]
                cwd = os.path.join(tree, folder(package))
                programs["lib" if kind == "lib" else name] = (it["executable"], cwd)
    return programs


def run(program, arguments, env, patience):
    """Which tests passed and failed, with their seconds; `None` where none ended for as long as that."""

    def limited():
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))

    path, cwd = program
    command = [path, *arguments, "-Zunstable-options", "--report-time"]
    env = dict(os.environ, **QUICK, **env)
    child = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=limited)
    out = b""
    while not (hangs := not select.select([child.stdout], [], [], patience)[0]):
        more = os.read(child.stdout.fileno(), 1 << 16)
        if not more:
            break
        out += more
    if hangs:
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    if hangs:
        return None, {}
    tests = {}
    for name, passed, seconds in re.findall(r"^test (\S+)(?: - should panic)? \.\.\. .*?\b(ok|FAILED) <([\d.]+)s>", out.decode(errors="replace"), re.M):
        tests[name] = (passed == "ok", float(seconds))
    return child.returncode, tests


def reached(programs):
    """For each mutant the tests that come by it: (seconds, program, test), the quick and specific first."""
    by, wide = defaultdict(list), Counter()
    for name, program in programs.items():
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "reached")
            _, tests = run(program, ALL_BUT_SLOW, {"MUTANT_REACHED": path}, 600)
            seen = defaultdict(set)
            if os.path.exists(path):
                with open(path) as file:
                    for line in file:
                        number, test = line.rstrip("\n").split("\t")
                        seen[int(number)].add(test)
        good = {test: seconds for test, (passed, seconds) in tests.items() if passed and seconds < LONG}
        print(f"{name}: {len(good)} of {len(tests)} tests", flush=True)
        for number, named in seen.items():
            wide.update((name, test) for test in named & good.keys())
            # Threads that are no test's belong to any.
            those = named & good.keys() if named <= tests.keys() else good
            by[number] += [(test not in named, good[test], name, test) for test in those]

    def order(it):
        return it[0], wide[it[2:]] * (it[1] + 0.01)

    return {number: [it[1:] for it in sorted(those, key=order)] for number, those in by.items()}


def switched(tree, mutants, packages, target, outcomes):
    mutants = [mutant for mutant in mutants if not outcomes.has(mutant)]
    if not mutants:
        return
    programs = built(tree, set(packages.values()), target)
    if programs is None:
        raise SystemExit("the tests do not compile with the switches")
    by = reached(programs)

    def attempt(mutant):
        tests = by.get(mutant["switch"], [])
        # A few at first, since one of them is enough as a rule.
        for some in (tests[:12], tests[12:72], tests[72:]):
            for name in dict.fromkeys(program for _, program, _ in some):
                those = [(seconds, test) for seconds, program, test in some if program == name]
                patience = PATIENCE + 5 * max(seconds for seconds, _ in those)
                arguments = ["--exact", "--test-threads=1", "--fail-fast", *(test for _, test in those)]
                code, told = run(programs[name], arguments, {"MUTANT": str(mutant["switch"])}, patience)
                if code != 0:
                    return outcomes.noticed(mutant, name, code, told)
        outcomes.add(mutant, "survived" if tests else "unreached")

    # Tests wait as much as they work.
    with ThreadPoolExecutor(2 * os.cpu_count()) as pool:
        list(pool.map(attempt, mutants))


def alone(tree, mutants, packages, target, outcomes):
    for mutant in mutants:
        if outcomes.has(mutant):
            continue
        path = os.path.join(tree, mutant["file"])
        with open(path) as file:
            text = file.read()
        lines = text.splitlines(keepends=True)
        start, end = (sum(map(len, lines[: at["line"] - 1])) + at["column"] - 1 for at in (mutant["span"]["start"], mutant["span"]["end"]))
        with open(path, "w") as file:
            file.write(text[:start] + mutant["replacement"] + text[end:])
        try:
            attempt_alone(tree, mutant, packages[mutant["package"]], target, outcomes)
        finally:
            with open(path, "w") as file:
                file.write(text)


def attempt_alone(tree, mutant, tested_by, target, outcomes):
    """Builds one program at a time: the first ones notice most."""
    package, names = tested_by
    for name in names.split():
        programs = built(tree, [(package, name)], target, "1")  # a mutant changes one function
        if programs is None:
            return outcomes.add(mutant, "unviable")
        code, tests = run(programs[name], ALL_BUT_SLOW, {}, HANGS)
        if code != 0:
            return outcomes.noticed(mutant, name, code, tests)
    outcomes.add(mutant, "survived")
