//! One end of a connection, driven by `Connection::next` alone over a scripted stream.
use super::Seen;
use bytes::Buf;
use std::{collections::VecDeque, time::Duration};
use tickwire::{Connection, Next, RecvError, Report, Time, Wait};

pub(crate) struct Asked {
    pub(crate) conn: Connection,
    /// What the peer has written, cut as the reads of it are: an empty piece is the end.
    pub(crate) inbox: VecDeque<Vec<u8>>,
    /// What the stream took.
    pub(crate) outbox: Vec<u8>,
    /// How many bytes it takes before it would block, and how many with one write.
    pub(crate) room: usize,
    pub(crate) at_once: usize,
    pub(crate) now: Duration,
    /// Every event, the end last.
    pub(crate) seen: Vec<Seen>,
    /// It was shut for writing.
    pub(crate) shut: bool,
    pub(crate) over: Option<Option<RecvError>>,
    /// How often it was read and written, blocked or not.
    pub(crate) reads: usize,
    pub(crate) writes: usize,
}

impl Asked {
    pub(crate) fn new(conn: Connection) -> Self {
        Self {
            conn,
            inbox: VecDeque::new(),
            outbox: Vec::new(),
            room: usize::MAX,
            at_once: usize::MAX,
            now: Duration::ZERO,
            seen: Vec::new(),
            shut: false,
            over: None,
            reads: 0,
            writes: 0,
        }
    }

    /// Does what it says until it waits; `None`: it is over. A wait for input that is due at once
    /// is over at once.
    pub(crate) fn run(&mut self) -> Option<Wait> {
        for _ in 0..1_000_000 {
            match self.turn() {
                Some(Some(Wait { readable: true, until: Some(at), .. }))
                    if at <= Time::new(self.now) => {}
                Some(wait) => return wait,
                None => {}
            }
        }
        panic!("it asks for more and more: {:?}", self.conn);
    }

    /// Does one thing. `Some`: there is nothing to do.
    pub(crate) fn turn(&mut self) -> Option<Option<Wait>> {
        match self.conn.next(Time::new(self.now)) {
            Next::Event(event, _) => self.seen.push(event.into()),
            Next::Write(mut out) => {
                assert!(out.has_remaining(), "there is something to write");
                self.writes += 1;
                let n = out.chunk().len().min(self.room).min(self.at_once);
                if n == 0 {
                    self.conn.report(Report::WriteBlocked);
                } else {
                    self.outbox.extend(&out.chunk()[..n]);
                    self.room -= n;
                    out.advance(n);
                }
            }
            Next::Read(rx) => {
                self.reads += 1;
                match self.inbox.front_mut() {
                    None => self.conn.report(Report::ReadBlocked),
                    Some(piece) if piece.is_empty() => rx.end_of_stream(),
                    Some(piece) => {
                        let spare = rx.spare_mut();
                        let n = spare.len().min(piece.len());
                        spare[..n].copy_from_slice(&piece[..n]);
                        rx.commit(n);
                        piece.drain(..n);
                        if piece.is_empty() {
                            self.inbox.pop_front();
                        }
                    }
                }
            }
            Next::ShutDown => {
                assert!(!self.shut, "once");
                self.shut = true;
                self.conn.report(Report::ShutDown);
            }
            Next::Wait(wait) => return Some(Some(wait)),
            Next::Over(why) => {
                if self.over.is_none() {
                    self.seen.push(why.map_or(Seen::Closed, Seen::Failed));
                }
                assert!(self.over.is_none_or(|before| before == why), "it is over for one reason");
                self.over = Some(why);
                return Some(None);
            }
        }
        None
    }
}
