//! What [`Closing::new`] reads of the two halves and of the stream, by the calls that change it.
use super::{DRAIN, LINGER, Role};
use crate::proto::{
    config::{Config, Negotiated},
    connection::{Connection, Report, Step},
    entropy::Entropy,
    time::Time,
};
use alloc::{format, string::String};
use bytes::Buf;
use core::time::Duration;

const CLOSE: &[u8] = &[0x88, 0x02, 0x03, 0xe8];
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, unless `client` makes it.
struct End(Connection, Time);

struct Sevens;

impl Entropy for Sevens {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill(7);
    }
}

fn config() -> Config {
    Config { write_timeout: WRITE_TIMEOUT, close_timeout: CLOSE_TIMEOUT, ..Config::default() }
}

fn server() -> End {
    End(Connection::server(&config(), Negotiated::default()), Time::ZERO)
}

fn by_hand() -> End {
    let config = Config { auto_close: false, ..config() };
    End(Connection::server(&config, Negotiated::default()), Time::ZERO)
}

fn client() -> End {
    End(Connection::client(&config(), Negotiated::default(), Sevens), Time::ZERO)
}

impl End {
    /// An unmasked frame of the peer arrives; to a server it is masked by a key of zeros.
    fn hears(mut self, frame: &[u8]) -> Self {
        let server = self.0.role() == Role::Server;
        let bit = if server { 0x80 } else { 0 };
        let key: &[u8] = if server { &[0; 4] } else { &[] };
        let bytes = [&[frame[0], frame[1] | bit], key, &frame[2..]].concat();
        self.reads(&bytes);
        while let Ok(Step::Message | Step::Ping | Step::Pong | Step::Close) = self.0.step() {}
        self
    }

    fn reads(&mut self, bytes: &[u8]) {
        let rx = self.0.receiver_mut();
        rx.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        rx.commit(bytes.len());
    }

    fn eof(mut self) -> Self {
        self.0.receiver_mut().end_of_stream();
        let _ = self.0.step();
        self
    }

    fn closes(mut self) -> Self {
        assert_eq!(self.0.sender_mut().close(None), Ok(()));
        self
    }

    fn pings(mut self) -> Self {
        assert_eq!(self.0.sender_mut().ping(b"?"), Ok(()));
        self
    }

    /// The stream accepts so many bytes.
    fn writes(mut self, most: usize) -> Self {
        let mut left = most;
        while left > 0 && self.0.sender().has_outgoing() {
            let mut out = self.0.sender_mut().outgoing();
            let n = out.chunk().len().min(left);
            out.advance(n);
            left -= n;
        }
        self
    }

    /// The stream holds so many of the bytes that it accepted.
    fn holds(mut self, bytes: usize) -> Self {
        self.0.sender_mut().set_unflushed(bytes);
        self
    }

    fn reports(mut self, report: Report) -> Self {
        self.0.report(report);
        self
    }

    fn leaves(mut self, by: Duration) -> Self {
        let by = self.1 + by;
        assert_eq!(self.0.sender_mut().leave(None, by), Ok(()));
        self
    }

    /// The time passes, behind a look that starts what is to be timed. It is told when it is due,
    /// because of a longer pause the clock on writing counts a part.
    fn waits(mut self, time: Duration) -> Self {
        let end = self.1 + time;
        let _ = self.0.handle_timeout(self.1);
        while self.1 < end {
            self.1 = self.0.poll_timeout().map_or(end, |due| due.max(self.1).min(end));
            let _ = self.0.handle_timeout(self.1);
        }
        let _ = self.0.step();
        self
    }

    /// The peer's Close does not come in time, though a Pong does.
    fn overdue(self) -> Self {
        let mut end = self.closes().writes(MAX);
        let _ = end.0.handle_timeout(end.1);
        end.hears(PONG).waits(CLOSE_TIMEOUT)
    }

    fn drains(mut self, bytes: u64) -> Self {
        let mut left = bytes;
        while left > 0 {
            let rx = self.0.receiver_mut();
            let n = (rx.spare_mut().len() as u64).min(left);
            rx.commit(n as usize);
            left -= n;
            let _ = self.0.step();
        }
        self
    }

    fn says(self) -> String {
        let now = self.0.inbound.closing(&self.0.tx);
        format!("{:?} {:?} {:?}", now.theirs, now.ours, now.stream)
    }
}

const MAX: usize = usize::MAX;
const PONG: &[u8] = &[0x8a, 0x00];

#[track_caller]
fn is(end: End, expected: &str) {
    assert_eq!(end.says(), expected);
}

#[test]
fn how_far_the_peers_close_has_come() {
    is(server(), "Awaited None Open");
    is(server().hears(PONG), "Awaited None Open");
    is(by_hand().hears(CLOSE), "Came None Open");
    is(server().hears(CLOSE), "Came Queued Open");
    is(server().hears(&[0x8b, 0x00]), "Violated Queued Open");
    is(server().eof(), "Missing Lost Gone");
    is(client().eof(), "Missing Lost Gone");
    is(server().overdue(), "Overdue Followed Open");
    // Nothing was heard, so nothing can be lost by dropping the stream.
    is(server().closes().waits(CLOSE_TIMEOUT), "Missing Lost Gone");
    // A Close that had arrived in time counts, and one that comes later does not.
    is(server().overdue().hears(CLOSE), "Overdue Followed Open");
    let mut late = server().closes().writes(MAX);
    let _ = late.0.handle_timeout(late.1);
    late.reads(&[0x88, 0x80, 0, 0, 0, 0]);
    is(late.waits(CLOSE_TIMEOUT), "Came Written Open");
}

#[test]
fn how_far_our_close_has_come() {
    is(server().closes(), "Awaited Queued Open");
    is(server().closes().writes(1), "Awaited Queued Open");
    is(server().closes().writes(MAX), "Awaited Written Open");
    is(server().closes().writes(MAX).holds(1), "Awaited Queued Open");
    is(server().closes().writes(MAX).holds(1).holds(0), "Awaited Written Open");
    is(server().closes().pings().writes(2), "Awaited Queued Open");
    is(server().closes().pings().writes(MAX), "Awaited Written Open");
    // The peer's Close drops a Ping behind ours that has not begun to leave.
    is(server().closes().pings().writes(2).hears(CLOSE), "Came Written Open");
    is(server().closes().pings().writes(3).hears(CLOSE), "Came Followed Open");
    is(server().closes().pings().writes(3).hears(CLOSE).writes(MAX), "Came Written Open");
    is(server().closes().pings().writes(1).hears(CLOSE), "Came Queued Open");
    is(server().hears(CLOSE).writes(MAX), "Came Written Open");
    is(server().hears(CLOSE).writes(MAX).holds(1), "Came Queued Open");
}

/// Bytes that a stream holds may never leave it.
#[test]
fn a_close_that_the_stream_held_when_a_write_failed_is_lost() {
    let fails = |end: End| end.reports(Report::WriteFailed);
    is(fails(server()), "Awaited Lost Gone");
    is(fails(server().closes()), "Awaited Lost Gone");
    is(fails(server().closes().writes(1)), "Awaited Lost Gone");
    is(fails(server().closes().writes(MAX)), "Awaited Followed Gone");
    is(fails(server().closes().writes(MAX).holds(1)), "Awaited Lost Gone");
    is(fails(server().closes().pings().writes(3)), "Awaited Followed Gone");
    for held in [0, 1] {
        let answered = fails(server().hears(CLOSE).writes(MAX).holds(held));
        let closed = answered.0.closed().map(|closed| (closed.clean, closed.sent_code));
        assert_eq!(closed, Some(if held == 0 { (true, 1000) } else { (false, 1006) }));
        is(answered, if held == 0 { "Came Followed Gone" } else { "Came Lost Gone" });
    }
    // The stream has flushed it after the deadline had passed.
    let late = server().hears(CLOSE).writes(MAX).holds(1).waits(WRITE_TIMEOUT);
    assert_eq!(late.0.closed().map(|closed| closed.clean), Some(false));
    is(fails(late.holds(0)), "Came Followed Gone");
}

#[test]
fn what_became_of_the_stream() {
    let shut = |end: End| end.reports(Report::ShutDown);
    let answered = |end: End| end.hears(CLOSE).writes(MAX);
    is(answered(server()).eof(), "Came Written Ended");
    is(shut(answered(server())), "Came Written Shut");
    is(shut(answered(server())).eof(), "Came Written Gone");
    is(shut(answered(server()).eof()), "Came Written Gone");
    is(shut(answered(server())).drains(DRAIN + 1), "Came Written Shut");
    // Only the end of the peer's stream is missing, and is not waited for.
    is(answered(client()).waits(LINGER), "Came Written Gone");
    is(shut(answered(server())).waits(LINGER), "Came Written Gone");
    is(server().hears(CLOSE).waits(CLOSE_TIMEOUT), "Came Lost Gone");
    let left = server().hears(CLOSE).writes(MAX).leaves(Duration::from_millis(500));
    is(left.waits(Duration::from_millis(500)), "Came Followed Gone");
    // An overdue peer's stream works still, though the sender has been broken.
    let overdue = || server().overdue();
    is(overdue().eof(), "Overdue Followed Ended");
    is(shut(overdue()), "Overdue Followed Shut");
    is(shut(overdue()).eof(), "Overdue Followed Gone");
    is(shut(overdue()).drains(DRAIN), "Overdue Followed Shut");
    is(shut(overdue()).drains(DRAIN + 1), "Overdue Followed Gone");
    is(overdue().drains(DRAIN + 1), "Overdue Followed Open");
    is(shut(overdue()).waits(CLOSE_TIMEOUT), "Overdue Followed Gone");
    let longer = CLOSE_TIMEOUT + Duration::from_secs(1);
    let mut left = server().closes().leaves(longer).writes(MAX);
    let _ = left.0.handle_timeout(left.1);
    let left = left.hears(PONG).waits(CLOSE_TIMEOUT);
    is(left.waits(Duration::from_secs(1)), "Overdue Followed Gone");
}
