//! Proofs by Kani: no event moves the ready state back, and each phase of closing has a deadline or
//! waits for the caller. See `checks/kani`.
use super::*;
use crate::proto::config::Config;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

impl kani::Arbitrary for Closing {
    fn any() -> Self {
        Self {
            theirs: match kani::any() {
                0_u8 => Theirs::Awaited,
                1 => Theirs::Came,
                2 => Theirs::Violated,
                3 => Theirs::Overdue,
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

/// The facts that [`Closing::new`] reads. The fields of the two halves are named for the getters
/// that return them; `coded` tells whether the error has a close code.
#[derive(Clone, Copy, kani::Arbitrary)]
struct Facts {
    rx_is_closed: bool,
    rx_error: bool,
    coded: bool,
    eof: bool,
    tx_is_closed: bool,
    tx_is_broken: bool,
    close_gone: bool,
    close_written: bool,
    shut: bool,
    behind: u64,
    overdue: bool,
    given_up: bool,
}

/// The facts that the stubs below return.
static FACTS: [AtomicBool; 7] = [const { AtomicBool::new(false) }; 7];

fn fact(i: usize) -> bool {
    FACTS[i].load(Relaxed)
}

fn rx_is_closed(_: &Receiver) -> bool {
    fact(0)
}

fn rx_error(_: &Receiver) -> Option<RecvError> {
    let error = if fact(2) { RecvError::DataTimeout } else { RecvError::UnexpectedEof };
    fact(1).then_some(error)
}

fn tx_is_closed(_: &Sender) -> bool {
    fact(3)
}

fn tx_is_broken(_: &Sender) -> bool {
    fact(4)
}

fn close_gone(_: &Sender) -> bool {
    fact(5)
}

fn close_written(_: &Sender) -> bool {
    fact(6)
}

impl Facts {
    fn closing(self, role: Role, rx: &mut Receiver, tx: &Sender) -> Closing {
        let Self { rx_is_closed, rx_error, coded, eof, tx_is_closed, .. } = self;
        let Self { tx_is_broken, close_gone, close_written, overdue, given_up, .. } = self;
        let of_rx = [rx_is_closed, rx_error, coded];
        let of_tx = [tx_is_closed, tx_is_broken, close_gone, close_written];
        for (to, fact) in FACTS.iter().zip(of_rx.into_iter().chain(of_tx)) {
            to.store(fact, Relaxed);
        }
        rx.eof = eof;
        let behind = self.shut.then_some(self.behind);
        Closing::new(role, rx, tx, Course { behind, overdue, given_up })
    }

    /// Whether these facts can be true together.
    fn agree(self) -> bool {
        // The receiver's `State` holds the peer's Close or an error, never both.
        let either = !(self.rx_is_closed && self.rx_error);
        // `closing::fail` and `Inbound::fail` close the sender before the phase is computed.
        let reported = !(self.rx_error && self.coded) || self.tx_is_closed;
        // `is_broken` and `close_written` are true only in states in which `is_closed` is true. A
        // Close can leave only after it was queued, and queueing it closes the sender.
        let closed = self.tx_is_broken || self.close_gone || self.close_written;
        // A failed write makes `close_written` false.
        let whole = !(self.tx_is_broken && self.close_written);
        // The peer's Close is overdue only after our Close was queued.
        let queued = !self.overdue || self.tx_is_closed;
        either && reported && (!closed || self.tx_is_closed) && whole && queued
    }

    /// Whether calls may turn these facts into `next`. No call makes a true fact false, except
    /// `close_written`. It becomes false if a Ping is answered behind our Close, if a write fails,
    /// or if the stream reports unflushed bytes. A receiver that has failed keeps its error.
    fn lead_to(self, next: Self) -> bool {
        let stays = |now: bool, next: bool| next || !now;
        stays(self.rx_is_closed, next.rx_is_closed)
            && stays(self.rx_error, next.rx_error)
            && (!self.rx_error || self.coded == next.coded)
            && stays(self.eof, next.eof)
            && stays(self.tx_is_closed, next.tx_is_closed)
            && stays(self.tx_is_broken, next.tx_is_broken)
            && stays(self.close_gone, next.close_gone)
            && stays(self.shut, next.shut)
            && (!self.shut || self.behind <= next.behind)
            // `overdue` is set only while the peer's Close is awaited.
            && (self.overdue == next.overdue || !self.rx_error && !self.rx_is_closed)
            && stays(self.overdue, next.overdue)
            && stays(self.given_up, next.given_up)
    }
}

/// The proof compares any facts with any facts that may follow, so it holds for any number of calls
/// between them.
#[kani::proof]
#[kani::unwind(9)]
#[kani::stub(Receiver::is_closed, rx_is_closed)]
#[kani::stub(Receiver::error, rx_error)]
#[kani::stub(Sender::is_closed, tx_is_closed)]
#[kani::stub(Sender::is_broken, tx_is_broken)]
#[kani::stub(Sender::close_gone, close_gone)]
#[kani::stub(Sender::close_written, close_written)]
fn no_event_leads_back() {
    let now: Facts = kani::any();
    let next: Facts = kani::any();
    kani::assume(now.agree() && next.agree() && now.lead_to(next));
    let role = if kani::any() { Role::Client } else { Role::Server };
    let config = Config::default();
    let mut rx = Receiver::new(role, &config);
    let tx = Sender::new(&config, None);
    let before = now.closing(role, &mut rx, &tx);
    let after = next.closing(role, &mut rx, &tx);
    assert!(after.phase().ready_state() >= before.phase().ready_state());
    // A clean end stays clean once `close_gone` is set. Before that, the stream may report that our
    // Close is unflushed.
    assert!(!before.is_clean() || after.is_clean() || !now.close_gone && !next.close_written);
    core::mem::forget((rx, tx, config));
}

#[kani::proof]
fn every_phase_ends_by_itself_or_by_the_caller() {
    let now: Closing = kani::any();
    let close_timeout: Duration = kani::any();
    let phase = now.phase();
    let bounded = phase.at_most(close_timeout);
    assert!(bounded.is_none_or(|most| most <= close_timeout));
    // Only these phases have no bound: `Open`, `Over`, and `Unanswered`, which waits for the
    // caller.
    let open = now.theirs == Theirs::Awaited || now.theirs == Theirs::Came;
    assert!(bounded.is_some() || phase == Phase::Over || open && now.ours == Ours::None);
    // If the deadline of a phase of closing passes, the stream is `Gone`, and so the connection is
    // over. This does not hold while the peer's Close is awaited, or if our Close was never queued.
    let given_up = Closing { stream: Stream::Gone, ..now };
    let over = given_up.phase() == Phase::Over;
    assert!(over || now.theirs == Theirs::Awaited || now.ours == Ours::None);
    assert!(!over || given_up.phase().ending() == Ending::Done);
}
