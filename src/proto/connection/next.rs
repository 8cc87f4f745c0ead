//! What to do next: the one question that a loop of your own asks a connection.
use super::{Connection, Delivery, Outgoing, Receiver, Sender, Step, closing::Phase};
use crate::proto::{error::RecvError, message::Event, time::Time};

/// What to do next; see [`Connection::next`].
#[must_use]
#[derive(Debug)]
// Exhaustive: a loop that ignored a new one would stand still.
pub enum Next<'a> {
    /// This arrived: a message; or a Ping, Pong or Close, whose reply is queued. Replies go to the
    /// sender.
    Event(Event<'a>, &'a mut Sender),
    /// Write this to the stream, and [`advance`](bytes::Buf::advance) it by what the stream took.
    /// If it would block, call [`write_blocked`](Connection::write_blocked); if it failed,
    /// [`write_failed`](Connection::write_failed).
    Write(Outgoing<'a>),
    /// Read the stream into [`spare_mut`](Receiver::spare_mut) and [`commit`](Receiver::commit). If
    /// it has ended or failed, call [`end_of_stream`](Receiver::end_of_stream); if it would block,
    /// [`read_blocked`](Connection::read_blocked).
    Read(&'a mut Receiver),
    /// Shut the stream for writing, then call [`shut_down`](Connection::shut_down). If that would
    /// block (TLS has something to write first), call [`write_blocked`](Connection::write_blocked).
    ShutDown,
    /// Nothing, until one of these.
    Wait(Wait),
    /// Drop the stream. Holds why receiving failed, or which deadline cut the closing handshake
    /// short; [`closed`](Connection::closed) says more.
    Over(Option<RecvError>),
}

/// What a connection waits for: any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new one would stand still.
pub struct Wait {
    /// The stream can be read.
    pub readable: bool,
    /// The stream can be written, which it refused before.
    pub writable: bool,
    /// It is this late. `None`: no deadline runs.
    pub until: Option<Time>,
}

/// After so many reads that found data deadlines are looked at, though there may be more to read.
const READS: u8 = 64;

/// What the stream has said since it was last waited for.
#[derive(Debug, Default)]
pub(super) struct Turn {
    said: Said,
    /// How many reads were asked for since deadlines were looked at. At most `READS`.
    reads: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    /// Nothing, or that it took or gave bytes: it may do so again.
    #[default]
    Nothing,
    WriteBlocked,
    ReadBlocked,
    /// This deadline has passed.
    Late(RecvError),
}

impl Turn {
    pub(super) fn write_blocked(&mut self) {
        self.said = Said::WriteBlocked;
    }
}

/// [`Next`], before it borrows anything.
enum Todo {
    Event,
    Write,
    Read,
    ShutDown,
    Wait(Wait),
    Over(Option<RecvError>),
}

impl Connection {
    /// What to do next. Do it, say how it went, ask again.
    ///
    /// The contract: ask when the connection is new, when its stream or the time is as [`Wait`]
    /// says, and after each command given while it waits. Then do what each answer says, and ask
    /// again, until the answer is `Wait` or `Over`. An answer that was not acted on comes again.
    /// `now` may stand still within such a run; deadlines are judged by it once the stream has
    /// nothing more to read, so that bytes which lie there unread count as a sign of life, or after
    /// 64 reads that found some.
    ///
    /// All that was received is delivered before anything is written, so that the replies to a
    /// batch leave in one write; all that can be written is, before more is read; and reading goes
    /// on while writing is blocked, since two peers could wait for each other otherwise. While
    /// reading is [paused](Self::set_paused) there is neither an event nor a `Read`, until the
    /// connection ends.
    ///
    /// It gives whole messages. For messages in chunks call [`step_chunk`](Self::step_chunk) and
    /// the other fine calls.
    #[inline(always)] // into the caller's `match`, which then needs no `Next` in memory
    pub fn next(&mut self, now: Time) -> Next<'_> {
        if !self.inbound.is_paused() && self.inbound.rx.quick() == Some(Step::Message) {
            let Self { inbound, tx, .. } = self;
            let message = inbound.rx.message().map(Event::Message);
            return message.map_or(Next::Over(None), |message| Next::Event(message, tx));
        }
        self.next_slow(now)
    }

    /// Says that a read, which [`next`](Self::next) asked for, would block.
    #[inline]
    pub fn read_blocked(&mut self) {
        self.turn.said = Said::ReadBlocked;
    }

    fn event(&mut self) -> Next<'_> {
        let Self { inbound, tx, .. } = self;
        // There is one: the receiver stopped at it.
        inbound.rx.event().map_or(Next::Over(None), |event| Next::Event(event, tx))
    }

    #[inline(never)]
    fn next_slow(&mut self, now: Time) -> Next<'_> {
        match self.todo(now) {
            Todo::Event => self.event(),
            Todo::Write => Next::Write(self.tx.outgoing()),
            Todo::Read => Next::Read(&mut self.inbound.rx),
            Todo::ShutDown => Next::ShutDown,
            Todo::Wait(wait) => Next::Wait(wait),
            Todo::Over(error) => Next::Over(error),
        }
    }

    fn todo(&mut self, now: Time) -> Todo {
        loop {
            let paused = self.inbound.is_paused();
            let step = match paused {
                true => Ok(Step::NeedInput),
                false => self.inbound.step(Delivery::Whole, &mut self.tx),
            };
            let phase = match step {
                Ok(Step::NeedInput) => None,
                Ok(Step::Closed) | Err(_) => Some(self.inbound.phase(&self.tx)),
                Ok(_) => return Todo::Event,
            };
            let said = self.turn.said;
            if self.tx.has_outgoing() && (said == Said::Nothing || !self.tx.is_refused()) {
                return Todo::Write;
            }
            let reads = match phase {
                None => !paused,
                Some(Phase::Waiting | Phase::Discarding) => true,
                Some(Phase::Shutting) if said != Said::WriteBlocked => return Todo::ShutDown,
                Some(Phase::Over) => {
                    let late = match said {
                        Said::Late(error) => Some(error),
                        _ => None,
                    };
                    return Todo::Over(step.err().or(late));
                }
                Some(_) => false,
            };
            let reads_on = reads && said != Said::ReadBlocked;
            if reads_on && self.turn.reads < READS {
                self.turn = Turn { said: Said::Nothing, reads: self.turn.reads + 1 };
                return Todo::Read;
            }
            self.turn.reads = 0;
            let until = self.poll_timeout();
            if until.is_some_and(|at| at <= now) {
                // A Ping may be due, or time is up, as the next step says. Each `tell` clears or
                // moves what was due, so this loop ends.
                if let Err(error) = self.inbound.tell(now, reads_on, &mut self.tx) {
                    self.turn.said = Said::Late(error);
                }
                continue;
            }
            if !reads_on {
                self.turn.said = Said::Nothing;
                let writable = said == Said::WriteBlocked || self.tx.has_outgoing();
                return Todo::Wait(Wait { readable: reads, writable, until });
            }
        }
    }
}
