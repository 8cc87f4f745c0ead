//! The deadlines of a connection: those of the phases of closing here, most others in `beat`,
//! `completion`, `silence` and `idle`, the clock on writing in `stall.rs`.
//!
//! Receiving a message reads no clock and moves no timer, because either would cost more than the
//! message itself. So `step` and `feed` need not be told the time: a timer that has no deadline yet
//! is due at once, and the next `handle_timeout` *arms* it, which means that it sets the deadline.
//!
//! A deadline on the peer's silence is a *verdict*: once it has passed, `verdict` says when it may
//! be believed. All others are *duties*, for which only the clock counts.
mod beat;
mod completion;
mod dormant;
mod idle;
mod silence;
mod verdict;

pub(super) use dormant::DormantTimers;
pub(crate) use verdict::Blocked;

use super::{Receiver, Sender, closing::Phase};
use crate::proto::{config::Config, error::RecvError, time::Time};
use alloc::boxed::Box;
use beat::Beat;
use completion::Completion;
use idle::Idle;
use silence::Silence;
use verdict::{PassedDeadline, SOON};

/// After so many reads the caller has to look at the clock, even if every read brings bytes:
/// otherwise a peer that never stops sending would postpone every deadline.
const READS_BETWEEN_LOOKS: u32 = 64;

/// Without that on writing, which `OutBuffer` keeps.
#[derive(Debug, Default)]
pub(super) struct Timers {
    completion: Completion,
    beat: Option<Beat>,
    /// Boxed, because most connections have no deadline on data.
    silence: Option<Box<Silence>>,
    idle: Option<Box<Idle>>,
    end: Option<End>,
    pause: Pause,
    /// On the peer's silence, and not believed yet.
    found: Option<Box<PassedDeadline>>,
    /// [`Receiver::reads`] at which the caller has to look at the clock next.
    looks_at: u32,
    /// See `Theirs::Overdue`.
    pub(super) overdue: bool,
    /// The stream is dropped without a shutdown: the peer seems dead, or closing timed out.
    pub(super) given_up: bool,
    /// The error of the deadline that ended reading and writing. No other runs then.
    expired: Option<RecvError>,
}

#[derive(Debug)]
struct End {
    phase: Phase,
    /// `None` until the phase's time begins. Once it has, it does not begin again: otherwise each
    /// Pong behind our Close would give a peer that sends Pings more time.
    until: Option<Time>,
}

impl End {
    /// The peer has to answer our Close once it can have that. Before, the clock on writing bounds
    /// how long our Close, and everything in front of it, may wait.
    fn begins(&self, tx: &Sender) -> bool {
        self.phase != Phase::Closing || tx.close_taken()
    }

    /// `Leaving` and `Draining` share one deadline.
    fn bounds(&self, phase: Phase) -> bool {
        self.phase == phase || (self.phase, phase) == (Phase::Leaving, Phase::Draining)
    }
}

/// While reading is paused, the peer's silence proves nothing, so the deadlines on silence move by
/// the length of the pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pause {
    #[default]
    No,
    /// `None` until the caller tells a time in the pause.
    Since(Option<Time>),
    /// Began at this time, and has ended, but the caller has told no time since.
    Over(Time),
}

impl Timers {
    #[inline(always)]
    pub(super) fn new(config: &Config) -> Self {
        Self {
            beat: config.heartbeat.map(Beat::new),
            silence: config.data_timeout.map(|timeout| Box::new(Silence::new(timeout))),
            idle: config.idle_message.as_ref().map(|said| Box::new(Idle::new(said))),
            ..Self::bare(config)
        }
    }

    /// Without those that a dormant connection keeps: `beat`, `silence`, `idle`.
    fn bare(config: &Config) -> Self {
        Self {
            completion: Completion::new(config.frame_timeout),
            looks_at: READS_BETWEEN_LOOKS,
            ..Self::default()
        }
    }

    /// A new adapter's times have a new epoch. Other facts stay. A pause ends, because the new
    /// adapter begins its own.
    pub(super) fn restart(&mut self) {
        self.end = None;
        self.pause = Pause::No;
        self.found = None;
        self.completion.restart();
        if let Some(beat) = &mut self.beat {
            beat.restart();
        }
        if let Some(silence) = &mut self.silence {
            silence.restart();
        }
        if let Some(idle) = &mut self.idle {
            idle.restart();
        }
    }

    #[inline]
    pub(super) fn set_paused(&mut self, paused: bool) {
        // Outside a pause, `set_paused(false)` must not reset `found`.
        if paused || !self.run() {
            self.pause_or_resume(paused);
        }
    }

    fn pause_or_resume(&mut self, paused: bool) {
        self.pause = match (paused, self.pause) {
            (true, Pause::No) => Pause::Since(None),
            // The caller told no time between the two pauses, so they count as one.
            (true, Pause::Over(since)) => Pause::Since(Some(since)),
            (false, Pause::Since(since)) => since.map_or(Pause::No, Pause::Over),
            (_, as_it_was) => as_it_was,
        };
        self.found = None; // The pause moves the deadline, which then has to be found anew.
    }

    #[inline]
    pub(super) fn run(&self) -> bool {
        self.pause == Pause::No
    }

    #[inline(always)]
    pub(super) fn paused(&self) -> bool {
        matches!(self.pause, Pause::Since(_))
    }

    pub(super) fn resume(&mut self, now: Time) {
        self.set_paused(false);
        self.is_paused(now);
    }

    /// Notes when a pause began. Once it has ended, moves the deadlines on silence by its length.
    fn is_paused(&mut self, now: Time) -> bool {
        match self.pause {
            Pause::No => false,
            Pause::Since(since) => {
                self.pause = Pause::Since(since.or(Some(now)));
                true
            }
            Pause::Over(since) => {
                self.pause = Pause::No;
                let paused = now - since;
                self.completion.put_off(paused);
                if let Some(beat) = &mut self.beat {
                    beat.put_off(paused);
                }
                if let Some(silence) = &mut self.silence {
                    silence.put_off(paused);
                }
                false
            }
        }
    }

    /// When to look at the clock to measure a pause. `None` if there is none, or if it moves no
    /// running deadline: then the caller need not read the clock.
    fn next_of_pause(&self, rx: &Receiver) -> Option<Time> {
        let awaited = self.beat.as_ref().is_some_and(Beat::is_awaited)
            || self.silence.is_some()
            || self.completion.is_awaited(rx);
        let untold = matches!(self.pause, Pause::Since(None) | Pause::Over(_));
        (untold && awaited && !rx.ended()).then_some(Time::ZERO)
    }

    /// If not, an idle connection computes no deadlines, so each one that runs in an idle
    /// connection must be listed here.
    #[inline]
    pub(super) fn ticks(&self) -> bool {
        let always = self.beat.is_some() || self.silence.is_some() || self.idle.is_some();
        always || self.found.is_some()
    }

    /// With a deadline on data or an idle message after each read, otherwise after 64.
    #[inline]
    pub(super) fn looks(&self, rx: &Receiver) -> bool {
        // The count of reads wraps, so the two are compared by their difference.
        rx.reads().wrapping_sub(self.looks_at) < u32::MAX / 2
    }

    pub(super) fn looked(&mut self, rx: &Receiver) {
        let often = self.silence.is_some() || self.idle.is_some();
        self.looks_at = rx.reads().wrapping_add(if often { 1 } else { READS_BETWEEN_LOOKS });
    }

    /// The adapters call `handle` until nothing is due, so it must move each due deadline into the
    /// future, end it, or return its error.
    pub(super) fn poll(&self, rx: &Receiver, tx: &Sender, phase: Phase) -> Option<Time> {
        if self.expired.is_some() {
            return None;
        }
        let idle = self.idle.as_ref().map(|idle| idle.next()).filter(|_| phase == Phase::Open);
        let pong = tx.pong_waits().then_some(Time::ZERO);
        let duties =
            Time::earliest(&[self.next_of_end(rx, tx, phase), idle, self.next_of_pause(rx)]);
        // Silence proves nothing during a pause, and has no effect once receiving has ended.
        if self.paused() || rx.ended() {
            return Time::earliest(&[duties, pong]);
        }
        let verdict = match &self.found {
            Some(found) if found.is_believed(rx) => Some(Time::ZERO),
            // The caller has to read. If it does not say whether the read blocked, it has to tell
            // the time again soon. After a read that perhaps blocked, `at` is later.
            Some(found) => Some((found.told + SOON).max(found.at)),
            None => self.next_verdict(rx, tx, phase),
        };
        Time::earliest(&[duties, verdict, pong])
    }

    fn next_of_end(&self, rx: &Receiver, tx: &Sender, phase: Phase) -> Option<Time> {
        phase.at_most(tx.close_timeout)?;
        // `step` still has to return the failure, which ends the phase without a deadline.
        if phase == Phase::Closing && rx.failure().is_some() {
            return None;
        }
        let Some(end) = self.end.as_ref().filter(|end| end.bounds(phase)) else {
            return Some(Time::ZERO);
        };
        end.until.or(end.begins(tx).then_some(Time::ZERO))
    }

    fn next_verdict(&self, rx: &Receiver, tx: &Sender, phase: Phase) -> Option<Time> {
        let frame = self.completion.next(rx);
        if phase != Phase::Open {
            return frame; // The deadline of the phase limits the peer's silence.
        }
        let beat = self.beat.as_ref().and_then(|beat| beat.next(tx));
        let data = self.silence.as_ref().map(|silence| silence.next(rx));
        Time::earliest(&[frame, beat, data])
    }

    pub(super) fn handle(
        &mut self,
        now: Time,
        rx: &mut Receiver,
        tx: &mut Sender,
        phase: Phase,
    ) -> Result<(), RecvError> {
        if let Some(error) = self.expired {
            return Err(error); // A call after the end changes nothing, and repeats the error.
        }
        self.looked(rx);
        tx.time_pong(now); // also in a pause, which may begin right after the Pong
        self.bound_phase(now, rx, tx, phase)?; // closing goes on in a pause
        // First, because it may move the deadlines that `passed` checks.
        if !self.is_paused(now) && !rx.ended() {
            let passed = self.passed(now, rx, tx, phase);
            self.judge(passed, now, rx, tx)?;
        }
        // Even in a pause, because the idle message depends only on sending.
        if phase == Phase::Open
            && let Some(idle) = &mut self.idle
        {
            idle.say(now, tx);
        }
        Ok(())
    }

    fn bound_phase(
        &mut self,
        now: Time,
        rx: &mut Receiver,
        tx: &mut Sender,
        phase: Phase,
    ) -> Result<(), RecvError> {
        let Some(bound) = phase.at_most(tx.close_timeout) else { return Ok(()) };
        let armed = self.end.take().filter(|end| end.bounds(phase));
        let end = self.end.insert(armed.unwrap_or_else(|| {
            rx.take_heard(); // the heartbeat, which needs this fact too, no longer runs
            End { phase, until: None }
        }));
        if end.until.is_none() && end.begins(tx) {
            rx.take_heard();
            end.until = Some(now + bound);
        }
        if end.until.is_none_or(|until| now < until) {
            return Ok(());
        }
        match phase {
            // `step` still has to return an earlier error, which ends the phase.
            Phase::Closing if rx.failure().is_some() => Ok(()),
            Phase::Closing if !tx.is_broken() && rx.take_heard() => {
                // `expire` would stop reading, which must go on: see `Theirs::Overdue`.
                self.overdue = true;
                Err(RecvError::CloseTimeout)
            }
            Phase::Closing => Err(self.expire(RecvError::CloseTimeout, tx)),
            Phase::Reporting => {
                // Receiving has failed, so `rx.error()` is `Some`.
                let error = rx.error().unwrap_or(RecvError::CloseTimeout);
                Err(self.expire(error, tx))
            }
            // Each end has sent its Close, and the peer may be gone already: the rest of the Ping
            // or Pong behind ours may be dropped, and the connection still ends cleanly.
            Phase::Trailing => {
                self.given_up = true;
                tx.write_failed();
                Ok(())
            }
            // Receiving has ended, with or without an error, and our bytes are written or given up.
            // Only the end of the stream is missing, so this is no error.
            _ => {
                self.given_up = true;
                Ok(())
            }
        }
    }

    fn expire(&mut self, error: RecvError, tx: &mut Sender) -> RecvError {
        self.given_up = true;
        self.expired = Some(error);
        tx.write_failed();
        error
    }

    /// Checks all, even if one has passed, because a check also updates the deadline's state. The
    /// first error that applies, in the order `FrameTimeout`, `PongTimeout`, `DataTimeout`.
    fn passed(
        &mut self,
        now: Time,
        rx: &mut Receiver,
        tx: &mut Sender,
        phase: Phase,
    ) -> Option<RecvError> {
        let frame = self.completion.passed(now, rx).then_some(RecvError::FrameTimeout);
        if phase != Phase::Open {
            return frame;
        }
        let beat = self.beat.as_mut().is_some_and(|beat| beat.passed(now, rx, tx));
        let data = self.silence.as_mut().is_some_and(|silence| silence.passed(now, rx));
        let beat = beat.then_some(RecvError::PongTimeout);
        frame.or(beat).or(data.then_some(RecvError::DataTimeout))
    }

    /// A passed deadline that may not be believed yet stays in `found` until it is believed or has
    /// moved.
    fn judge(
        &mut self,
        passed: Option<RecvError>,
        now: Time,
        rx: &Receiver,
        tx: &mut Sender,
    ) -> Result<(), RecvError> {
        let Some(error) = passed else {
            self.found = None;
            return Ok(());
        };
        match &mut self.found {
            Some(found) if found.error == error => {
                if found.is_believed(rx) {
                    self.found = None;
                    return Err(match error.close_code() {
                        None => self.expire(error, tx),
                        // Only `DataTimeout` has a code. Our Close tells it to the peer, so writing
                        // goes on, and only the deadline on data ends.
                        Some(_) => {
                            self.silence = None;
                            error
                        }
                    });
                }
                found.told = now;
            }
            found => *found = Some(Box::new(PassedDeadline::new(error, now, rx))),
        }
        Ok(())
    }

    /// A read has to show whether the found deadline may be believed. One that perhaps blocked
    /// counts only if it was made at the returned time or later.
    #[inline]
    pub(super) fn found_at(&self, rx: &Receiver) -> Option<Time> {
        self.found.as_ref().filter(|found| !found.is_believed(rx)).map(|found| found.at)
    }

    #[inline(always)]
    pub(super) fn has_found(&self) -> bool {
        self.found.is_some()
    }

    pub(super) fn read_blocked(&mut self, blocked: Blocked) {
        if let Some(found) = &mut self.found {
            found.read_blocked(blocked);
        }
    }

    pub(super) fn set_unread(&mut self, bytes: u64) {
        if let Some(found) = &mut self.found {
            found.set_unread(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        config::{Heartbeat, Negotiated},
        connection::{Connection, Report},
    };
    use core::time::Duration;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn server(config: &Config) -> Connection {
        Connection::server(config, Negotiated::default())
    }

    fn read(conn: &mut Connection, wire: &[u8]) {
        conn.receiver_mut().spare_mut()[..wire.len()].copy_from_slice(wire);
        conn.receiver_mut().commit(wire.len());
        assert!(conn.step().is_ok());
    }

    /// The epoch changes when a connection moves to an adapter with a different clock.
    #[test]
    fn with_another_epoch_every_deadline_gets_its_full_time() {
        let at = |n| Time::new(seconds(n));
        let config =
            Config { frame_timeout: seconds(10), write_timeout: seconds(20), ..Config::default() };
        let mut conn = server(&config);
        read(&mut conn, b"\x82");
        let quarter = Duration::from_millis(2500);
        for i in 0..4 {
            assert_eq!(conn.handle_timeout(at(100) + quarter * i), Ok(()));
            assert_eq!(conn.poll_timeout(), Some(at(100) + quarter * (i + 1)));
        }
        conn.restart_clock();
        for i in 0..4 {
            assert_eq!(conn.handle_timeout(at(1) + quarter * i), Ok(()));
            assert_eq!(conn.poll_timeout(), Some(at(1) + quarter * (i + 1)));
        }
        assert!(!conn.must_read());
        assert_eq!(conn.handle_timeout(at(11)), Ok(()));
        assert!(conn.must_read());

        let mut conn = server(&config);
        assert!(conn.sender_mut().feed("stuck").is_ok());
        conn.report(Report::WriteBlocked);
        assert_eq!(conn.handle_timeout(at(100)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(105)));
        assert_eq!(conn.handle_timeout(at(105)), Ok(()));
        conn.restart_clock();
        assert_eq!(conn.handle_timeout(at(1)), Ok(()));
        for now in [6, 11, 16] {
            assert_eq!(conn.poll_timeout(), Some(at(now)));
            assert_eq!(conn.handle_timeout(at(now)), Ok(()));
        }
        assert_eq!(conn.poll_timeout(), Some(at(21)));

        let mut conn =
            server(&Config { heartbeat: Some(Heartbeat::new(seconds(10), seconds(9))), ..config });
        assert_eq!(conn.handle_timeout(at(100)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(102)));
        conn.restart_clock();
        assert_eq!(conn.handle_timeout(at(1)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(3)));

        for (config, first) in [
            (Config { data_timeout: Some(seconds(10)), ..Config::default() }, 10),
            (Config { idle_message: Some((seconds(10), "alive".into())), ..Config::default() }, 2),
        ] {
            let mut conn = server(&config);
            assert_eq!(conn.handle_timeout(at(100)), Ok(()));
            assert_eq!(conn.poll_timeout(), Some(at(100 + first)));
            conn.restart_clock();
            assert_eq!(conn.handle_timeout(at(1)), Ok(()));
            assert_eq!(conn.poll_timeout(), Some(at(1 + first)));
        }
    }
}
