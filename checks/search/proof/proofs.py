"""What z3 decides for all inputs. Each proof is of a model: the lines of Rust that it transcribes are quoted, and have to be
in the source as they stand, so that a change there fails until the model follows."""

import pathlib
import sys
import z3

ROOT = pathlib.Path(__file__).resolve().parents[3]
WORD = 64
failed = 0


def source(path, *lines):
    """The lines that a model stands for, blanks aside."""
    text = " ".join((ROOT / path).read_text().split())
    for line in lines:
        if " ".join(line.split()) not in text:
            sys.exit(f"{path} does not hold what the model transcribes: {line}")


def prove(name, claim):
    global failed
    solver = z3.Solver()
    solver.add(z3.Not(claim))
    result = solver.check()
    print(f"{'proved' if result == z3.unsat else 'NOT PROVED'}: {name}")
    if result != z3.unsat:
        failed += 1
        print(solver.model() if result == z3.sat else solver.reason_unknown())


def word(name):
    return z3.BitVec(name, WORD)


def const(n):
    return z3.BitVecVal(n, WORD)


# The eight bytes of a length (§5.2).
source(
    "src/proto/frame.rs",
    "let negative = rest.first().is_some_and(|n| n & 0x80 != 0);",
    "if negative || rest.first_chunk() == Some(&[0; 6]) { return Err(ProtocolError::BadLength); }",
    "Some((n, rest)) => (u64::from_be_bytes(*n), rest),",
    "Some((n, rest)) if u16::from_be_bytes(*n) > 125 =>",
)
n = word("n")
octets = [z3.Extract(63 - 8 * i, 56 - 8 * i, n) for i in range(8)]
prefixes = {k: octets[:k] for k in range(9)}


def judged(k):
    """What the code says of the first k bytes."""
    negative = z3.BoolVal(False) if k == 0 else octets[0] & 0x80 != 0
    zeros = z3.And([o == 0 for o in octets[:6]]) if k >= 6 else z3.BoolVal(False)
    return z3.Or(negative, zeros)


legal = z3.And(z3.UGE(n, const(1 << 16)), z3.ULT(n, const(1 << 63)))
prove("a length of eight bytes is refused if and only if it is below 65536 or has its top bit set", judged(8) == z3.Not(legal))
m = word("m")
for k in range(9):
    same = z3.BoolVal(True) if k == 0 else z3.Extract(63, 64 - 8 * k, n) == z3.Extract(63, 64 - 8 * k, m)
    legal_m = z3.And(z3.UGE(m, const(1 << 16)), z3.ULT(m, const(1 << 63)))
    # Refused early: nothing legal begins so. Not refused: something legal does.
    prove(f"refused after {k} bytes: no legal length begins with them", z3.Implies(z3.And(judged(k), same), z3.Not(legal_m)))
    keep = z3.BoolVal(True) if k == 0 else z3.Extract(63, 64 - 8 * k, n) == z3.Extract(63, 64 - 8 * k, m)
    prove(f"not refused after {k} bytes: some legal length begins with them",
          z3.Implies(z3.Not(judged(k)), z3.Exists([m], z3.And(keep, legal_m))))

# The limits (§10.4), where a usize has 32 bits and where it has 64. What a peer announces has 64
# bits everywhere.
source(
    "src/proto/connection/receiver/progress.rs",
    "let below = max_message.min(max_frame.unwrap_or(max_message)).saturating_add(1);",
    "if compressed { most.saturating_add(most / 8).saturating_add(1 << 10) } else { most }",
    "if more > (self.on_the_wire(compressed) as u64).saturating_sub(kept) { return Err(self.message_too_big()); }",
    "if payload_len < self.below as u64 { return Ok(()); }",
    "let limit = self.max_frame.unwrap_or_else(|| self.on_the_wire(compressed));",
    "if payload_len > limit as u64 { return Err(RecvError::FrameTooBig { limit: shown(limit) }); }",
)


def limits(bits):
    full = z3.BitVecVal(2**bits - 1, bits)

    def size(n):
        return z3.BitVecVal(n, bits)

    def add(a, b):
        return z3.If(z3.ULT(a + b, a), full, a + b)

    def sub(a, b):
        return z3.If(z3.ULT(a, b), const(0), a - b)

    def long(a):  # `as u64`
        return z3.ZeroExt(WORD - bits, a)

    def wide(a):
        return z3.ZeroExt(2 * WORD - a.size(), a)

    def claim(name, what):
        prove(f"{name} ({bits} bits)", what)

    most, frame = z3.BitVec("most", bits), z3.BitVec("frame", bits)
    kept, more = word("kept"), word("more")
    compressed, framed = z3.Bools("compressed framed")
    on_the_wire = z3.If(compressed, add(add(most, z3.UDiv(most, size(8))), size(1 << 10)), most)
    exact = z3.If(compressed, wide(most) + wide(z3.UDiv(most, size(8))) + 1024, wide(most))
    claim("what a message may take on the wire is exact, or all of a usize",
          wide(on_the_wire) == z3.If(z3.UGT(exact, wide(full)), wide(full), exact))
    refused = z3.UGT(more, sub(long(on_the_wire), kept))
    within = z3.ULE(kept, long(on_the_wire))
    claim("a message is refused if and only if what it has and what comes are above the limit, without wrapping",
          z3.Implies(within, refused == z3.UGT(wide(kept) + wide(more), wide(on_the_wire))))
    claim("above the limit already, every byte more is refused", z3.Implies(z3.And(z3.Not(within), more != 0), refused))
    claim("what is not refused stays within, so that it holds for the next fragment",
          z3.Implies(z3.And(within, z3.Not(refused)),
                     z3.And(z3.ULE(kept + more, long(on_the_wire)), z3.UGE(kept + more, kept))))
    limit_of_frame = z3.If(framed, frame, most)
    below = add(z3.If(z3.ULT(most, limit_of_frame), most, limit_of_frame), size(1))
    limit = z3.If(framed, frame, on_the_wire)
    frame_refused = z3.And(z3.UGE(more, long(below)), z3.UGT(more, long(limit)))
    claim("a frame is refused if and only if it is above its limit, though most are let through by one compare",
          frame_refused == z3.UGT(more, long(limit)))
    claim("a message in one frame that the quick path takes is within both limits",
          z3.Implies(z3.And(z3.ULT(more, long(below)), z3.ULT(more, const(1 << 16))),
                     z3.And(z3.ULE(more, long(limit)), z3.ULE(more, long(on_the_wire)))))


limits(32)
limits(64)
sys.exit(1 if failed else 0)
