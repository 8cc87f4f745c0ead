//! Proof by Kani: the ledger counts the dropped bytes, and knows the written bytes, for every order
//! of three calls. See `checks/kani`.
use super::*;

/// The number of calls before the write fails.
const CALLS: usize = 3;

/// A frame fed in order: where it begins and ends, and whether it is data.
#[derive(Clone, Copy, Default)]
struct Frame {
    start: u64,
    end: u64,
    data: bool,
}

/// The number of data bytes that are not written.
fn unwritten(frames: [Frame; CALLS], written: u64) -> u64 {
    let mut sum = 0;
    for frame in frames {
        sum += if frame.data { frame.end.saturating_sub(frame.start.max(written)) } else { 0 };
    }
    sum
}

/// Tries data, control frames and writes of up to 255 bytes, in every order that the sender allows.
/// No data follows our Close. Other control frames are queued in order only if everything before
/// them is written. No message overtakes, no Close drops data, and the stream flushes all bytes
/// that it accepts.
#[kani::proof]
fn what_is_dropped_is_the_data_that_was_not_written() {
    let mut ledger = Ledger::default();
    let mut out = OutBuffer::default();
    let mut frames = [Frame::default(); CALLS];
    let mut fed = 0;
    let mut written = 0;
    let mut closed = false;
    let mut last_end = 0;
    for frame in &mut frames {
        let n = u64::from(kani::any::<u8>());
        let start: u64 = fed;
        let call: u8 = kani::any();
        let control = call == 1 && written == fed || call == 2 && !closed;
        if control || call == 0 && !closed {
            fed += n;
            out.count(fed, fed - written);
            *frame = Frame { start, end: fed, data: !control };
        } else {
            written += n.min(fed - written);
            out.count(fed, fed - written);
        }
        if control {
            ledger.controls_queued(start, &out);
        } else if frame.data && n > 0 {
            last_end = fed;
        }
        closed |= control && call == 2;
    }
    let left = unwritten(frames, written);
    assert!(ledger.messages_left(&out, 0) == left);
    assert!(ledger.fed(&out) == Position::in_order(last_end));
    assert!(ledger.is_written(Position::in_order(last_end), &out, 0) == (written >= last_end));
    ledger.broken(&out, 0);
    assert!(ledger.dropped == left);
    // A second call counts nothing.
    ledger.broken(&out, 0);
    assert!(ledger.dropped == left);
    core::mem::forget(out);
}
