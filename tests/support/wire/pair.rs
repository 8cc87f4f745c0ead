//! Two connections joined by a byte link, on a virtual clock.
use super::{Seen, client, current, drain, server};
use bytes::Buf;
use std::{collections::VecDeque, time::Duration};
use tickwire::{Config, Connection, Ending, Next, Report, Role, Step, Time};

/// One end of a [`Pair`].
pub(crate) struct End {
    pub(crate) conn: Connection,
    /// What the other end wrote and this one has not read.
    pub(crate) inbox: VecDeque<u8>,
    /// Everything it saw, the end last.
    pub(crate) seen: Vec<Seen>,
    /// It shut the stream for writing, or dropped it.
    pub(crate) shut: bool,
    /// It dropped the stream.
    pub(crate) gone: bool,
    /// The stream takes no bytes.
    pub(crate) blocked: bool,
    /// It does not read.
    pub(crate) deaf: bool,
    /// Every `ending` it went through.
    pub(crate) endings: Vec<Ending>,
}

pub(crate) struct Pair {
    pub(crate) server: End,
    pub(crate) client: End,
    pub(crate) now: Duration,
    /// The most that one read gives.
    pub(crate) read: usize,
    /// Both ends do what `next` says; otherwise they are driven by the fine calls.
    pub(crate) asked: bool,
}

impl Pair {
    pub(crate) fn new(config: &Config) -> Self {
        Self::with(config, config)
    }

    pub(crate) fn with(server_config: &Config, client_config: &Config) -> Self {
        Self {
            server: End::new(server(server_config)),
            client: End::new(client(client_config)),
            now: Duration::ZERO,
            read: usize::MAX,
            asked: false,
        }
    }

    pub(crate) fn end(&mut self, role: Role) -> &mut End {
        if role == Role::Server { &mut self.server } else { &mut self.client }
    }

    /// Runs both ends until nothing moves.
    pub(crate) fn drive(&mut self) {
        let now = Time::new(self.now);
        loop {
            let (a, b, due);
            if self.asked {
                a = self.server.ask(&mut self.client, self.read, now);
                b = self.client.ask(&mut self.server, self.read, now);
                due = false;
            } else {
                a = self.server.run(&mut self.client, self.read);
                b = self.client.run(&mut self.server, self.read);
                due = self.tell();
            }
            if !a && !b && !due {
                return;
            }
        }
    }

    /// Tells the time to whom it is due.
    fn tell(&mut self) -> bool {
        let now = Time::new(self.now);
        let mut told = false;
        for end in [&mut self.server, &mut self.client] {
            if !end.gone && end.conn.poll_timeout().is_some_and(|at| at <= now) {
                let before = end.conn.poll_timeout();
                let _ = end.conn.handle_timeout(now); // `step` repeats it
                told |= end.conn.poll_timeout() != before;
            }
        }
        told
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub(crate) fn advance(&mut self, d: Duration) {
        let target = self.now + d;
        self.drive();
        loop {
            let ends = [&self.server, &self.client];
            let due = ends.into_iter().filter(|e| !e.gone).filter_map(|e| e.conn.poll_timeout());
            let next = due.map(|at| at - Time::ZERO).filter(|at| *at > self.now).min();
            match next {
                Some(at) if at <= target => self.now = at,
                _ => break,
            }
            self.drive();
        }
        self.now = target;
        self.drive();
    }
}

impl End {
    fn new(conn: Connection) -> Self {
        Self {
            conn,
            inbox: VecDeque::new(),
            seen: Vec::new(),
            shut: false,
            gone: false,
            blocked: false,
            deaf: false,
            endings: Vec::new(),
        }
    }

    fn saw(&mut self, event: Seen) {
        if self.seen.last() != Some(&event) || !matches!(event, Seen::Closed | Seen::Failed(_)) {
            self.seen.push(event);
        }
    }

    /// Reads at most `most` bytes; whether something changed.
    fn read(&mut self, other: &End, most: usize) -> bool {
        if self.deaf {
            return false;
        }
        if self.inbox.is_empty() {
            return other.shut && {
                self.conn.receiver_mut().end_of_stream();
                true
            };
        }
        let spare = self.conn.receiver_mut().spare_mut();
        let n = spare.len().min(self.inbox.len()).min(most);
        self.inbox.copy_to_slice(&mut spare[..n]);
        self.conn.receiver_mut().commit(n);
        true
    }

    fn write(&mut self, other: &mut End) -> bool {
        if !self.conn.sender().has_outgoing() {
            return false;
        }
        if self.blocked {
            self.conn.report(Report::WriteBlocked);
            return false;
        }
        let bytes = drain(&mut self.conn);
        if !other.gone {
            other.inbox.extend(bytes);
        }
        true
    }

    /// Does what `next` says until it waits; whether something changed.
    fn ask(&mut self, other: &mut End, most: usize, now: Time) -> bool {
        let mut moved = false;
        while !self.gone {
            match self.conn.next(now) {
                Next::Event(event, _) => {
                    let event = event.into();
                    self.saw(event);
                }
                Next::Write(_) => {
                    if !self.write(other) {
                        continue;
                    }
                }
                Next::Read(_) => {
                    if !self.read(other, most) {
                        self.conn.report(Report::ReadBlocked);
                        continue;
                    }
                }
                Next::ShutDown => {
                    self.endings.push(Ending::ShutDown);
                    self.conn.report(Report::ShutDown);
                    self.shut = true;
                }
                Next::Wait(_) => return moved,
                Next::Over(why) => {
                    self.saw(why.map_or(Seen::Closed, Seen::Failed));
                    (self.shut, self.gone) = (true, true);
                    self.inbox.clear();
                }
            }
            moved = true;
        }
        moved
    }

    fn run(&mut self, other: &mut End, most: usize) -> bool {
        let mut moved = false;
        let mut told_eof = false;
        while !self.gone {
            let step = self.conn.step();
            if !matches!(step, Ok(Step::Message | Step::Ping | Step::Pong | Step::Close)) {
                moved |= self.write(other);
            }
            match step {
                Ok(Step::Message | Step::Ping | Step::Pong | Step::Close) => {
                    let event = current(&mut self.conn);
                    self.saw(event);
                    moved = true;
                    continue;
                }
                Ok(Step::NeedInput) => {
                    let eof = self.inbox.is_empty() && other.shut;
                    if (eof && told_eof) || !self.read(other, most) {
                        self.conn.report(Report::ReadBlocked);
                        return moved;
                    }
                    told_eof |= eof;
                    moved = true;
                    continue;
                }
                Ok(Step::Closed) => self.saw(Seen::Closed),
                Err(error) => self.saw(Seen::Failed(error)),
            }
            let ending = self.conn.ending();
            if self.endings.last() != Some(&ending) {
                self.endings.push(ending);
                moved = true;
            }
            match ending {
                Ending::Flush => return moved,
                Ending::ShutDown => {
                    self.conn.report(Report::ShutDown);
                    self.shut = true;
                }
                Ending::Discard => {
                    if !self.read(other, most) {
                        return moved;
                    }
                    moved = true;
                }
                Ending::Done => {
                    if step == Ok(Step::Closed) && !self.conn.sender().is_closed() {
                        return moved; // the answer is the test's to give
                    }
                    (self.shut, self.gone) = (true, true);
                    self.inbox.clear();
                    moved = true;
                }
            }
        }
        moved
    }
}
