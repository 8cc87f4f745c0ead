//! The deadlines of a connection. They read no clock: the caller tells the time. They depend on the
//! received and sent bytes, and on the phase of closing.
//!
//! Receiving a message reads no clock and moves no timer, because either would cost more than the
//! message itself. A timer that has no deadline yet is due at once, and the next `handle_timeout`
//! *arms* it: sets its deadline. So `step` and `feed` need not be told the time. Adapters sleep
//! until a deadline and then tell the time.
mod dormant;

pub(super) use dormant::Kept;

use super::{Receiver, Sender, closing::Phase, idle::Idle, looks::LOOKS, silence::Silence};
use crate::proto::{
    config::{Config, Heartbeat},
    error::RecvError,
    time::Time,
};
use alloc::boxed::Box;
use core::time::Duration;

/// All deadlines except the deadline on writing, which `OutBuffer` keeps.
#[derive(Debug)]
pub(super) struct Timers {
    heartbeat: Option<Heartbeat>,
    frame_timeout: Duration,
    pub(super) close_timeout: Duration,
    beat: Beat,
    /// Boxed, because most connections have no deadline on data.
    pub(super) silence: Option<Box<Silence>>,
    idle: Option<Box<Idle>>,
    /// The position in the received bytes at which the partial frame began, and the frame's
    /// deadline.
    frame: Option<(u64, Time)>,
    /// The phase of closing, and its deadline.
    end: Option<(Phase, Time)>,
    pause: Pause,
    /// Whether a phase of closing timed out, so that the stream is dropped as it is.
    pub(super) given_up: bool,
    /// The error of `judge`, if it returned one. From then on no deadline runs.
    expired: Option<RecvError>,
}

/// The state of a pause of reading. While reading is paused, the peer's silence proves nothing. So
/// the deadlines of a partial frame and of the heartbeat move by the length of the pause. `Silence`
/// handles pauses in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    No,
    /// When the pause began; `None` until the caller has told a time.
    Since(Option<Time>),
    /// The pause began at this time, and has ended, but the caller has told no time since.
    Over(Time),
}

/// The state of the heartbeat: `Unarmed` until the caller tells a time.
#[derive(Debug)]
enum Beat {
    Unarmed,
    /// The last `silent` looks found that nothing had arrived. The next look is at `until`.
    Listening {
        silent: u8,
        until: Time,
    },
    /// A Ping is queued, or was written before the epoch of the times changed.
    Pinging,
    /// A Ping was written. A byte has to arrive by `until`. The next look is at `look`.
    Pinged {
        until: Time,
        look: Time,
    },
}

impl Timers {
    #[inline(always)]
    pub(super) fn new(config: &Config) -> Self {
        Self {
            silence: config.data_timeout.map(|timeout| Box::new(Silence::new(timeout))),
            idle: config.idle_message.as_ref().map(|said| Box::new(Idle::new(said))),
            ..Self::bare(config)
        }
    }

    /// The timers without `silence` and `idle`. A connection that was dormant gets these two back
    /// from `Kept`.
    fn bare(config: &Config) -> Self {
        Self {
            heartbeat: config.heartbeat,
            frame_timeout: config.frame_timeout,
            close_timeout: config.close_timeout,
            beat: Beat::Unarmed,
            silence: None,
            idle: None,
            frame: None,
            end: None,
            pause: Pause::No,
            given_up: false,
            expired: None,
        }
    }

    /// Forgets all times that the caller has told, because the epoch changes.
    pub(super) fn restart(&mut self) {
        (self.frame, self.end, self.pause) = (None, None, Pause::No);
        self.beat = match self.beat {
            Beat::Pinging | Beat::Pinged { .. } => Beat::Pinging,
            Beat::Unarmed | Beat::Listening { .. } => Beat::Unarmed,
        };
        if let Some(silence) = &mut self.silence {
            silence.restart();
        }
        if let Some(idle) = &mut self.idle {
            idle.restart();
        }
    }

    #[inline]
    pub(super) fn set_paused(&mut self, paused: bool) {
        if paused || !self.run() {
            self.pause_or_resume(paused);
        }
    }

    fn pause_or_resume(&mut self, paused: bool) {
        self.pause = match (paused, self.pause) {
            (true, Pause::No) => Pause::Since(None),
            (true, Pause::Over(since)) => Pause::Since(Some(since)),
            (false, Pause::Since(since)) => {
                if let Some(silence) = &mut self.silence {
                    silence.pause();
                }
                since.map_or(Pause::No, Pause::Over)
            }
            (_, as_it_was) => as_it_was,
        };
    }

    /// Whether reading goes on, and no past pause still has to be measured.
    #[inline]
    pub(super) fn run(&self) -> bool {
        self.pause == Pause::No
    }

    /// Whether reading is paused.
    #[inline(always)]
    pub(super) fn paused(&self) -> bool {
        matches!(self.pause, Pause::Since(_))
    }

    /// Ends a pause of reading at `now`.
    pub(super) fn resume(&mut self, now: Time) {
        self.set_paused(false);
        self.is_paused(now);
    }

    /// Whether reading is paused, or was paused until now. In both cases `judge` checks no further
    /// deadline, so that bytes that arrived during the pause are read first. Once a pause has
    /// ended, this call moves the deadlines by the length of the pause.
    fn is_paused(&mut self, now: Time) -> bool {
        match self.pause {
            Pause::No => return false,
            Pause::Since(since) => self.pause = Pause::Since(since.or(Some(now))),
            Pause::Over(since) => {
                self.pause = Pause::No;
                let paused = now - since;
                if let Some((_, until)) = &mut self.frame {
                    *until = *until + paused;
                }
                if let Beat::Pinged { until, look } = &mut self.beat {
                    (*until, *look) = (*until + paused, *look + paused);
                }
            }
        }
        true
    }

    /// Returns when the caller has to tell the time, so that a pause is measured. `None` if there
    /// is no pause to measure, or if the pause moves no running deadline. In both cases the caller
    /// need not read the clock.
    fn next_of_pause(&self, rx: &Receiver) -> Option<Time> {
        let awaited = match self.beat {
            Beat::Pinged { .. } => true,
            _ => self.frame.is_some() && rx.partial_frame().is_some(),
        };
        let untold = matches!(self.pause, Pause::Since(None) | Pause::Over(_));
        (untold && awaited && !rx.ended()).then_some(Time::ZERO)
    }

    /// Whether some deadline always runs while the connection is open. An idle connection asks for
    /// its deadlines only if this is `true`, so each deadline that always runs must be listed here.
    #[inline]
    pub(super) fn ticks(&self) -> bool {
        self.heartbeat.is_some() || self.silence.is_some() || self.idle.is_some()
    }

    /// Returns when `attend` is due while input keeps coming. A flood of input can postpone any
    /// deadline that is not listed here.
    pub(super) fn attends(&self) -> Option<Time> {
        Time::earliest(&[self.next_silence(true), self.next_idle()])
    }

    /// Whether `handle` may find at `now` that the peer was silent for too long. Every deadline on
    /// silence must appear here. An unarmed `Silence` is due at `Time::ZERO`, but does not count
    /// here, because the next `handle` only arms it. A deadline that no longer runs may still
    /// count; the caller then does its check for nothing.
    pub(super) fn may_be_silent(&self, now: Time) -> bool {
        let pong = match self.beat {
            Beat::Pinged { until, .. } => Some(until),
            _ => None,
        };
        let frame = self.frame.map(|(_, until)| until);
        let due =
            Time::earliest(&[pong, frame, self.next_silence(false).filter(|&at| at > Time::ZERO)]);
        due.is_some_and(|at| at <= now)
    }

    fn next_silence(&self, busy: bool) -> Option<Time> {
        self.silence.as_ref().map(|silence| silence.next(busy))
    }

    fn next_idle(&self) -> Option<Time> {
        self.idle.as_ref().map(|idle| idle.next())
    }

    /// Returns the time at which the caller must call `handle` next. `handle` must move each due
    /// deadline into the future, end it, or return its error, because the adapters call `handle`
    /// until nothing is due.
    pub(super) fn poll(&self, rx: &Receiver, tx: &Sender, phase: Phase) -> Option<Time> {
        if self.expired.is_some() {
            return None;
        }
        let bound = phase.at_most(self.close_timeout);
        let end = bound.map(|_| armed(self.end, phase, Time::ZERO));
        let idle = self.next_idle().filter(|_| phase == Phase::Open);
        let pause = self.next_of_pause(rx);
        if self.paused() || rx.ended() {
            return Time::earliest(&[end, idle, pause]);
        }
        let frame = rx.partial_frame().map(|at| armed(self.frame, at, Time::ZERO));
        let pong = tx.pong_waits().then_some(Time::ZERO);
        let beat = match self.beat {
            _ if self.heartbeat.is_none() || phase != Phase::Open => None,
            Beat::Unarmed => Some(Time::ZERO),
            Beat::Pinging => tx.beat_written().then_some(Time::ZERO),
            Beat::Listening { until: at, .. } | Beat::Pinged { look: at, .. } => Some(at),
        };
        let data = self.next_silence(false).filter(|_| phase == Phase::Open);
        Time::earliest(&[end, idle, pause, frame, beat, data, pong])
    }

    /// Tells the time. `busy`: whether input keeps coming. Returns whether the idle message was
    /// queued.
    pub(super) fn handle(
        &mut self,
        now: Time,
        rx: &mut Receiver,
        tx: &mut Sender,
        phase: Phase,
        busy: bool,
    ) -> Result<bool, RecvError> {
        if let Some(error) = self.expired {
            return Err(error);
        }
        // An error of `judge` means that the peer is taken for dead, or that closing has taken too
        // long. So writing ends too.
        self.judge(now, rx, tx, phase).inspect_err(|&error| {
            self.expired = Some(error);
            tx.write_failed();
        })?;
        self.attend(now, rx, tx, phase, busy)
    }

    /// Tells the time to the idle message and the deadline on data only. A flood of input from the
    /// peer must not delay these two. `busy`: whether input keeps coming. Returns whether the idle
    /// message was queued.
    ///
    /// Only an error from this function may have a close code that is still to be sent: after an
    /// error from `judge`, `handle` ends writing, so no Close would be sent.
    pub(super) fn attend(
        &mut self,
        now: Time,
        rx: &Receiver,
        tx: &mut Sender,
        phase: Phase,
        busy: bool,
    ) -> Result<bool, RecvError> {
        if phase != Phase::Open {
            return Ok(false);
        }
        if !self.paused()
            && !rx.ended()
            && self.silence.as_mut().is_some_and(|silence| silence.is_over(now, rx, busy))
        {
            self.silence = None;
            return Err(RecvError::DataTimeout);
        }
        Ok(self.idle.as_mut().is_some_and(|idle| idle.say(now, tx)))
    }

    /// Arms and checks the deadlines of a phase of closing, of a partial frame and of the
    /// heartbeat. During a pause, and once receiving has ended, it checks only the deadline of a
    /// phase of closing.
    fn judge(
        &mut self,
        now: Time,
        rx: &mut Receiver,
        tx: &mut Sender,
        phase: Phase,
    ) -> Result<(), RecvError> {
        if let Some(bound) = phase.at_most(self.close_timeout) {
            let until = armed(self.end, phase, now + bound);
            self.end = Some((phase, until));
            if now >= until {
                self.given_up = true;
                match phase {
                    Phase::Closing | Phase::Answering => return Err(RecvError::CloseTimeout),
                    Phase::Reporting => {
                        return Err(rx.error().unwrap_or(RecvError::CloseTimeout));
                    }
                    // Both Closes have passed, and the peer may be gone already. So the rest of the
                    // Ping or Pong behind our Close may be dropped, and the connection still ends
                    // cleanly.
                    Phase::Trailing => tx.write_failed(),
                    _ => {}
                }
            }
        }
        if self.is_paused(now) || rx.ended() {
            return Ok(());
        }
        tx.time_pong(now);
        self.frame = match (rx.partial_frame(), self.frame) {
            (None, _) => None,
            (Some(at), Some((of, until))) if of == at && now >= until => {
                return Err(RecvError::FrameTimeout);
            }
            (Some(at), Some((of, until))) if of == at => Some((at, until)),
            (Some(at), _) => Some((at, now + self.frame_timeout)),
        };
        match self.heartbeat {
            Some(heartbeat) if phase == Phase::Open => self.beat(now, heartbeat, rx, tx),
            _ => Ok(()),
        }
    }

    /// One look of the heartbeat. After a whole interval without a byte, queues a Ping. If no byte
    /// arrives within `timeout` after the Ping is written, fails with `PongTimeout`.
    fn beat(
        &mut self,
        now: Time,
        heartbeat: Heartbeat,
        rx: &mut Receiver,
        tx: &mut Sender,
    ) -> Result<(), RecvError> {
        let pause = between_looks(heartbeat);
        let soon = now + pause;
        let pinged = |until: Time| Beat::Pinged { until, look: until.min(soon) };
        // This look may be late. If it is late by at most a quarter of `pause` (the time between
        // looks), the next look is due one `pause` after the planned time of this look. So small
        // delays of an adapter do not add up.
        let due = match self.beat {
            Beat::Listening { until, .. } => until.max(now.before(pause / 4)),
            _ => now,
        };
        let listen = |silent| Beat::Listening { silent, until: due + pause };
        self.beat = match self.beat {
            Beat::Listening { until: at, .. } | Beat::Pinged { look: at, .. } if now < at => {
                return Ok(());
            }
            _ if rx.take_heard() => listen(0),
            Beat::Unarmed => listen(0),
            Beat::Listening { silent, .. } if u32::from(silent) + 1 >= LOOKS => {
                tx.owe_beat(now);
                Beat::Pinging
            }
            Beat::Listening { silent, .. } => listen(silent + 1),
            Beat::Pinging if tx.beat_written() => pinged(now + heartbeat.timeout),
            Beat::Pinging => return Ok(()),
            Beat::Pinged { until, .. } if now < until => pinged(until),
            Beat::Pinged { .. } => return Err(RecvError::PongTimeout),
        };
        Ok(())
    }
}

/// Returns the timer's deadline if it was armed for `of`; otherwise `unarmed`.
fn armed<T: PartialEq>(timer: Option<(T, Time)>, of: T, unarmed: Time) -> Time {
    timer.filter(|(armed_for, _)| *armed_for == of).map_or(unarmed, |(_, until)| until)
}

/// The time from one look to the next. The minimum leaves time for other work between looks.
fn between_looks(heartbeat: Heartbeat) -> Duration {
    (heartbeat.interval / LOOKS).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{config::Negotiated, connection::Connection};

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
        assert_eq!(conn.handle_timeout(at(100)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(110)));
        conn.restart_clock();
        assert_eq!(conn.handle_timeout(at(1)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(11)));

        let mut conn = server(&config);
        assert!(conn.sender_mut().feed("stuck").is_ok());
        conn.write_blocked();
        assert_eq!(conn.handle_timeout(at(100)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(120)));
        conn.restart_clock();
        assert_eq!(conn.handle_timeout(at(1)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(21)));

        let mut conn =
            server(&Config { heartbeat: Some(Heartbeat::new(seconds(10), seconds(9))), ..config });
        assert_eq!(conn.handle_timeout(at(100)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(102)));
        conn.restart_clock();
        assert_eq!(conn.handle_timeout(at(1)), Ok(()));
        assert_eq!(conn.poll_timeout(), Some(at(3)));

        for config in [
            Config { data_timeout: Some(seconds(10)), ..Config::default() },
            Config { idle_message: Some((seconds(10), "alive".into())), ..Config::default() },
        ] {
            let mut conn = server(&config);
            assert_eq!(conn.handle_timeout(at(100)), Ok(()));
            assert_eq!(conn.poll_timeout(), Some(at(102)));
            conn.restart_clock();
            assert_eq!(conn.handle_timeout(at(1)), Ok(()));
            assert_eq!(conn.poll_timeout(), Some(at(3)));
        }
    }
}
