//! Proofs by Kani: no event moves the ready state back, and each phase of closing has a deadline or
//! waits for the caller. See `checks/kani`.
use super::*;

impl kani::Arbitrary for Closing {
    fn any() -> Self {
        Self {
            theirs: match kani::any() {
                0_u8 => Theirs::Awaited,
                1 => Theirs::Came,
                2 => Theirs::Violated,
                _ => Theirs::Missing,
            },
            ours: match kani::any() {
                0_u8 => Ours::None,
                1 => Ours::Queued,
                2 => Ours::Followed,
                3 => Ours::Written,
                _ => Ours::Lost,
            },
            stream: match kani::any() {
                0_u8 => Stream::Open,
                1 => Stream::Ended,
                2 => Stream::Shut,
                _ => Stream::Gone,
            },
            role: if kani::any() { Role::Client } else { Role::Server },
        }
    }
}

/// Whether one event may turn `now` into `next`: each state stays or moves forward.
fn follows(now: Closing, next: Closing) -> bool {
    let theirs = match (now.theirs, next.theirs) {
        // The code that finds a violation also queues our Close, unless our Close was queued before
        // or a write has failed. So `ours` is not `None`.
        (Theirs::Awaited, Theirs::Violated) => next.ours != Ours::None,
        (Theirs::Awaited, _) => true,
        (before, after) => before == after,
    };
    let ours = match (now.ours, next.ours) {
        (Ours::None, _) => true,
        (Ours::Queued, after) => after != Ours::None,
        (Ours::Followed, after) => matches!(after, Ours::Followed | Ours::Written),
        (before, after) => before == after,
    };
    let stream = match (now.stream, next.stream) {
        (Stream::Open, _) => true,
        (Stream::Ended | Stream::Shut, Stream::Gone) => true,
        (before, after) => before == after,
    };
    // `Violated` with `None` is no possible state, for the reason given above.
    let reported = now.theirs != Theirs::Violated || now.ours != Ours::None;
    theirs && ours && stream && reported && now.role == next.role
}

/// The proof takes any state and one event, so it holds for any number of events.
#[kani::proof]
fn no_event_leads_back() {
    let (now, next): (Closing, Closing) = (kani::any(), kani::any());
    kani::assume(follows(now, next));
    assert!(next.phase().ready_state() >= now.phase().ready_state());
    assert!(!now.is_clean() || next.is_clean());
}

#[kani::proof]
fn every_phase_ends_by_itself_or_by_the_caller() {
    let (now, close_timeout): (Closing, Duration) = (kani::any(), kani::any());
    let phase = now.phase();
    let bounded = phase.at_most(close_timeout);
    assert!(bounded.is_none_or(|most| most <= close_timeout));
    // In a phase without a bound, the connection is open or over, or the caller has to answer the
    // peer's Close.
    let open = now.theirs == Theirs::Awaited || now.theirs == Theirs::Came;
    assert!(bounded.is_some() || phase == Phase::Over || open && now.ours == Ours::None);
    // If the deadline of a phase of closing passes, the stream is `Gone`, and so the connection is
    // over. This does not hold while the peer's Close is awaited, or if our Close was never queued.
    let given_up = Closing { stream: Stream::Gone, ..now };
    let over = given_up.phase() == Phase::Over;
    assert!(over || now.theirs == Theirs::Awaited || now.ours == Ours::None);
    assert!(!over || given_up.phase().ending() == Ending::Done);
}
