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
    Config, Connection, Event, Heartbeat, Next, Time,
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
                true => return false,
                false => self.restart(), // the line stays: the next one may call
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

/// Does all that can be done now: writes what the queue takes, answers messages, reads what the
/// queue has. `false`: the connection is over.
fn serve(conn: &mut Connection, uart: &mut Uart, now: Time) -> bool {
    loop {
        // A line that is slower than its peer sets the pace: no read without room to answer.
        conn.set_paused(!conn.sender().has_room());
        match conn.next(now) {
            Next::Event(Event::Message(message), tx) => drop(tx.feed(message)), // there is room
            Next::Event(..) => {} // answered already
            Next::Write(mut out) => match uart.to_send.push(out.chunk()) {
                0 => conn.write_blocked(),
                n => out.advance(n),
            },
            Next::Read(rx) => match uart.received.pop(rx.spare_mut()) {
                0 => conn.read_blocked(),
                n => rx.commit(n),
            },
            // A line has no end of stream to show, nor will one be seen.
            Next::ShutDown => {
                conn.shut_down();
                conn.receiver_mut().end_of_stream();
            }
            Next::Wait(_) => return true,
            Next::Over(_) => return false,
        }
    }
}
