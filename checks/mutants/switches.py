"""Puts mutants into the sources, each behind a switch, and takes out again those that do not compile."""
import json, os, re, shutil, subprocess
from bisect import bisect_right
from collections import defaultdict

import tree_sitter, tree_sitter_rust

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
HERE = os.path.dirname(os.path.abspath(__file__))
# For what has mutants in it.
BUILD = {"RUSTFLAGS": "--cap-lints allow", "CARGO_INCREMENTAL": "0"}
# What the compiler says of names and types that do not fit, which it would say of the mutant alone,
# too.
UNVIABLE = {"E0004", "E0271", "E0277", "E0308", "E0368", "E0369", "E0412", "E0425", "E0433", "E0599", "E0600", "E0614"}


def folder(package):
    """Where a package is in the tree: the crate itself at its root."""
    return "" if package == "tickwire" else package


class Source:
    """A file, its mutants, and how it is written with some of them."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        starts = [0]
        for line in text.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        self.starts = starts
        self.edits = defaultdict(list)  # of a span and a kind: mutants, and what they put there
        self.nodes = {}
        self.consts = []  # of each `const fn`: its span, its name, and that of `const`
        self.loose, self.firm = set(), set()  # those that are not const, and those that must be
        self.copied = []  # places in what is written, and what of the text is there
        todo = [PARSER.parse(text).root_node]
        while todo:
            node = todo.pop()
            if node.type in ("binary_expression", "compound_assignment_expr"):
                self.nodes[node.child_by_field_name("operator").start_byte] = node
            elif node.type in ("unary_expression", "match_arm"):
                self.nodes[node.start_byte] = node
            elif node.type == "function_item" and node.child(0).type in ("function_modifiers", "visibility_modifier"):
                words = [word for child in node.children for word in (child, *child.children) if word.type == "const"]
                if words:
                    name = self.of(node.child_by_field_name("name")).decode()
                    self.consts.append((node.start_byte, node.end_byte, name, words[0].start_byte))
            todo += node.children

    def loosen(self, written):
        """Lets the `const fn` around a place in what was written be none, if it may."""
        to, start, end = self.copied[bisect_right(self.copied, (written, len(self.text))) - 1]
        at = min(start + written - to, end)
        around = {it for it in self.consts if it[0] <= at < it[1]} - self.firm - self.loose
        self.loose |= around
        return bool(around)

    def fasten(self, name):
        """The functions of that name have to be const again: their mutants are returned."""
        firm = {it for it in self.loose if it[2] == name}
        self.firm |= firm
        self.loose -= firm
        spans = [it[:2] for it in firm]
        all_of = [(at, mutant) for at, edits in self.edits.items() for mutant, _ in edits if mutant.get("switch")]
        return [mutant for at, mutant in all_of if any(start <= at[0] < end for start, end in spans)]

    def byte(self, at):
        row = self.text[self.starts[at["line"] - 1] : self.starts[at["line"]]].decode()
        return self.starts[at["line"] - 1] + len(row[: at["column"] - 1].encode())

    def of(self, node):
        return self.text[node.start_byte : node.end_byte]

    def place(self, mutant):
        """Whether it can be behind a switch."""
        start, end = self.byte(mutant["span"]["start"]), self.byte(mutant["span"]["end"])
        genre, new = mutant["genre"], mutant["replacement"].encode()
        node = self.nodes.get(start)
        if genre == "FnValue":
            if b"::std::iter::" in new:  # a type of its own, behind `impl`
                return False
            self.edits[start, start, "return"].append((mutant, new))
        elif genre == "MatchArmGuard":
            self.edits[start, end, "value"].append((mutant, new))
        elif genre == "BinaryOperator" and node and node.type != "match_arm":
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if b"let " in self.of(node):
                return False
            whole = self.of(left) + b" " + new + b" " + self.of(right)
            self.edits[node.start_byte, node.end_byte, "value"].append((mutant, whole))
        elif genre == "UnaryOperator" and node and node.type == "unary_expression":
            operand = self.text[end : node.end_byte]
            self.edits[node.start_byte, node.end_byte, "value"].append((mutant, new + operand))
        elif genre == "MatchArm" and node and node.type == "match_arm":
            pattern = node.child_by_field_name("pattern")
            guard = pattern.child_by_field_name("condition")
            at = (guard.start_byte, guard.end_byte, "guard") if guard else (pattern.end_byte, pattern.end_byte, "arm")
            self.edits[at].append((mutant, b""))
        else:
            return False
        return True

    def written(self):
        """The text with all that are in, and where each of them is in it."""
        rank = {"return": 0, "arm": 0, "const": 0, "guard": 1, "value": 2}
        todo = [(at, [it for it in edits if it[0].get("switch")]) for at, edits in self.edits.items()]
        todo = [it for it in todo if it[1]] + [((at, at + len("const "), "const"), []) for *_, at in self.loose]
        # What is put at a place comes before what begins there, and the outer before the inner.
        todo.sort(key=lambda it: (it[0][0], it[0][1] > it[0][0], -it[0][1], rank[it[0][2]]))
        out, marks, pos = bytearray(), [], 0
        self.copied = []

        def put(mutant, text):
            marks.append((len(out), len(out) + len(text), mutant))
            out.extend(text)

        def copy(upto):
            nonlocal pos
            self.copied.append((len(out), pos, upto))
            out.extend(self.text[pos:upto])
            pos = upto

        def within(limit):
            nonlocal pos
            while todo and todo[0][0][0] <= limit and todo[0][0][1] <= limit:
                (start, end, kind), edits = todo.pop(0)
                copy(start)
                on = [b"crate::mutant::on(%d)" % mutant["switch"] for mutant, _ in edits]
                if kind == "const":
                    pos = end
                elif kind == "return":
                    for (mutant, new), on in zip(edits, on):
                        put(mutant, b"if %s { return %s; } " % (on, new))
                elif kind == "arm":
                    put(edits[0][0], b" if !" + on[0])
                elif kind == "guard":
                    put(edits[0][0], b"!" + on[0] + b" && (")
                    within(end)
                    copy(end)
                    out.extend(b")")
                else:
                    out.extend(b"(")
                    for (mutant, new), on in zip(edits, on):
                        put(mutant, b"if %s { %s } else " % (on, new))
                    began = len(out)
                    out.extend(b"{ ")
                    within(end)
                    copy(end)
                    out.extend(b" })")
                    marks.append((began, len(out), edits[0][0]))

        within(len(self.text))
        copy(len(self.text))
        return bytes(out), marks


def embed(tree, mutants, packages, target):
    """Gives a `switch` to all that can have one. Returns those that cannot, and may compile all the same."""
    sources, alone = {}, []
    for number, mutant in enumerate(mutants, 1):
        path = mutant["file"]
        if path not in sources:
            with open(os.path.join(tree, path), "rb") as file:
                sources[path] = Source(path, file.read())
        if sources[path].place(mutant):
            mutant["switch"] = number
        else:
            alone.append(mutant)
    for package in packages:
        root = os.path.join(tree, folder(package), "src")
        shutil.copy(os.path.join(HERE, "mutant.rs"), root)
        with open(os.path.join(root, "lib.rs"), "a") as file:
            file.write("\nmod mutant;\n")
    while True:
        marks = {}
        for path, source in sources.items():
            text, marks[path] = source.written()
            with open(os.path.join(tree, path), "wb") as file:
                file.write(text)
        errors = list(checked(tree, packages, target))
        if not errors:
            return alone
        blamed, loosened = {}, False
        for error in errors:
            code = (error["code"] or {}).get("code", "")
            if code == "E0015":  # called where all has to be const
                if loosen(error, sources):
                    loosened = True
                    continue
                name = re.search(r"`([^`]*)`", error["message"])[1].split("::")[-1]
                firm = [mutant for source in sources.values() for mutant in source.fasten(name)]
                if firm:
                    blamed |= {mutant["switch"]: (mutant, code) for mutant in firm}
                    continue
            for mutant in blame(error, marks):
                blamed[mutant["switch"]] = (mutant, code)
        if not blamed and not loosened:
            raise SystemExit("the compiler blames no mutant:\n" + "\n".join(error["rendered"] for error in errors[:5]))
        for mutant, code in blamed.values():
            del mutant["switch"]
            if code not in UNVIABLE:
                alone.append(mutant)
        print(f"{len(blamed)} do not compile behind a switch", flush=True)


def loosen(error, sources):
    """Whether the function that an error is in need not be const, so far as is known."""
    places = [(os.path.normpath(span["file_name"]), span["byte_start"]) for span in error["spans"] if span["is_primary"]]
    return any(path in sources and sources[path].loosen(at) for path, at in places)


def checked(tree, packages, target):
    command = ["cargo", "check", "--all-features", "--message-format=json", "--target-dir", os.path.join(target, "build")]
    for package in packages:
        command += ["-p", package]
    env = dict(os.environ, **BUILD)
    told = subprocess.run(command, cwd=tree, capture_output=True, text=True, env=env)
    found = False
    for line in told.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-message" and message["message"]["level"] == "error":
            if message["message"]["spans"]:
                found = True
                yield message["message"]
    if told.returncode and not found:
        raise SystemExit(told.stderr)


def blame(error, marks):
    """The mutants that an error is about: the innermost around its place, or all that lie in it."""
    spans = sorted(error["spans"], key=lambda span: not span["is_primary"])
    for span in spans:
        start, end = span["byte_start"], span["byte_end"]
        mine = [mark for mark in marks.get(os.path.normpath(span["file_name"]), ()) if mark[2].get("switch")]
        around = [mark for mark in mine if mark[0] <= start < mark[1]]
        if around:
            return [min(around, key=lambda mark: mark[1] - mark[0])[2]]
        inside = [mark[2] for mark in mine if start <= mark[0] < end]
        if inside:
            return inside
    # A match that lacks an arm says where it begins.
    for span in spans:
        mine = marks.get(os.path.normpath(span["file_name"]), ())
        behind = [m for at, _, m in mine if m.get("switch") and m["genre"] == "MatchArm" and at > span["byte_start"]]
        if behind:
            return [m for m in behind if m["function"] == behind[0]["function"]]
    return []


def restore(tree, root, mutants, packages):
    """The sources without switches, for those that are built alone."""
    paths = {mutant["file"] for mutant in mutants}
    paths |= {os.path.join(folder(package), "src/lib.rs") for package in packages}
    for path in paths:
        shutil.copy(os.path.join(root, path), os.path.join(tree, path))
