//! Drives one session over one connection, at the pace of its target.

use crate::{
    stream::{Input, Stream},
    turns::Turn,
};
use std::time::{Duration, Instant};
use wsconform_cases::{Action, End, Session, Verdict};

/// A peer that drips its answer ends its session after this time.
const LONGEST: Duration = Duration::from_secs(60);

/// A target is silent after five round trips, and at least this time.
pub(crate) const SILENT: Duration = Duration::from_millis(20);

/// How long the target takes to answer, by the bytes that a session has sent: a message of 16 MiB
/// can take a second where a Ping takes a millisecond.
#[derive(Clone, Default)]
pub(crate) struct Pace(Vec<(usize, Duration)>);

impl Pace {
    /// Takes what a session of the probe has measured.
    pub(crate) fn learn(&mut self, driven: &Driven) {
        self.0.push((driven.sent, driven.slowest));
        self.0.sort_unstable();
    }

    /// Until something is known, that of a peer that has just started on a busy machine: it only
    /// bounds waits for an answer.
    fn round_trip(&self, sent: usize) -> Duration {
        let size = self.0.iter().map(|known| known.0).find(|&size| size >= sent);
        let known = self.0.iter().filter(|known| size.is_none_or(|size| known.0 <= size));
        let slowest = known.map(|known| known.1).max();
        slowest.unwrap_or(Duration::from_millis(500)).max(Duration::from_millis(1))
    }
}

/// What a session has shown beside its verdict.
pub(crate) struct Driven {
    sent: usize,
    /// The longest time between the end of a write and the next bytes.
    slowest: Duration,
    pub(crate) wrote: Option<Instant>,
    pub(crate) heard: Option<Instant>,
    /// The end of the stream, or no answer in time, has decided what became of the session.
    pub(crate) is_silent: bool,
}

/// Drives one session to its end.
pub(crate) fn drive(
    session: &mut Session,
    stream: &mut Stream,
    pace: &Pace,
    turn: &mut Turn<'_>,
) -> Driven {
    let over = Instant::now() + LONGEST;
    let mut driven =
        Driven { sent: 0, slowest: Duration::ZERO, wrote: None, heard: None, is_silent: false };
    loop {
        let round_trip = pace.round_trip(driven.sent);
        match session.next_action() {
            Action::Send(bytes) => {
                driven.sent += bytes.len();
                if stream.write(&bytes).is_ok() {
                    driven.wrote = Some(Instant::now());
                    continue;
                }
                // What the peer said before it ended the stream explains why.
                while *session.verdict() == Verdict::Waiting
                    && let Input::Bytes(bytes) = stream.read(Duration::from_millis(100))
                {
                    driven.take(session, Input::Bytes(bytes));
                }
                driven.take(session, Input::Ended(End::Reset));
            }
            Action::Pause(wait) => {
                let until = Instant::now() + wait.duration(round_trip);
                while *session.verdict() == Verdict::Waiting {
                    let left = until.saturating_duration_since(Instant::now());
                    let input = read(stream, left, round_trip, turn);
                    if !driven.take(session, input) || left.is_zero() {
                        break;
                    }
                }
            }
            Action::Receive(wait) => {
                let input = read(stream, wait.duration(round_trip), round_trip, turn);
                if matches!(input, Input::Nothing) || Instant::now() > over {
                    driven.is_silent = true;
                    session.timed_out();
                } else {
                    driven.take(session, input);
                }
            }
            Action::Shutdown => stream.shut_down(),
            Action::Done => {
                driven.is_silent &= session.observed().close.is_none();
                return driven;
            }
        }
    }
}

/// Waits at most `time` for bytes or the end, without the turn once the target is silent.
fn read(stream: &mut Stream, time: Duration, round_trip: Duration, turn: &mut Turn<'_>) -> Input {
    let until = Instant::now() + time;
    let input = stream.read(time.min(SILENT.max(round_trip * 5)));
    if !matches!(input, Input::Nothing) {
        return input;
    }
    turn.give();
    let input = stream.read(until.saturating_duration_since(Instant::now()));
    turn.take();
    input
}

impl Driven {
    /// Hands in what was read. Returns whether it was bytes.
    fn take(&mut self, session: &mut Session, input: Input) -> bool {
        match input {
            Input::Bytes(bytes) => {
                let now = Instant::now();
                if let Some(wrote) = self.wrote.filter(|wrote| self.heard < Some(*wrote)) {
                    self.slowest = self.slowest.max(now - wrote);
                }
                self.heard = Some(now);
                session.received(&bytes);
                true
            }
            Input::Ended(end) => {
                self.is_silent = true;
                session.ended(end);
                false
            }
            Input::Nothing => false,
        }
    }
}
