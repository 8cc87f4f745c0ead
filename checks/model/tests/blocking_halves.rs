//! The halves of a WebSocket in two threads, and the peer: all interleavings.
//!
//! checks/model/README.md says what each case is about.
mod support;

use loom::thread;
use std::{
    io::{self, IoSlice, Read, Write},
    sync::{Arc, Mutex},
    time::Duration,
};
use support::*;
use tickwire::{
    CloseCode, Config, Connection, Error, Negotiated, SendError,
    blocking::{Interest, Reader, Stream, WebSocket, Writer},
};

struct Socket {
    wire: Arc<Wire>,
    /// The ticks that this handle has seen; `None`: it sees none.
    ticks: Mutex<Option<usize>>,
}

impl Socket {
    fn wait_for(&self, read: bool, write: bool) {
        self.wire.wait_for(read, write, &mut self.ticks.lock().unwrap());
    }
}

/// A read that waits ends with a tick, as a socket's with its timeout.
impl Read for Socket {
    fn read(&mut self, spare: &mut [u8]) -> io::Result<usize> {
        self.wait_for(true, false);
        self.try_read(spare)
    }
}

impl Write for Socket {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        unreachable!("a write does not wait")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn done(io: Io) -> io::Result<usize> {
    match io {
        Io::Done(n) => Ok(n),
        Io::Blocked => Err(io::ErrorKind::WouldBlock.into()),
        Io::Broken => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

impl Stream for Socket {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn try_read(&mut self, spare: &mut [u8]) -> io::Result<usize> {
        done(self.wire.read(spare, None))
    }

    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        done(self.wire.write(&bytes[0], None))
    }

    fn wait(&self, interest: Interest, _: Option<Duration>) -> io::Result<()> {
        self.wait_for(interest.read, interest.write);
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        let ticks = Mutex::new(*self.ticks.lock().unwrap());
        Ok(Self { wire: self.wire.clone(), ticks })
    }
}

fn halves(wire: &Arc<Wire>, ticks: bool) -> (Reader<Socket>, Writer<Socket>) {
    let conn = Connection::server(&Config::default(), Negotiated::default());
    let socket = Socket { wire: wire.clone(), ticks: Mutex::new(ticks.then_some(0)) };
    WebSocket::from_parts(socket, conn).into_split().unwrap()
}

/// Receives to the peer's Close; how many messages came before.
fn receive(mut reader: Reader<Socket>) -> usize {
    let mut messages = 0;
    while reader.recv().unwrap().is_some() {
        messages += 1;
    }
    assert!(reader.closed().unwrap().clean);
    messages
}

#[test]
fn the_deadlock_of_a_reader_that_waits_for_the_writer() {
    let rest = frame(BINARY, b"xy");
    check_a_pong_and_a_message("the deadlock", rest, [8, 6], b"abcdef", |wire| {
        let (reader, mut writer) = halves(wire, false);
        (
            thread::spawn(move || receive(reader)),
            thread::spawn(move || writer.send(b"abcdef").unwrap()),
        )
    });
}

/// No tick comes and nobody wakes it: a reader whose Pong the stream refuses waits for room too.
#[test]
fn the_overlooked_pong() {
    check_a_pong_and_a_message("the overlooked Pong", Vec::new(), [20, 4], b"ab", |wire| {
        let (reader, mut writer) = halves(wire, false);
        (thread::spawn(move || receive(reader)), thread::spawn(move || writer.send(b"ab").unwrap()))
    });
}

/// A writer that waits for room looks with each tick whether the connection is over.
#[test]
fn a_close_from_both_ends_while_part_of_a_frame_is_written() {
    check_closes_within_a_frame(true, |wire| {
        let (reader, mut writer) = halves(wire, true);
        let sending = move || {
            let fed = writer.feed(b"abcdef").is_ok();
            closed(writer.flush());
            closed(writer.close(CloseCode::NORMAL));
            fed
        };
        (thread::spawn(move || receive(reader)), thread::spawn(sending))
    });
}

fn closed(result: Result<(), Error>) {
    assert!(matches!(result, Ok(()) | Err(Error::Send(SendError::Closed))), "{result:?}");
}

#[test]
fn a_stream_that_breaks_ends_both_halves_which_are_dropped() {
    check_both_are_dropped(|wire| {
        let (mut reader, mut writer) = halves(wire, false);
        [
            thread::spawn(move || while let Ok(Some(_)) = reader.recv() {}),
            thread::spawn(move || drop(writer.send(b"abcdef"))),
        ]
    });
}

/// Receiving fails while the writer is in the middle of a write, which the stream takes all the
/// same.
#[test]
fn what_a_write_under_way_took_is_not_reported_as_dropped() {
    check_what_left_is_written(20, |wire| {
        let (mut reader, mut writer) = halves(wire, false);
        let sending = move || {
            let fed = [b"ab".as_slice(), b"x"].map(|payload| writer.feed(payload));
            let _ = writer.flush();
            move || (fed.map(|at| at.ok().map(|at| writer.is_written(at))), writer.dropped())
        };
        let receiving = move || assert!(reader.recv().is_err());
        (thread::spawn(receiving), thread::spawn(sending))
    });
}
