//! [`Connection::next`], which tells an event loop what to do next.
use super::{
    Connection, Delivery, Outgoing, Receiver, Sender, Step,
    closing::{Ending, Phase},
    order::{Allow, Clock, Facts, Input, Todo, order},
};
use crate::proto::{
    error::RecvError,
    message::Event,
    tape::{self, Note},
    time::Time,
};
use core::mem;

/// The result of [`Connection::next`]: what the caller has to do next.
#[must_use]
#[derive(Debug)]
// Exhaustive: a loop that ignores a new variant would hang.
pub enum Next<'a> {
    /// A message, Ping, Pong or Close arrived. Automatic replies are queued already. Give your own
    /// replies to the sender.
    Event(Event<'a>, &'a mut Sender),
    /// Write these bytes to the stream, and [`advance`](bytes::Buf::advance) by the number of bytes
    /// written. [Report](Connection::report) a write that would block or that failed.
    Write(Outgoing<'a>),
    /// Read into [`spare_mut`](Receiver::spare_mut), then call [`commit`](Receiver::commit), or
    /// [`end_of_stream`](Receiver::end_of_stream) if the stream has ended.
    /// [Report](Connection::report) a read that would block or that failed.
    Read(&'a mut Receiver),
    /// Shut the stream for writing, then report [`ShutDown`](super::Report::ShutDown). If the
    /// shutdown would block (for example, because TLS has bytes to write first), report
    /// [`WriteBlocked`](super::Report::WriteBlocked).
    ShutDown,
    /// Wait until a condition of [`Wait`] is met, or until you have given the connection a command.
    Wait(Wait),
    /// Drop the stream. The error says why receiving failed, or which deadline cut the closing
    /// handshake short. [`closed`](Connection::closed) says more.
    Over(Option<RecvError>),
}

/// What a connection waits for. Each field that is `true` or `Some` is a condition that ends the
/// wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignores a new condition would hang.
pub struct Wait {
    /// The stream can be read.
    pub readable: bool,
    /// The stream accepts bytes again after it refused some. Over a TLS session, if this condition
    /// is met, write the bytes that the session holds, and call [`Sender::set_unflushed`] with the
    /// number of bytes still held.
    pub writable: bool,
    /// The time at which the wait ends at the latest. `None` means that no deadline runs.
    pub until: Option<Time>,
}

/// After so many reads without a wait, `next` returns one that ends at once, so that the caller
/// reads the clock again: otherwise all deadlines would be checked against an old time during an
/// endless flood of input.
const READS_BETWEEN_TIMES: u8 = 64;

#[derive(Debug, Default)]
pub(super) struct LoopState {
    obstacle: Obstacle,
    /// Since the last wait. Invariant: at most `READS_BETWEEN_TIMES`.
    reads: u8,
    /// [`Receiver::reads`] when `next` last asked for a read.
    asked_at: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Obstacle {
    /// The next read or write may succeed. Only the last call that brought nothing is an obstacle:
    /// a blocked read takes the place of a refused write.
    #[default]
    Nothing,
    /// The stream refused a write or the shutdown, which `next` asks for again once the obstacle is
    /// reset, usually by a read or a wait.
    WriteBlocked,
    ReadBlocked,
    /// Kept here, because after the peer's Close `step` doesn't return it.
    DeadlinePassed(RecvError),
}

impl LoopState {
    #[inline(always)]
    pub(super) fn read_blocked(&mut self) {
        self.obstacle = Obstacle::ReadBlocked;
    }

    #[inline(always)]
    pub(super) fn write_blocked(&mut self) {
        self.obstacle = Obstacle::WriteBlocked;
    }
}

impl Connection {
    /// Returns what to do next. Do that, report the result, and call `next` again. (A `Connection`
    /// is no iterator: the result borrows from it.)
    ///
    /// Call `next` when the connection is new, when a condition of [`Wait`] is met, and after each
    /// command that you gave during a wait. Then act on each result and call `next` again, until
    /// the result is `Wait` or `Over`. An event is returned once; any other result is repeated
    /// until you act on it.
    ///
    /// You may pass the same `now` until the next wait. If input never pauses, `next` returns a
    /// wait after 64 reads. This wait ends at once: read the clock and call `next` again.
    ///
    /// The order of the results follows three rules. Everything received is delivered before
    /// anything is written, so that the replies to a batch leave in one write. Everything that the
    /// stream accepts is written before more is read. Reading goes on while writing is blocked,
    /// because otherwise two peers could wait for each other for ever. While reading is
    /// [paused](Self::set_paused), `next` returns neither an event nor a `Read`, until receiving
    /// ends or a deadline passes.
    ///
    /// `next` delivers whole messages. For messages in chunks, use [`step_chunk`](Self::step_chunk)
    /// and the other fine calls.
    #[inline(always)] // If inlined, the caller's `match` needs no `Next` in memory.
    pub fn next(&mut self, now: Time) -> Next<'_> {
        // The two steps that `quick` returns have no effect on the sender, so no `respond`. On
        // `None` it has consumed nothing, and `next_slow` steps again.
        let step = if self.inbound.is_paused() { None } else { self.inbound.rx.quick() };
        if step == Some(Step::Message) {
            let Self { inbound, tx, .. } = self;
            // As in `event` below, this is never `None`.
            let message = inbound.rx.message().map(Event::Message);
            return message.map_or(Next::Over(None), |message| Next::Event(message, tx));
        }
        self.next_slow(now, if step.is_none() { Input::New } else { Input::Starved })
    }

    #[inline(always)]
    fn check(&self, note: Note) {
        self.inbound.check(note, &self.tx);
    }

    fn event(&mut self) -> Next<'_> {
        let Self { inbound, tx, .. } = self;
        // Never `None`, because the receiver has stopped at an event. `Over` only avoids an
        // `unwrap`.
        inbound.rx.event().map_or(Next::Over(None), |event| Next::Event(event, tx))
    }

    /// If the caller has reported nothing since the previous `Next::Read`, that brought nothing,
    /// and is counted here.
    fn read(&mut self) -> Next<'_> {
        let LoopState { reads, asked_at, .. } = self.loop_state;
        if asked_at == Some(self.inbound.rx.reads()) {
            self.inbound.rx.read_in_vain();
        }
        let reads = reads + 1;
        let asked_at = Some(self.inbound.rx.reads());
        self.loop_state = LoopState { obstacle: Obstacle::Nothing, reads, asked_at };
        self.check(Note::Reads);
        Next::Read(&mut self.inbound.rx)
    }

    /// Does what [`order`] says, until that is something for the caller. After
    /// `READS_BETWEEN_TIMES` reads without a wait, `now` is too old, so the caller gets a `Wait`
    /// and tells the time.
    ///
    /// The loop ends, because each `handle_timeout` clears or moves the deadline that was due.
    #[inline(never)] // keeps `next`, which is inlined, short
    fn next_slow(&mut self, now: Time, mut input: Input) -> Next<'_> {
        loop {
            let goes_on = !self.inbound.is_paused();
            let is_old = self.loop_state.reads >= READS_BETWEEN_TIMES;
            let allow = Allow { deliver: goes_on, read: goes_on, ends_turn: is_old };
            let mut error = None;
            if order(Facts { input, ..Facts::NEW }, allow) == Todo::Item {
                match self.inbound.step(Delivery::Whole, &mut self.tx) {
                    Ok(Step::NeedInput) => input = Input::Starved,
                    Ok(Step::Closed) => input = self.ended(),
                    Err(why) => {
                        error = Some(why);
                        input = self.ended();
                    }
                    Ok(_) => return self.event(),
                }
            }
            let obstacle = self.loop_state.obstacle;
            let unsent = self.tx.has_outgoing();
            let refused = match unsent {
                true => obstacle != Obstacle::Nothing && self.tx.out.refused(),
                false => obstacle == Obstacle::WriteBlocked,
            };
            let dry = obstacle == Obstacle::ReadBlocked;
            let clock = if self.inbound.looks() { Clock::Old } else { Clock::Unseen };
            let mut facts = Facts { input, unsent, refused, dry, clock };
            let mut until = None;
            let mut todo = order(facts, allow);
            if todo == Todo::Clock {
                until = self.poll_timeout();
                if until.is_some_and(|at| at <= now) {
                    self.tell_time(now, input);
                    input = Input::New;
                    continue;
                }
                self.inbound.looked();
                facts.clock = Clock::Seen;
                todo = order(facts, allow);
            }
            return match todo {
                Todo::Write => {
                    self.check(Note::Writes { early: false });
                    Next::Write(self.tx.outgoing())
                }
                Todo::Read => self.read(),
                Todo::ShutDown => Next::ShutDown,
                Todo::Over => self.over(error),
                Todo::Item | Todo::Clock | Todo::Wait => {
                    Next::Wait(self.wait(facts, allow, now, until))
                }
            };
        }
    }

    #[cold]
    fn over(&self, error: Option<RecvError>) -> Next<'_> {
        let passed = match self.loop_state.obstacle {
            Obstacle::DeadlinePassed(error) => Some(error),
            _ => None,
        };
        self.check(Note::Over);
        Next::Over(error.or(passed))
    }

    #[cold]
    fn wait(&mut self, facts: Facts, allow: Allow, now: Time, until: Option<Time>) -> Wait {
        let obstacle = mem::take(&mut self.loop_state).obstacle; // a refused call is repeated
        let readable = facts.reads(allow);
        let unsent = facts.unsent || self.tx.held_back() > 0;
        // A refused shutdown waits until the stream accepts bytes, even if none are unsent.
        let writable = unsent || obstacle == Obstacle::WriteBlocked;
        let yields = allow.ends_turn && readable && !facts.dry;
        let until = if yields { Some(now) } else { until };
        let wait = tape::Wait { readable, writable, until, yields, flushes: false };
        self.check(Note::Waits(wait));
        Wait { readable, writable, until }
    }

    /// While it waits for the caller's answer to the peer's Close, the connection is not over.
    fn ended(&self) -> Input {
        Input::Ended(match self.inbound.phase(&self.tx) {
            Phase::Unanswered => Ending::Flush,
            phase => phase.ending(),
        })
    }

    /// If only a read can show whether the peer is really silent, the obstacle is reset, so that
    /// this read is made after a refused write was repeated. If nothing may be read, the obstacle
    /// stays, because otherwise a refused shutdown would be repeated without a wait.
    ///
    /// A wait forgets a last read that brought nothing and was not reported, which only delays a
    /// deadline by one read.
    fn tell_time(&mut self, now: Time, input: Input) {
        if let Err(error) = self.inbound.handle_timeout(now, &mut self.tx) {
            self.loop_state.obstacle = Obstacle::DeadlinePassed(error);
        } else if input == Input::Starved && self.inbound.found_at().is_some() {
            self.loop_state.obstacle = Obstacle::Nothing;
        }
    }
}
