//! The times that a connection keeps, on a virtual clock; `everywhere` in real time.
#[cfg(all(feature = "blocking", not(miri)))]
mod callers;
mod data;
#[cfg(all(unix, feature = "tokio", feature = "futures", not(miri)))]
mod everywhere;
mod heartbeat;
mod keep_alive;
mod rtt;
mod slow_readers;
mod timers;

use crate::support::wire::*;
use std::time::Duration;
use tickwire::{Config, Connection, Ending, ReadyState, RecvError, Report, Role, Time};

const MS: Duration = Duration::from_millis(1);

const SECOND: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Time {
    Time::new(SECOND * seconds as u32)
}

/// Drives a connection alone from deadline to deadline, writing all it has at once, until it
/// fails, or until `end`; says when and how.
fn until(conn: &mut Connection, mut now: Duration, end: Duration) -> (Duration, Option<RecvError>) {
    for _ in 0..10_000 {
        drain(conn);
        match conn.poll_timeout().map(|at| at - Time::ZERO) {
            Some(due) if due > end => return (end, None),
            None => return (end, None),
            Some(due) => now = now.max(due),
        }
        if let Err(error) = tell_time(conn, Time::new(now)) {
            assert_eq!(conn.step(), Err(error));
            return (now, Some(error));
        }
    }
    panic!("the deadlines do not move on");
}

/// A connection and a clock. It is told the time when that is due, after all input was stepped
/// over.
struct Clocked {
    conn: Connection,
    role: Role,
    now: Duration,
    wrote: Vec<u8>,
}

impl Clocked {
    fn new(role: Role, config: &Config) -> Self {
        Self { conn: connection(role, config), role, now: Duration::ZERO, wrote: vec![] }
    }

    /// Says what has failed, if something has by now.
    fn tell(&mut self) -> Result<(), RecvError> {
        for _ in 0..1000 {
            self.wrote.extend(drain(&mut self.conn));
            match self.conn.poll_timeout() {
                Some(at) if at <= Time::new(self.now) => {
                    tell_time(&mut self.conn, Time::new(self.now))?;
                }
                _ => return Ok(()),
            }
        }
        panic!("the deadlines do not move on");
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, time: Duration) -> Result<(), RecvError> {
        let end = self.now + time;
        loop {
            self.tell()?;
            match self.conn.poll_timeout().map(|at| at - Time::ZERO) {
                Some(due) if due < end => self.now = due,
                _ => break,
            }
        }
        self.now = end;
        self.tell()
    }

    fn hear(&mut self, b0: u8, payload: impl AsRef<[u8]>) -> Vec<Seen> {
        receive(&mut self.conn, &frame_to(self.role, b0, payload))
    }

    /// A deadline passed at `now`: nothing more is delivered, and the peer is told.
    fn tells_the_peer(mut self, error: RecvError, code: u16) {
        assert_eq!(error, RecvError::DataTimeout);
        assert_eq!(self.conn.ready_state(), ReadyState::Open); // what was received comes first
        assert_eq!(events(&mut self.conn), [Seen::Failed(error)]);
        assert_eq!(self.conn.ending(), Ending::Flush);
        let told = drain(&mut self.conn);
        assert_eq!(sent(&told), [(CLOSE, close_body(code, ""))]);
        assert_eq!(self.conn.ending(), Ending::ShutDown);
        self.conn.report(Report::ShutDown);
        assert_eq!(self.conn.ending(), Ending::Discard);
        self.pass(2 * SECOND).unwrap_or_else(|late| assert_eq!(late, error));
        assert_eq!(
            (self.conn.ending(), self.conn.ready_state()),
            (Ending::Done, ReadyState::Closed)
        );
        assert_eq!(self.conn.closed().unwrap().error, Some(error));
    }
}
