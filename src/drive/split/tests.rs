//! How often the receiving half locks the sending side, and the writer lets it go first. Each lock
//! may wait for a writer.
use super::*;
use crate::{
    drive::{Ready, Want},
    proto::{
        config::{Config, Heartbeat, Negotiated},
        connection::Connection,
        message::Message,
    },
};
use core::cell::{Cell, RefCell};
use std::{collections::VecDeque, io::IoSlice, rc::Rc};

std::thread_local! {
    static LOCKS: Cell<u32> = const { Cell::new(0) };
    static PASSES: Cell<u32> = const { Cell::new(0) };
}

pub(super) fn locked() {
    LOCKS.set(LOCKS.get() + 1);
}

pub(super) fn let_pass() {
    PASSES.set(PASSES.get() + 1);
}

const SECOND: Duration = Duration::from_secs(1);
const MESSAGE: &[u8] = b"\x82\x81\0\0\0\0x";
const PING: &[u8] = b"\x89\x80\0\0\0\0";

/// Reads give one piece each; writes take everything, or nothing while `refuses` is set.
#[derive(Clone, Debug, Default)]
struct Script(Rc<Line>);

#[derive(Debug, Default)]
struct Line {
    inbox: RefCell<VecDeque<&'static [u8]>>,
    refuses: Cell<bool>,
    writes: Cell<u32>,
    now: Cell<Duration>,
}

impl Io for Script {
    fn now(&self) -> Time {
        Time::new(self.0.now.get())
    }

    fn poll_sleep(&mut self, until: Time, _: &mut Context<'_>) -> Poll<()> {
        if until <= self.now() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Source for Script {
    fn poll_read(&mut self, spare: &mut [u8], _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(piece) = self.0.inbox.borrow_mut().pop_front() else {
            crate::proto::tape::stream_blocked();
            return Poll::Pending;
        };
        spare[..piece.len()].copy_from_slice(piece);
        Poll::Ready(Ok(piece.len()))
    }
}

impl Output for Script {
    fn poll_write(&mut self, out: &[IoSlice<'_>], _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.0.writes.set(self.0.writes.get() + 1);
        match self.0.refuses.get() {
            true => Poll::Pending,
            false => Poll::Ready(Ok(out.iter().map(|slice| slice.len()).sum())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Halves {
    line: Rc<Line>,
    reader: Socket<Half<Script>, Script>,
    writer: Writer<Script>,
}

impl Halves {
    /// The halves of a server's connection, after a first read in vain.
    fn new(config: &Config) -> Self {
        let conn = Connection::server(config, Negotiated::default());
        let io = Script::default();
        let line = io.0.clone();
        let whole = Socket::new(Whole::new(conn, true), io);
        let split = |io: Script| Ok::<_, ()>((io.clone(), io, ()));
        let Ok((reader, writer)) = whole.into_halves(split) else { unreachable!() };
        let mut halves = Self { line, reader, writer };
        halves.reads(&[]);
        halves
    }

    /// Receives until there is nothing more. Returns the number of messages, and how often the
    /// reader has locked the sending side.
    fn reads(&mut self, pieces: &[&'static [u8]]) -> (u32, u32) {
        self.line.inbox.borrow_mut().extend(pieces);
        LOCKS.set(0);
        let mut messages = 0;
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(ready) = self.reader.poll_more(cx, Want::Message) {
            assert!(ready == Ready::Item);
            messages += 1;
        }
        (messages, LOCKS.get())
    }
}

#[test]
fn a_read_of_a_quiet_half_does_not_lock() {
    let mut halves = Halves::new(&Config::default());
    assert_eq!(halves.reads(&[]), (0, 0));
    assert_eq!(halves.reads(&[MESSAGE]), (1, 0));
    assert_eq!(halves.reads(&[MESSAGE; 200]), (200, 0)); // with looks at the clock
}

#[test]
fn a_half_that_owes_locks_to_queue_and_to_write() {
    let mut halves = Halves::new(&Config::default());
    assert_eq!(halves.reads(&[PING]), (0, 2));
    assert_eq!(halves.reads(&[PING, MESSAGE, MESSAGE]), (2, 2));
    assert_eq!(halves.reads(&[MESSAGE]), (1, 0)); // it owes nothing any more
    // While the stream refuses the Pong, each read tries again, each wait asks for the deadline.
    halves.line.refuses.set(true);
    let refused = halves.reads(&[PING]);
    let again = halves.reads(&[MESSAGE]);
    let wait = halves.reads(&[]);
    assert_eq!((refused, again, wait), ((0, 5), (1, 3), (0, 2)));
    halves.line.refuses.set(false);
    halves.reads(&[]);
    assert_eq!(halves.reads(&[MESSAGE]), (1, 0));
}

/// The reader has to learn of the deadlines of both sides before each wait, but not before each
/// read.
#[test]
fn a_deadline_costs_a_lock_before_each_wait() {
    let heartbeat = Some(Heartbeat { interval: SECOND, ..Heartbeat::TRADING });
    let mut halves = Halves::new(&Config { heartbeat, ..Config::default() });
    assert_eq!(halves.reads(&[]), (0, 2));
    assert_eq!(halves.reads(&[MESSAGE; 50]), (50, 1));
}

/// Also a long message, which is written before it is queued.
#[test]
fn a_writer_lets_the_reader_pass_before_each_write() {
    let mut halves = Halves::new(&Config::default());
    let cx = &mut Context::from_waker(Waker::noop());
    for len in [10, 1 << 16] {
        PASSES.set(0);
        halves.line.writes.set(0);
        for _ in 0..3 {
            let message = Message::Binary(&[7; 1 << 16][..len]);
            assert!(halves.writer.begin_send(cx, message.into()).is_ok());
            assert!(PASSES.get() >= halves.line.writes.get(), "{len}");
            assert!(halves.writer.poll_flush(cx, false).is_ready());
            assert!(PASSES.get() >= halves.line.writes.get(), "{len}");
        }
        assert_eq!(halves.line.writes.get(), 3);
    }
}
