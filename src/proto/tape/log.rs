//! The notes of one connection, and the rules of the order. Each rule stands here once.
use super::{Facts, Note, Wait};
use crate::proto::{error::RecvError, time::Time};
use alloc::{collections::VecDeque, sync::Arc};
use core::{cell::Cell, fmt};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many notes a failure shows.
const SHOWN: usize = 60;

/// How many reads stand for one that blocked, as in `timers/verdict.rs`.
const ENOUGH_READS: u32 = 1024;

std::thread_local! {
    static STREAM_BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// An adapter that puts a read off by itself doesn't call this.
pub(crate) fn stream_blocked() {
    STREAM_BLOCKED.set(true);
}

pub(crate) fn take_stream_blocked() -> bool {
    STREAM_BLOCKED.take()
}

/// Both halves of a split connection have the same tape. The default one takes no notes, and has
/// nothing to drop, as `Empty` asks.
#[derive(Clone, Default)]
pub(crate) struct Tape(Option<Arc<Mutex<Log>>>);

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tape")
    }
}

impl Tape {
    pub(crate) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Log>> {
        self.0.as_ref().map(|log| log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn note(&self, note: Note) {
        if let Some(mut log) = self.lock() {
            log.take(note, Facts::default());
        }
    }

    pub(crate) fn check(&self, note: Note, facts: impl FnOnce() -> Facts) {
        let facts = facts(); // first, because it may lock the sending side
        if let Some(mut log) = self.lock() {
            log.take(note, facts);
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    notes: VecDeque<Note>,
    /// The last step needed input, and nothing new has come since.
    starved: bool,
    ended: bool,
    over: bool,
    /// The last write, flush or shutdown.
    refused: bool,
    /// If the last read brought nothing: whether the stream was asked.
    read_pending: Option<bool>,
    timer: Option<Time>,
    now: Option<Time>,
    /// The deadline for which the sending half waits, or last waited, by itself.
    writer_waits: Option<Time>,
    /// What the receiving side waits for, while it waits.
    waits: Option<Wait>,
    /// A call of the sending half wakes the reader, whose present poll may have missed the call.
    woken: bool,
    /// How many reads were made since a deadline on silence was found.
    reads: u32,
    /// How many of `reads` brought nothing. A read that surely blocked counts as two.
    blocked: u32,
    unread: bool,
    found: bool,
    /// A call of the adapter's own (`drive`) tells of its reads.
    tells_reads: bool,
}

impl Log {
    fn take(&mut self, note: Note, facts: Facts) {
        if self.notes.len() == SHOWN {
            self.notes.pop_front();
        }
        self.notes.push_back(note);
        if let Some(rule) = self.broken_rule(note, facts) {
            self.violated(rule, facts);
        }
        self.apply(note, facts);
    }

    #[allow(clippy::panic)] // a test fails
    fn violated(&self, rule: &str, facts: Facts) {
        let mut notes = alloc::string::String::new();
        for note in &self.notes {
            notes.push_str(&alloc::format!("  {note:?}\n"));
        }
        panic!("tape: {rule}\n{notes}{facts:#?}");
    }

    fn broken_rule(&self, note: Note, facts: Facts) -> Option<&'static str> {
        let delivered = self.starved || self.ended;
        match note {
            Note::Delivered if self.ended => Some("nothing is delivered behind the end"),
            Note::Delivered | Note::Writes { .. } | Note::Reads | Note::Waits(_) if self.over => {
                Some("after Over nothing is done")
            }
            Note::Writes { early } if !early && !delivered && !facts.paused => {
                Some("all is delivered before replies are written")
            }
            Note::Reads if !delivered => Some("all is delivered before more is read"),
            Note::Reads if self.ended && !facts.drains => {
                Some("nothing is read behind the end, but to drain")
            }
            Note::Reads if facts.paused => Some("nothing is read in a pause"),
            Note::Reads if facts.whole && facts.has_outgoing && !self.refused => {
                Some("all that the stream takes is written before more is read")
            }
            Note::Blocked { .. } if self.tells_reads && self.read_pending != Some(true) => {
                Some("a read blocked only if the stream was asked")
            }
            Note::Verdict(error) if !self.may_judge(error) => {
                Some("a verdict comes behind a look and a read that the stream refused")
            }
            Note::Waits(wait) => self.broken_wait(wait, facts),
            Note::Over if !self.ended => Some("Over comes behind the end"),
            Note::Over if !facts.done => Some("Over comes only if nothing is left to do"),
            Note::Over if facts.whole && facts.has_outgoing => {
                Some("all is written or dropped before Over")
            }
            Note::WriterWaits(_) if self.over => Some("after Over nothing is done"),
            Note::WriterWaits(_) if !self.refused => Some("a wait to write comes behind a refusal"),
            Note::WriterWaits(at) if facts.deadline.is_none_or(|deadline| deadline < at) => {
                Some("a wait ends at the next deadline")
            }
            Note::Sent { wakes: false } => self.broken_call(facts),
            _ => None,
        }
    }

    fn may_judge(&self, error: RecvError) -> bool {
        use RecvError::{DataTimeout, FrameTimeout, PongTimeout};
        !matches!(error, DataTimeout | FrameTimeout | PongTimeout)
            || self.found && (self.blocked >= 2 || self.reads >= ENOUGH_READS || self.unread)
    }

    /// A wait names all that may end it, and has tried what it waits for.
    fn broken_wait(&self, wait: Wait, facts: Facts) -> Option<&'static str> {
        if wait.yields || facts.woken || self.woken {
            return None;
        }
        let until = Time::earliest(&[self.timer, wait.until]);
        let at_once = until.is_some_and(|at| self.now.is_some_and(|now| at <= now));
        let late = |deadline: Time| until.is_none_or(|until| until > deadline);
        let reads = if self.ended { facts.drains } else { !facts.paused && !wait.flushes };
        let writes = facts.whole && (facts.has_outgoing || facts.unflushed);
        if !self.starved && !self.ended && !facts.paused && !wait.flushes {
            return Some("all is delivered before a wait");
        }
        // A writer that is refused just before the reader waits has a timer of its own. If it has
        // also written the heartbeat's Ping, for whose Pong the time begins at the reader's next
        // look, that timer bounds the wait meanwhile.
        let pinged = !facts.whole && self.refused && facts.deadline == Some(Time::ZERO);
        if facts.deadline.filter(|at| !pinged && Some(*at) != self.writer_waits).is_some_and(late) {
            return Some("a wait ends at the next deadline");
        }
        if reads && !wait.readable {
            return Some("a wait ends when the stream can be read");
        }
        if wait.readable && !at_once && self.read_pending.is_none() {
            return Some("a wait for input comes behind a read that brought nothing");
        }
        if (writes || self.ended && facts.shuts) && !wait.writable {
            return Some("a wait with something to write ends when the stream takes it");
        }
        if writes && !at_once && !self.refused {
            return Some("a wait to write comes behind a refusal");
        }
        None
    }

    fn broken_call(&self, facts: Facts) -> Option<&'static str> {
        let wait = self.waits?;
        let deadline = facts.sending_deadline?;
        let named = Time::earliest(&[self.timer, wait.until]);
        (!facts.woken && named.is_none_or(|named| named > deadline))
            .then_some("who moves a deadline forward wakes the one who waits")
    }

    fn apply(&mut self, note: Note, facts: Facts) {
        match note {
            Note::Delivered => {
                self.starved = false;
                self.resume();
            }
            Note::Starved => {
                self.starved = true;
                self.waits = None;
                self.woken = false;
            }
            Note::Ended => {
                self.ended = true;
                self.waits = None;
                self.woken = false;
            }
            Note::News => {
                self.starved = false;
                self.read_pending = None;
            }
            Note::Read(n) => {
                self.reads += 1;
                if n > 0 {
                    self.starved = false;
                    self.read_pending = None;
                }
            }
            Note::Blocked { surely } => {
                self.read_pending = Some(true);
                self.blocked += if surely { 2 } else { 1 };
            }
            Note::Unread => self.unread = true,
            Note::Wrote => self.refused = false,
            Note::Refused => self.refused = true,
            Note::Looked { now, found } => {
                self.now = Some(now);
                if found && !self.found {
                    self.reads = 0;
                    self.blocked = 0;
                    self.unread = false;
                }
                self.found = found;
            }
            Note::Verdict(_) => self.starved = false,
            Note::Writes { .. } | Note::Reads => self.waits = None,
            Note::Pending { asked } => {
                self.tells_reads = true;
                self.read_pending = Some(asked);
            }
            Note::Timer(at) => self.timer = Some(at),
            Note::Waits(wait) => {
                let until = Time::earliest(&[self.timer, wait.until]);
                self.resume();
                self.waits = Some(Wait { until, ..wait });
            }
            Note::Over => {
                self.over = facts.over;
                self.resume();
            }
            Note::Sent { wakes } => self.woken |= wakes,
            Note::WriterWaits(at) => self.writer_waits = Some(at),
            Note::ShutDown => {}
        }
    }

    fn resume(&mut self) {
        self.timer = None;
        self.waits = None;
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
