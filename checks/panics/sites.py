"""Prints the panic paths in a crate's LLVM IR, one a line: function, what panics, the number of places.

A panic path is a call of a function that never returns. The debug information of the call names the source functions that
were inlined there; the innermost function of this crate gets the path. Code of other crates that is compiled into this
crate (generics, inline functions) passes its panics on to the functions of this crate that call it.

    python3 sites.py tickwire FILE.ll
"""

import re
import sys
from collections import defaultdict

# These are no panics of this crate: memory is exhausted, or unwinding met a second panic.
OTHERS = ("handle_alloc_error", "raw_vec12handle_error", "capacity_overflow", "panic_in_cleanup", "panic_nounwind")

crate, text = sys.argv[1], open(sys.argv[2]).read().replace("\n          to label", " to label")
nodes = dict(re.findall(r"^(!\d+) = (?:distinct )?(!DI\w+\(.*\))$", text, re.M))
never = {n for n, what in re.findall(r"^attributes (#\d+) = \{([^\n]*)\}", text, re.M) if "noreturn" in what.split()}


def field(node, name):
    found = re.search(rf'\b{name}: (?:"([^"]*)"|([!\w]+))', nodes[node])
    return found and (found[2] or found[1])


def path(scope):
    """The path of the function that a scope is in, without closures: `["tickwire", "proto", "frame", "put"]`."""
    names = []
    while scope in nodes:
        if not nodes[scope].startswith("!DILexicalBlock"):
            names.insert(0, re.sub(r"<.*", "", field(scope, "name") or ""))
        scope = field(scope, "scope")
    return [name for name in names if not name.startswith("{")]


def innermost(at):
    """The innermost function of this crate at a location, and the place in it."""
    while at in nodes:
        names = path(field(at, "scope"))
        if names and names[0] == crate:
            return "::".join(names[1:]), (field(at, "line"), field(at, "column"))
        at = field(at, "inlinedAt")
    return None


def kind(symbol):
    """The last identifier in a mangled name: `panic_bounds_check`."""
    words, at = [symbol], 0
    while found := re.compile(r"(?<!\d)(\d+)_?").search(symbol, at):
        word = symbol[found.end() : found.end() + int(found[1])]
        whole = len(word) == int(found[1]) > 1 and re.fullmatch(r"[A-Za-z_][\w$.]*", word)
        at = found.end() + (len(word) if whole else 0)
        if whole and not re.fullmatch(r"h[0-9a-f]{16}", word):
            words.append(word)
    return words[-1]


# A function that this crate does not contain, and that never returns: what it does.
reached = defaultdict(set)
for line, name in re.findall(r'^(declare [^@\n]*@("[^"]+"|[\w.$]+)\([^\n]*)$', text, re.M):
    if set(re.findall(r"#\d+", line)) & never and not name.startswith("llvm.") and not any(o in name for o in OTHERS):
        reached[name].add(kind(name))
panics = set(reached)

calls = []  # (function and place in this crate, or a symbol of other code; what it calls)
for symbol, body in re.findall(r'^define [^\n]*?@("[^"]+"|[\w.$]+)\((.*?)^\}', text, re.M | re.S):
    for line in body.splitlines():
        if call := re.search(r'\b(?:call|invoke)\b[^@]*@("[^"]+"|[\w.$]+)\(', line):
            at = re.search(r"!dbg (!\d+)", line)
            calls.append((at and innermost(at[1]) or symbol, call[1]))

grew = True
while grew:
    grew = False
    for caller, callee in calls:
        if isinstance(caller, str) and not reached[callee] <= reached[caller]:
            reached[caller] |= reached[callee]
            grew = True

places = defaultdict(set)
for caller, callee in calls:
    if not isinstance(caller, str):
        for what in reached[callee]:
            places[caller[0], what].add(caller[1])
if not panics or not places:
    sys.exit("no panic path at all: the IR is not what this script reads")
for (function, what), where in sorted(places.items()):
    print(function, what, len(where))
