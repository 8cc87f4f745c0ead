//! Drives the sessions of a case over their connections, at the pace of the target.

use crate::{
    stream::{Input, Stream},
    turns::{Turn, lock},
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use wsconform_cases::{Action, End, Session, Verdict};

/// A peer that drips its answer ends its session after this time, or after so many round trips if
/// they take longer, but twice that time at most: T-240 needs 150.
const LONGEST: (u32, Duration) = (200, Duration::from_secs(60));

/// A target is silent after five round trips, and at least this time.
pub(crate) const SILENT: Duration = Duration::from_millis(20);

/// What was measured counts for so long, and as long again.
const RECENT: Duration = Duration::from_secs(60);

/// How long the target takes to answer, by the bytes that a session has sent: a message of 16 MiB
/// can take a second where a Ping takes a millisecond. A busy machine is slow for some minutes.
#[derive(Clone, Default)]
pub(crate) struct Pace {
    measured: Arc<Mutex<Vec<Measured>>>,
    heard: Arc<Mutex<Heard>>,
}

/// When something came, over any connection.
#[derive(Default)]
struct Heard {
    last: Option<Instant>,
    /// From when to when nothing came, if that was long. The recent ones.
    pauses: Vec<(Instant, Instant)>,
}

impl Heard {
    fn note(&mut self, at: Instant) {
        if let Some(last) = self.last
            && at.saturating_duration_since(last) > SILENT
        {
            self.pauses.retain(|(_, end)| at.saturating_duration_since(*end) < RECENT);
            self.pauses.push((last, at));
        }
        self.last = self.last.max(Some(at));
    }

    /// For a third of this time at a stretch, nothing came.
    fn was_stalled(&self, time: Duration, until: Instant) -> bool {
        let Some(last) = self.last else { return true };
        let from = until - time;
        let mut pauses = self.pauses.iter().copied().chain([(last, until)]);
        pauses.any(|(begin, end)| {
            end.min(until).saturating_duration_since(begin.max(from)) > time / 3
        })
    }
}

/// The answers to sessions that have sent less than `1 << bits` bytes, and at least half of that.
struct Measured {
    bits: u32,
    /// The mean, in which the last ones count most.
    usual: Duration,
    since: Instant,
    slowest: Duration,
    before: Duration,
}

/// A server that does one thing at a time is slow beside a message of 16 MiB. So the slowest answer
/// counts for less than the usual one: 20 round trips are at least twice as long as that took.
const SLOWEST: u32 = 8;

impl Pace {
    /// Takes what a session has measured in which the peer was to answer at once.
    pub(crate) fn learn(&self, driven: &Driven) {
        let now = Instant::now();
        let bits = bits(driven.sent);
        let mut all = lock(&self.measured);
        let at = all.partition_point(|measured| measured.bits < bits);
        if all.get(at).is_none_or(|measured| measured.bits != bits) {
            let usual = driven.slowest;
            let slowest = Duration::ZERO;
            all.insert(at, Measured { bits, usual, since: now, slowest, before: slowest });
        }
        let measured = &mut all[at];
        if now - measured.since > RECENT {
            measured.since = now;
            measured.before = std::mem::take(&mut measured.slowest);
        }
        measured.slowest = measured.slowest.max(driven.slowest);
        measured.usual = (measured.usual * 7 + driven.slowest) / 8;
    }

    /// Until something is known, that of a peer that has just started on a busy machine: it only
    /// bounds waits for an answer.
    pub(crate) fn round_trip(&self, sent: usize) -> Duration {
        let all = lock(&self.measured);
        let known = all.iter().map(|measured| measured.bits).find(|known| *known >= bits(sent));
        let fits = |measured: &&Measured| known.is_none_or(|known| measured.bits <= known);
        let round_trip = |measured: &Measured| {
            measured.usual.max(measured.slowest.max(measured.before) / SLOWEST)
        };
        let longest = all.iter().filter(fits).map(round_trip).max();
        longest.unwrap_or(Duration::from_millis(500)).max(Duration::from_millis(1))
    }
}

fn bits(sent: usize) -> u32 {
    usize::BITS - sent.leading_zeros()
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
    /// While it waited in vain, the target said nothing to anybody for a third of the time.
    pub(crate) is_stalled: bool,
    /// It was ended for the time that it took.
    pub(crate) is_endless: bool,
}

/// Drives one session to its end.
pub(crate) fn drive(
    session: &mut Session,
    stream: &mut Stream,
    pace: &Pace,
    turn: &mut Turn<'_>,
) -> Driven {
    let mut drive = Drive::new(pace);
    while !drive.goes_on(session, stream, turn) {}
    drive.driven
}

/// Drives the two sessions of a case by turns, and joins them. `connect` is for the second one.
pub(crate) fn drive_two<C: AsMut<Stream>, E>(
    session: &mut Session,
    stream: &mut Stream,
    mut second: Session,
    connect: impl FnOnce() -> Result<C, E>,
    pace: &Pace,
    turn: &mut Turn<'_>,
) -> Result<Driven, E> {
    let mut drives = [Drive::new(pace), Drive::new(pace)];
    let mut is_over = drives[0].goes_on(session, stream, turn);
    let is_bad = |session: &Session| !matches!(session.verdict(), Verdict::Pass | Verdict::Waiting);
    if !(is_over && is_bad(session)) {
        if is_over {
            // What the target does at the end of the first is done when the second opens.
            let_go(stream, pace);
        }
        let mut connection = connect()?;
        loop {
            let is_second_over = drives[1].goes_on(&mut second, connection.as_mut(), turn);
            if is_second_over && (is_over || is_bad(&second)) {
                break;
            }
            is_over = is_over || drives[0].goes_on(session, stream, turn);
            if is_over && (is_second_over || is_bad(session)) {
                break;
            }
        }
        session.join(second);
        let_go(connection.as_mut(), pace);
    }
    let [mut driven, other] = drives.map(|drive| drive.driven);
    driven.wrote = driven.wrote.max(other.wrote);
    driven.is_silent |= other.is_silent;
    driven.is_stalled |= other.is_stalled;
    Ok(driven)
}

/// Ends our half, and waits a moment for the end of the other one.
pub(crate) fn let_go(stream: &mut Stream, pace: &Pace) {
    stream.shut_down();
    let until = Instant::now() + (SILENT * 10).max(pace.round_trip(0) * 20);
    while let left = until.saturating_duration_since(Instant::now())
        && !left.is_zero()
        && let Input::Bytes(_) = stream.read(left)
    {}
}

/// One session on its way.
struct Drive<'p> {
    pace: &'p Pace,
    until: Instant,
    driven: Driven,
}

impl Drive<'_> {
    fn new(pace: &Pace) -> Drive<'_> {
        let driven = Driven {
            sent: 0,
            slowest: Duration::ZERO,
            wrote: None,
            heard: None,
            is_silent: false,
            is_stalled: false,
            is_endless: false,
        };
        let (round_trips, least) = LONGEST;
        let longest = (pace.round_trip(0) * round_trips).clamp(least, least * 2);
        Drive { pace, until: Instant::now() + longest, driven }
    }

    /// Goes on until the other session has its turn, or this one is over. Returns whether it is.
    fn goes_on(&mut self, session: &mut Session, stream: &mut Stream, turn: &mut Turn<'_>) -> bool {
        let driven = &mut self.driven;
        loop {
            let round_trip = self.pace.round_trip(driven.sent);
            match session.next_action() {
                Action::Send(bytes) => {
                    driven.sent += bytes.len();
                    if stream.write(&bytes).is_ok() {
                        driven.wrote = Some(Instant::now());
                        continue;
                    }
                    // What the peer said before it ended the stream explains why.
                    while *session.verdict() == Verdict::Waiting
                        && let input @ Input::Bytes(_) = stream.read(Duration::from_millis(100))
                    {
                        driven.take(self.pace, session, input, Instant::now());
                    }
                    driven.take(self.pace, session, Input::Ended(End::Reset), Instant::now());
                }
                Action::Pause(wait) => {
                    let until = Instant::now() + wait.duration(round_trip);
                    while *session.verdict() == Verdict::Waiting {
                        let left = until.saturating_duration_since(Instant::now());
                        let (input, at) = read(stream, left, round_trip, turn, &mut self.until);
                        if !driven.take(self.pace, session, input, at) || left.is_zero() {
                            break;
                        }
                    }
                }
                Action::Receive(wait) => {
                    let time = wait.duration(round_trip);
                    let (input, at) = read(stream, time, round_trip, turn, &mut self.until);
                    driven.is_endless = at > self.until;
                    driven.is_silent |= matches!(input, Input::Nothing) || driven.is_endless;
                    match input {
                        Input::Nothing => {
                            driven.is_stalled = lock(&self.pace.heard).was_stalled(time, at);
                            session.timed_out();
                        }
                        _ if driven.is_endless => session.ran_out_of_time(),
                        input => {
                            driven.take(self.pace, session, input, at);
                        }
                    }
                }
                Action::Shutdown => stream.shut_down(),
                Action::Reset => stream.reset(),
                Action::Turn => return false,
                Action::Done => {
                    driven.is_silent &= session.observed().close.is_none();
                    return true;
                }
            }
        }
    }
}

/// Waits at most `time` for bytes or the end, without the turn once the target is silent. Says when
/// they came. A wait for the turn counts for nothing in the time of the session, which ends at `end`.
fn read(
    stream: &mut Stream,
    time: Duration,
    round_trip: Duration,
    turn: &mut Turn<'_>,
    end: &mut Instant,
) -> (Input, Instant) {
    let until = Instant::now() + time;
    let silent = SILENT.max(round_trip * 5);
    let input = stream.read(time.min(silent));
    if !matches!(input, Input::Nothing) || time <= silent {
        return (input, Instant::now());
    }
    turn.give();
    let input = stream.read(until.saturating_duration_since(Instant::now()));
    let at = Instant::now();
    turn.take();
    *end += at.elapsed();
    (input, at)
}

impl Driven {
    /// Hands in what was read. Returns whether it was bytes.
    fn take(&mut self, pace: &Pace, session: &mut Session, input: Input, at: Instant) -> bool {
        if !matches!(input, Input::Nothing) {
            lock(&pace.heard).note(at);
        }
        match input {
            Input::Bytes(bytes) => {
                if let Some(wrote) = self.wrote.filter(|wrote| self.heard < Some(*wrote)) {
                    self.slowest = self.slowest.max(at.saturating_duration_since(wrote));
                }
                self.heard = Some(at);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wait_is_stalled_wherever_in_it_nobody_is_answered_for_a_third_of_it() {
        let began = Instant::now();
        // Answers each second for a minute, but for none from 20 to 24 s.
        let mut heard = Heard::default();
        assert!(heard.was_stalled(SECOND, began + SECOND), "nothing came yet");
        for at in (0..=20).chain(24..=60) {
            heard.note(began + SECOND * at);
        }
        for (time, until, stalled) in [
            (6, 19, false),
            (6, 21, false),
            (6, 22, false),
            (6, 23, true),
            (6, 24, true),
            (6, 27, true),
            (6, 28, false),
            (6, 60, false),
            (6, 62, false),
            (6, 63, true), // nothing since
            (2, 40, true), // each answer took half of so short a time
        ] {
            let is = heard.was_stalled(SECOND * time, began + SECOND * until);
            assert_eq!(is, stalled, "{time} s until {until}");
        }
    }
}
