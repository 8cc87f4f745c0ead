//! Tests of a thread that makes its next call long after a deadline, with a clock that each test
//! sets.
#![allow(clippy::unwrap_used)]
use super::{Interest, Stream, WebSocket};
use crate::{
    error::Error,
    proto::{
        config::{Config, Heartbeat},
        connection::Connection,
        error::RecvError,
    },
};
use std::{
    collections::VecDeque,
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
        IoSlice, Read, Write,
    },
    string::ToString,
    time::Duration,
    vec::Vec,
};

const SECOND: Duration = Duration::from_secs(1);
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";
const MESSAGE: &[u8] = b"\x82\x81\0\0\0\0x";

/// A stream that returns each piece in one read, never waits, and ends once it is shut down.
#[derive(Default)]
struct Script {
    inbox: VecDeque<&'static [u8]>,
    outbox: Vec<u8>,
    /// The number of pieces left at the last write, which writes our Close.
    left: usize,
    /// How many reads are ended by signals first.
    signals: usize,
    refuses: bool,
    /// Reads that might have blocked.
    blocking: usize,
    shut: bool,
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.blocking += 1;
        self.try_read(buf)
    }
}

impl Stream for Script {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.shut {
            return Ok(0);
        }
        if let Some(left) = self.signals.checked_sub(1) {
            self.signals = left;
            return Err(Interrupted.into());
        }
        let piece = self.inbox.pop_front().ok_or(WouldBlock)?;
        buf[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.refuses { Err(WouldBlock.into()) } else { self.write(&bufs[0]) }
    }
    fn shutdown(&mut self) -> io::Result<()> {
        self.shut = true;
        Ok(())
    }
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
    fn wait(&self, _: Interest, _: Option<Duration>) -> io::Result<()> {
        Err(WouldBlock.into())
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.left = self.inbox.len();
        self.outbox.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WebSocket<Script> {
    fn scripted(config: &Config) -> Self {
        Self::from_parts(Script::default(), Connection::server(config, Default::default()))
    }

    /// Advances the clock by `time`. Meanwhile the program does nothing.
    fn sleep(&mut self, time: Duration) {
        self.0.io.wait.epoch -= time;
    }

    /// Receives until the stream would block. Returns the number of messages received.
    fn receive(&mut self) -> Result<usize, RecvError> {
        for messages in 0.. {
            match self.recv() {
                Ok(message) => assert!(message.is_some()),
                Err(Error::WouldBlock) => return Ok(messages),
                Err(Error::Recv(error)) => return Err(error),
                Err(other) => assert_eq!(other.to_string(), "", "no other error"),
            }
        }
        Ok(0)
    }

    fn waits_for_a_pong(&mut self) {
        self.get_mut().outbox.clear();
        for _ in 0..10 {
            if self.get_mut().outbox.is_empty() {
                self.sleep(SECOND * 3);
                assert_eq!(self.receive(), Ok(0));
            }
        }
        assert!(!self.get_mut().outbox.is_empty(), "no Ping");
    }
}

/// Reads before the program's pause of a minute must not count as reads after this pause.
#[test]
fn a_stall_cuts_no_live_peer_however_many_reads_came_before() {
    let heartbeat = Some(Heartbeat::new(SECOND * 10, SECOND * 10));
    for reads in 0..if cfg!(miri) { 3 } else { 140 } {
        let mut ws = WebSocket::scripted(&Config { heartbeat, ..Config::default() });
        ws.get_mut().inbox.extend((0..reads).map(|_| MESSAGE));
        assert_eq!(ws.receive(), Ok(reads));
        ws.waits_for_a_pong();
        ws.get_mut().inbox.push_back(PONG);
        ws.sleep(SECOND * 60);
        assert_eq!(ws.receive(), Ok(0), "{reads} reads before");
        // A dead peer is still detected.
        ws.waits_for_a_pong();
        ws.sleep(SECOND * 60);
        assert_eq!(ws.receive(), Err(RecvError::PongTimeout), "{reads} reads before");
    }
}

#[test]
fn data_that_lay_unread_during_a_stall_counts_behind_any_number_of_pings() {
    let config = Config { data_timeout: Some(SECOND * 10), ..Config::default() };
    for pongs in [0, 1, 63, 64, 65, 200, 1000] {
        let mut ws = WebSocket::scripted(&config);
        assert_eq!(ws.receive(), Ok(0));
        ws.get_mut().inbox.extend((0..pongs).map(|_| PONG));
        ws.get_mut().inbox.push_back(MESSAGE);
        ws.sleep(SECOND * 60);
        assert_eq!(ws.receive(), Ok(1), "behind {pongs} Pongs");
        ws.sleep(SECOND * 11);
        assert_eq!(ws.receive(), Err(RecvError::DataTimeout));
    }
}

/// Such a read is repeated, and shows no silence: bytes may lie there.
#[test]
fn reads_that_signals_end_cut_no_live_peer() {
    let config = Config { data_timeout: Some(SECOND * 10), ..Config::default() };
    for signals in 0..5 {
        let mut ws = WebSocket::scripted(&config);
        assert_eq!(ws.receive(), Ok(0));
        ws.get_mut().inbox.push_back(MESSAGE);
        ws.get_mut().signals = signals;
        ws.sleep(SECOND * 60);
        assert_eq!(ws.receive(), Ok(1), "{signals} signals");
        ws.sleep(SECOND * 11);
        assert_eq!(ws.receive(), Err(RecvError::DataTimeout));
    }
}

/// With `data_timeout`, the clock is looked at after each read.
#[test]
fn a_stream_is_written_before_the_deadline_on_writing_is_judged() {
    let data_timeout = Some(SECOND * 3600);
    let config = Config { data_timeout, write_timeout: SECOND * 10, ..Config::default() };
    for calls in 1..5 {
        let mut ws = WebSocket::scripted(&config);
        ws.get_mut().refuses = true;
        let _ = ws.feed("data").unwrap();
        for _ in 0..calls {
            assert_eq!(ws.receive(), Ok(0));
        }
        ws.get_mut().refuses = false;
        ws.sleep(SECOND * 60);
        assert_eq!(ws.receive(), Ok(0), "{calls} calls before");
        assert!(ws.get_mut().outbox.ends_with(b"data"));
    }
}

/// Nobody would write them until it ends.
#[test]
fn no_read_may_block_while_bytes_are_refused() {
    let mut ws = WebSocket::scripted(&Config::default());
    assert_eq!(ws.receive(), Ok(0));
    assert_eq!(ws.get_mut().blocking, 1);
    ws.get_mut().refuses = true;
    let _ = ws.feed("data").unwrap();
    for _ in 0..3 {
        assert_eq!(ws.receive(), Ok(0));
    }
    assert_eq!(ws.get_mut().blocking, 1);
    ws.get_mut().refuses = false;
    assert_eq!(ws.receive(), Ok(0));
    assert!(ws.get_mut().outbox.ends_with(b"data"));
    assert_eq!(ws.get_mut().blocking, 2);
}

#[test]
fn a_flood_of_pongs_hides_a_dead_feed_for_1024_reads_at_most() {
    let config = Config { data_timeout: Some(SECOND * 10), ..Config::default() };
    let mut ws = WebSocket::scripted(&config);
    assert_eq!(ws.receive(), Ok(0));
    ws.sleep(SECOND * 11);
    ws.get_mut().inbox.extend((0..5000).map(|_| PONG));
    assert_eq!(ws.receive(), Err(RecvError::DataTimeout));
    let read = 5000 - ws.get_mut().left;
    assert!((1024..=1030).contains(&read), "{read}");
}

#[test]
fn a_frame_behind_a_deep_buffer_is_read_before_it_is_judged() {
    let config = Config { frame_timeout: SECOND * 10, ..Config::default() };
    let mut ws = WebSocket::scripted(&config);
    // A message of 60,000 bytes, in pieces of 100.
    ws.get_mut().inbox.push_back(b"\x82\xfe\xea\x60\0\0\0\0");
    assert_eq!(ws.receive(), Ok(0));
    ws.sleep(SECOND * 60);
    ws.get_mut().inbox.extend((0..600).map(|_| &[7; 100][..]));
    assert_eq!(ws.receive(), Ok(1));
}
