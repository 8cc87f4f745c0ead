"""What z3 decides for all inputs. Each proof is of a model: the lines of Rust that it transcribes are quoted, and have to be
in the source as they stand, so that a change there fails until the model follows."""

import pathlib
import sys
import z3

ROOT = pathlib.Path(__file__).resolve().parents[3]
BYTE, WORD = 8, 64
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

# The key behind an offset (§5.3).
source("src/proto/mask.rs", "let turned = u32::from_le_bytes(key).rotate_right(8 * (offset % 4) as u32);")
source("src/proto/kernel.rs",
       "let word = u32::from_le_bytes(key).rotate_right(8 * (end as u32 % 4)).to_le_bytes();",
       "core::array::from_fn(|i| word[i % 4])")
key, offset = z3.BitVec("key", 32), word("offset")
turned = z3.RotateRight(key, 8 * z3.Extract(31, 0, z3.URem(offset, const(4))))


def byte_of(value, index):
    return z3.Extract(7, 0, z3.LShR(value, 8 * z3.Extract(31, 0, z3.URem(index, const(4)))))


for i in range(4):
    prove(f"byte {i} of the turned key is that of payload byte offset + {i}",
          byte_of(turned, const(i)) == byte_of(key, offset + i))

# The limits (§10.4), where a usize has 64 bits.
source(
    "src/proto/connection/receiver/progress.rs",
    "let below = max_message.min(max_frame.unwrap_or(max_message)).saturating_add(1);",
    "if compressed { most.saturating_add(most / 8).saturating_add(1 << 10) } else { most }",
    "if more > (self.on_the_wire(compressed) as u64).saturating_sub(kept) { return Err(self.message_too_big()); }",
    "if payload_len < self.below as u64 { return Ok(()); }",
    "let limit = self.max_frame.unwrap_or_else(|| self.on_the_wire(compressed));",
    "if payload_len > limit as u64 { return Err(RecvError::FrameTooBig { limit: shown(limit) }); }",
)
most, frame, kept, more = word("most"), word("frame"), word("kept"), word("more")
compressed, framed = z3.Bools("compressed framed")
FULL = const(2**64 - 1)


def add(a, b):
    return z3.If(z3.ULT(a + b, a), FULL, a + b)


def sub(a, b):
    return z3.If(z3.ULT(a, b), const(0), a - b)


def wide(a):
    return z3.ZeroExt(WORD, a)


on_the_wire = z3.If(compressed, add(add(most, z3.UDiv(most, const(8))), const(1 << 10)), most)
exact = z3.If(compressed, wide(most) + wide(z3.UDiv(most, const(8))) + 1024, wide(most))
prove("what a message may take on the wire is exact, or all of 64 bits",
      wide(on_the_wire) == z3.If(z3.UGT(exact, wide(FULL)), wide(FULL), exact))
refused = z3.UGT(more, sub(on_the_wire, kept))
within = z3.ULE(kept, on_the_wire)
prove("a message is refused if and only if what it has and what comes are above the limit, without wrapping",
      z3.Implies(within, refused == z3.UGT(wide(kept) + wide(more), wide(on_the_wire))))
prove("above the limit already, every byte more is refused", z3.Implies(z3.And(z3.Not(within), more != 0), refused))
prove("what is not refused stays within, so that it holds for the next fragment",
      z3.Implies(z3.And(within, z3.Not(refused)), z3.And(z3.ULE(kept + more, on_the_wire), z3.UGE(kept + more, kept))))
limit_of_frame = z3.If(framed, frame, most)
below = add(z3.If(z3.ULT(most, limit_of_frame), most, limit_of_frame), const(1))
limit = z3.If(framed, frame, on_the_wire)
frame_refused = z3.And(z3.UGE(more, below), z3.UGT(more, limit))
prove("a frame is refused if and only if it is above its limit, though most are let through by one compare",
      frame_refused == z3.UGT(more, limit))
prove("a message in one frame that the quick path takes is within both limits",
      z3.Implies(z3.And(z3.ULT(more, below), z3.ULT(more, const(1 << 16))),
                 z3.And(z3.ULE(more, limit), z3.ULE(more, on_the_wire))))
sys.exit(1 if failed else 0)
