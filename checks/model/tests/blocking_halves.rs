//! The halves of a WebSocket in two threads, and the peer: all interleavings.
//!
//! Each case was seen to fail with the defect that it is about; checks/model/README.md has the list.
mod support;

use loom::thread;
use std::{
    cell::Cell,
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};
use support::*;
use tickwire::{
    CloseCode, Config, Connection, Error, Negotiated, SendError,
    blocking::{Reader, Stream, WebSocket, Writer},
};

loom::thread_local! {
    /// This thread's writes wait for room: the writer keeps the pen through its ticks, which for the
    /// others is the same. The reader's end with the first tick.
    static WAITS: Cell<bool> = Cell::new(false);
}

struct Socket {
    wire: Arc<Wire>,
    /// The ticks that reads have seen; `None`: they see none.
    ticks: Option<usize>,
}

impl Read for Socket {
    fn read(&mut self, spare: &mut [u8]) -> io::Result<usize> {
        done(self.wire.input.read_or_tick(spare, &mut self.ticks))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let output = &self.wire.output;
        let waits = WAITS.with(Cell::get);
        done(if waits { output.write(bytes) } else { output.try_write(bytes) })
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

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { wire: self.wire.clone(), ticks: self.ticks })
    }
}

fn halves(wire: &Arc<Wire>, ticks: bool) -> (Reader<Socket>, Writer<Socket>) {
    let conn = Connection::server(&Config::default(), Negotiated::default());
    let socket = Socket { wire: wire.clone(), ticks: ticks.then_some(0) };
    WebSocket::from_parts(socket, conn).into_split().unwrap()
}

/// Receives to the peer's Close; how many messages came before.
fn receive(mut reader: Reader<Socket>) -> usize {
    let (mut messages, mut seen) = (0, 0);
    loop {
        match reader.recv() {
            Ok(Some(_)) => messages += 1,
            Ok(None) => break,
            // The clock stands still: two ticks in no time look like a stream that never waits.
            Err(Error::WouldBlock) => reader.get_ref().wire.input.wait_for_tick(&mut seen),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(reader.closed().unwrap().clean);
    messages
}

fn writes<T>(mut writer: Writer<Socket>, f: impl FnOnce(&mut Writer<Socket>) -> T) -> T {
    WAITS.with(|waits| waits.set(true));
    f(&mut writer)
}

#[test]
fn the_deadlock_of_a_reader_that_waits_for_the_writer() {
    check_for_the_deadlock(true, |wire| {
        let (reader, writer) = halves(wire, true);
        (
            thread::spawn(move || receive(reader)),
            thread::spawn(move || writes(writer, |writer| writer.send(b"abcdef")).unwrap()),
        )
    });
}

/// The reader, which found the pen taken, sees no tick and nobody wakes it: the writer has to see its
/// Pong before it gives the pen back.
#[test]
fn the_overlooked_pong() {
    check("the overlooked Pong", 3, || {
        let wire = Wire::new(&frame(PING, b"?"), 20, 20);
        let (reader, writer) = halves(&wire, false);
        let receiving = thread::spawn(move || assert_eq!(receive(reader), 0));
        let sending = thread::spawn(move || writes(writer, |writer| writer.send(b"ab")).unwrap());
        let mut frames = Frames::default();
        wire.take_until(&mut frames, &[PONG, BINARY], false);
        sending.join().unwrap();
        wire.close(&mut frames, false);
        receiving.join().unwrap();
        frames.assert_are(&[(PONG, b"?"), (BINARY, b"ab"), (CLOSE, NORMAL)]);
    });
}

/// A reader that waits for the pen, too, is told when it is free.
#[test]
fn a_close_from_both_ends_while_part_of_a_frame_is_written() {
    check_closes_within_a_frame(true, |wire| {
        let (reader, writer) = halves(wire, true);
        let sending = move |writer: &mut Writer<Socket>| {
            let before = writer.sender().fed();
            closed(writer.send(b"abcdef"));
            let fed = writer.sender().fed() != before;
            closed(writer.close(CloseCode::NORMAL));
            fed
        };
        (thread::spawn(move || receive(reader)), thread::spawn(move || writes(writer, sending)))
    });
}

fn closed(result: Result<(), Error>) {
    assert!(matches!(result, Ok(()) | Err(Error::Send(SendError::Closed))), "{result:?}");
}

#[test]
fn a_stream_that_breaks_ends_both_halves_which_are_dropped() {
    check_both_are_dropped(|wire| {
        let (mut reader, writer) = halves(wire, false);
        [
            thread::spawn(move || while let Ok(Some(_)) = reader.recv() {}),
            thread::spawn(move || drop(writes(writer, |writer| writer.send(b"abcdef")))),
        ]
    });
}

/// Receiving fails while the writer is in the middle of a write, which the stream takes all the same.
#[test]
fn what_a_write_under_way_took_is_not_reported_as_dropped() {
    check_what_left_is_written(20, |wire| {
        let (mut reader, writer) = halves(wire, false);
        let sending = move || {
            writes(writer, |writer| {
                let fed = [b"ab".as_slice(), b"x"].map(|payload| writer.feed(payload));
                let _ = writer.flush();
                let tx = writer.sender();
                let said = (fed.map(|at| at.ok().map(|at| tx.is_written(at))), tx.dropped());
                move || said
            })
        };
        let receiving = move || assert!(reader.recv().is_err());
        (thread::spawn(receiving), thread::spawn(sending))
    });
}
