//! The order of events of an open connection. Whoever drives a connection (`next`, the adapters'
//! `drive`, `tickwire-loop`) gathers facts, asks [`order`], does what it says, and asks again.
//! ARCHITECTURE.md has the same table with the reasons, and says who acts before he asks.
//!
//! Hidden from the documentation: only `tickwire-loop` uses it from outside.
#![allow(missing_docs)]
use super::closing::Ending;

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Step, and hand out the item at which the step stopped.
    Item,
    Write,
    /// Look at the clock, and tell the core the time if a deadline is due.
    Clock,
    Read,
    ShutDown,
    /// Wait for what the facts name.
    Wait,
    Over,
}

/// What the steps since the last read have found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A step may find an item.
    New,
    /// All input is delivered.
    Starved,
    /// Receiving has ended.
    Ended(Ending),
}

/// Whether the caller has looked at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Nothing is due.
    Seen,
    /// A wait needs a look, a read does not.
    Unseen,
    /// It must be looked at before the next read: see `Timers::looks`.
    Old,
}

/// What the caller knows.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub input: Input,
    /// Whether there may be bytes to write or to flush.
    pub unsent: bool,
    /// Whether the stream refused the last write, flush or shutdown.
    pub refused: bool,
    /// Whether the last read brought nothing, or the caller's share of bytes is used up.
    pub dry: bool,
    pub clock: Clock,
}

impl Facts {
    /// Nothing is known yet: a step comes first, if the caller takes an item.
    pub const NEW: Self =
        Self { input: Input::New, unsent: true, refused: false, dry: false, clock: Clock::Unseen };

    /// Whether input is read on: it may bring an item, or has to be drained.
    #[inline(always)]
    pub const fn reads(self, allow: Allow) -> bool {
        match self.input {
            Input::Ended(ending) => matches!(ending, Ending::Discard),
            Input::New | Input::Starved => allow.read,
        }
    }

    /// Whether a read comes next once nothing is due. A look at the clock changes no other fact, so
    /// behind [`Todo::Clock`] comes this read or a wait; to ask [`order`] again would cost each
    /// turn of the loop 26 instructions.
    #[inline(always)]
    pub const fn reads_next(self, allow: Allow) -> bool {
        self.reads(allow) && !self.dry
    }
}

/// The caller's policy, this time.
#[derive(Clone, Copy, Debug)]
pub struct Allow {
    /// `false` during a pause and without room for a reply.
    pub deliver: bool,
    /// `false` during a pause, without room, and at a limit on received bytes.
    pub read: bool,
    /// The caller's share of messages is used up: others have their turn next. If more is left to
    /// do, the caller asks again soon, and looks at the clock then.
    pub ends_turn: bool,
}

impl Allow {
    pub const ALL: Self = Self { deliver: true, read: true, ends_turn: false };
}

/// Says what comes next. The first line that applies decides.
#[inline(always)] // facts that a caller knows at compile time cost nothing
pub const fn order(facts: Facts, allow: Allow) -> Todo {
    let Facts { input, unsent, refused, clock, .. } = facts;
    let reads = facts.reads_next(allow);
    let more = reads || matches!(input, Input::New);
    match (input, clock) {
        (Input::New, _) if allow.deliver => Todo::Item,
        _ if unsent && !refused => Todo::Write,
        (Input::Ended(Ending::ShutDown), _) if !refused => Todo::ShutDown,
        (Input::Ended(Ending::Done), _) => Todo::Over,
        _ if more && allow.ends_turn => Todo::Wait,
        (_, Clock::Old) => Todo::Clock,
        _ if reads => Todo::Read,
        (_, Clock::Unseen) => Todo::Clock,
        (_, Clock::Seen) => Todo::Wait,
    }
}

/// What the sending half of a split connection, or a flush, does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToSend {
    Write,
    /// Wait until the stream accepts bytes, or for the clock on writing.
    Wait,
    Done,
    /// Nothing more can be sent. The caller knows why.
    Failed,
}

/// What a caller that only sends knows. It has no receiver, so it neither delivers nor reads.
#[derive(Clone, Copy, Debug)]
pub struct SendFacts {
    /// Whether the stream was asked to take what is queued, since the last wait.
    pub asked: bool,
    /// Whether the stream refused some of it.
    pub refused: bool,
    /// Whether the caller waits for room only, and there is room.
    pub has_room: bool,
    /// Whether writing has failed, or an error or a Close has ended what the caller waits for.
    pub failed: bool,
}

impl SendFacts {
    /// Nothing is known yet.
    pub const NEW: Self = Self { asked: false, refused: false, has_room: false, failed: false };
}

/// Says what comes next for a caller that only sends. The first line that applies decides.
#[inline(always)]
pub const fn order_sending(facts: SendFacts) -> ToSend {
    match facts {
        SendFacts { failed: true, .. } => ToSend::Failed,
        SendFacts { asked: false, .. } => ToSend::Write,
        SendFacts { refused: true, has_room: false, .. } => ToSend::Wait,
        _ => ToSend::Done,
    }
}

/// What the adapters rely on where they do not ask, because each read would pay for it: once all is
/// delivered, a write comes, then a look if one is needed, then a read, whatever became of the
/// write. After a read in vain come the clock and the wait.
const _: () = {
    const fn after(unsent: bool, refused: bool, dry: bool, clock: Clock) -> Todo {
        order(Facts { input: Input::Starved, unsent, refused, dry, clock }, Allow::ALL)
    }
    assert!(matches!(order_sending(SendFacts::NEW), ToSend::Write));
    assert!(matches!(order(Facts::NEW, Allow::ALL), Todo::Item));
    assert!(matches!(after(true, false, false, Clock::Unseen), Todo::Write));
    assert!(matches!(after(true, false, false, Clock::Old), Todo::Write));
    assert!(matches!(after(false, false, false, Clock::Old), Todo::Clock));
    assert!(matches!(after(true, true, false, Clock::Old), Todo::Clock));
    assert!(matches!(after(false, false, false, Clock::Unseen), Todo::Read));
    assert!(matches!(after(true, true, false, Clock::Unseen), Todo::Read));
    assert!(matches!(after(false, false, true, Clock::Unseen), Todo::Clock));
    assert!(matches!(after(true, true, true, Clock::Unseen), Todo::Clock));
    assert!(matches!(after(false, false, true, Clock::Seen), Todo::Wait));
    assert!(matches!(after(true, true, true, Clock::Seen), Todo::Wait));
};

#[cfg(test)]
mod tests;
