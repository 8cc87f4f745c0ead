//! A device that echoes, on a serial line (a modem's, a radio's) and without an operating system:
//! fixed queues, a counter of milliseconds, and one function for the main loop.
//!
//! ```text
//! loop {
//!     device.run(&mut uart, now());
//!     sleep_until_interrupted_or(device.wakes_at());
//! }
//! ```
use alloc::vec::Vec;
use bytes::Buf;
use core::time::Duration;
use tickwire::{
    Config, Connection, Ending, Heartbeat, Step, Time,
    handshake::{Progress, server::{Accept, Handshake}},
};

/// What the interrupt handler fills or empties.
pub struct Queue {
    bytes: [u8; 64],
    from: usize,
    len: usize,
}

impl Queue {
    pub const fn new() -> Self {
        Self { bytes: [0; 64], from: 0, len: 0 }
    }

    /// Takes what it has room for, and says how much.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.bytes.len() - self.len);
        for &byte in &bytes[..n] {
            self.bytes[(self.from + self.len) % self.bytes.len()] = byte;
            self.len += 1;
        }
        n
    }

    /// Fills what it has bytes for, and says how much.
    pub fn pop(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.len);
        for byte in &mut to[..n] {
            *byte = self.bytes[self.from];
            self.from = (self.from + 1) % self.bytes.len();
            self.len -= 1;
        }
        n
    }
}

pub struct Uart {
    pub received: Queue,
    pub to_send: Queue,
}

pub struct Device {
    config: Config,
    stage: Stage,
}

#[allow(clippy::large_enum_variant)] // there is one
enum Stage {
    Opening(Handshake),
    Open(Connection),
    /// What is left to say to whom no connection was made with.
    Refused(Vec<u8>),
}

impl Device {
    /// Memory follows what arrives, up to these bounds: some 4 KiB in all.
    pub fn new() -> Self {
        let heartbeat = Heartbeat::new(Duration::from_secs(10), Duration::from_secs(5));
        let config = Config {
            read_buffer: 512,
            max_message: 1024,
            high_water: 1024,
            max_head: 1024,
            heartbeat: Some(heartbeat),
            ..Config::default()
        };
        Self { stage: Stage::Opening(Handshake::new(&config)), config }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Until when the processor may sleep, if nothing is received and nothing waits to be sent.
    pub fn wakes_at(&self) -> Option<Time> {
        match &self.stage {
            Stage::Opening(handshake) => handshake.reading.poll_timeout(),
            Stage::Open(conn) => conn.poll_timeout(),
            Stage::Refused(_) => None,
        }
    }

    /// Does what can be done now.
    pub fn run(&mut self, uart: &mut Uart, now: Time) {
        while self.advance(uart, now) {}
    }

    /// Does a piece of it. `false`: the line or the clock has to go on first.
    fn advance(&mut self, uart: &mut Uart, now: Time) -> bool {
        match &mut self.stage {
            Stage::Opening(handshake) => match handshake.step() {
                Ok(Progress::Complete) => self.accept(),
                Ok(Progress::Partial) => {
                    let n = uart.received.pop(handshake.reading.spare_mut());
                    handshake.reading.commit(n);
                    let due = handshake.reading.poll_timeout().is_some_and(|at| at <= now);
                    if n == 0 && due {
                        let _ = handshake.reading.handle_timeout(now); // `step` repeats it
                    }
                    return n > 0 || due;
                }
                Err(error) => self.stage = Stage::Refused(handshake.reject(error)),
            },
            Stage::Open(conn) => match serve(conn, uart, now) {
                After::More => {}
                After::Wait => return false,
                After::Over => self.restart(), // the line stays: the next one may call
            },
            Stage::Refused(text) => {
                text.drain(..uart.to_send.push(text));
                match text.is_empty() {
                    true => self.restart(),
                    false => return false,
                }
            }
        }
        true
    }

    fn accept(&mut self) {
        let fresh = Stage::Opening(Handshake::new(&self.config));
        if let Stage::Opening(handshake) = core::mem::replace(&mut self.stage, fresh)
            && let Ok(conn) = handshake.accept(Accept::default())
        {
            self.stage = Stage::Open(conn);
        }
    }

    fn restart(&mut self) {
        self.stage = Stage::Opening(Handshake::new(&self.config));
    }
}

enum After {
    More,
    Wait,
    Over,
}

/// Answers a message or a batch of them, writes what the queue takes, reads what it has.
fn serve(conn: &mut Connection, uart: &mut Uart, now: Time) -> After {
    // A line that is slower than its peer sets the pace: nothing is read without room to answer.
    let step = if conn.sender().has_room() { conn.step() } else { Ok(Step::NeedInput) };
    match step {
        Ok(Step::Message) => {
            let (rx, tx) = conn.split_mut();
            if let Some(message) = rx.message() {
                let _ = tx.feed(message); // there is room
            }
            return After::More;
        }
        Ok(Step::Ping | Step::Pong | Step::Close) => return After::More, // answered already
        _ => {}
    }
    let mut out = conn.sender_mut().outgoing();
    let n = uart.to_send.push(out.chunk());
    out.advance(n);
    if n > 0 {
        return After::More;
    }
    if conn.sender().has_outgoing() {
        conn.write_blocked();
    }
    conn.set_paused(!conn.sender().has_room());
    match step {
        Ok(Step::Closed) | Err(_) => match conn.ending() {
            Ending::Flush => {}
            Ending::Done => return After::Over,
            // A line has no end of stream to show, nor will one be seen.
            Ending::ShutDown | Ending::Discard => {
                conn.shut_down();
                conn.receiver_mut().end_of_stream();
                return After::More;
            }
        },
        _ if conn.sender().has_room() => {
            let n = uart.received.pop(conn.receiver_mut().spare_mut());
            conn.receiver_mut().commit(n);
            if n > 0 {
                return After::More;
            }
            conn.read_blocked();
        }
        _ => {}
    }
    match conn.poll_timeout() {
        Some(at) if at <= now => {
            let _ = conn.handle_timeout(now); // `step` repeats it
            After::More
        }
        _ => After::Wait,
    }
}
