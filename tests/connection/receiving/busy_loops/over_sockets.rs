//! Readers whose data is never whole, or whose replies have no room, sleep: over sockets of this
//! machine, with the looks at the stream counted.
use super::cliffhangers;
use crate::{
    harness::{ADAPTERS, Adapter, Door, End, Foe, SMALL, duel, patient},
    support::wire::{BINARY, ROLES, connection, product},
};
use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use tickwire::{Config, RecvError, Role, blocking};

/// A patience of the victim's that the test waits for.
const SOON: Duration = Duration::from_millis(400);

/// A stream that counts how often it is looked at.
struct Watched {
    io: TcpStream,
    looks: Arc<AtomicUsize>,
}

impl Watched {
    fn look(&self) -> &TcpStream {
        self.looks.fetch_add(1, Relaxed);
        &self.io
    }
}

impl Read for Watched {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.look().read(to)
    }
}

impl Write for Watched {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.look().write(from)
    }
    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.look().write_vectored(from)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl blocking::Stream for Watched {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_read_timeout(timeout)
    }
    fn try_read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.looks.fetch_add(1, Relaxed);
        self.io.try_read(to)
    }
    fn try_write(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.looks.fetch_add(1, Relaxed);
        self.io.try_write(from)
    }
    fn wait(&self, interest: blocking::Interest, timeout: Option<Duration>) -> io::Result<()> {
        self.io.wait(interest, timeout)
    }
}

/// An echo to the end: how it ended, and how often the busiest of its calls looked at the stream,
/// or was polled.
fn looked(door: Door, role: Role, config: &Config) -> (End, usize) {
    let (mut most, conn) = (0, connection(role, config));
    match door.adapter {
        Adapter::Blocking => {
            let looks = Arc::new(AtomicUsize::new(0));
            let io = Watched { io: door.io, looks: looks.clone() };
            let mut ws = blocking::WebSocket::from_parts(io, conn);
            let end = loop {
                let received = ws.recv_to_reply();
                most = most.max(looks.swap(0, Relaxed));
                match received {
                    Ok(Some(received)) => drop(received.sender.feed(received.message)),
                    ended => break End::of(ended.map(|_| ())),
                }
            };
            (end, most)
        }
        #[cfg(feature = "tokio")]
        Adapter::Tokio => {
            let (io, runtime) = door.into_tokio();
            runtime.block_on(async {
                let mut ws = tickwire::tokio::WebSocket::from_parts(io, conn);
                let end = loop {
                    let mut polls = 0;
                    let mut receiving = ws.recv_to_reply();
                    let received = std::future::poll_fn(|cx| {
                        polls += 1;
                        std::pin::Pin::new(&mut receiving).poll(cx)
                    });
                    let received = received.await;
                    most = most.max(polls);
                    match received {
                        Ok(Some(received)) => drop(received.sender.feed(received.message)),
                        ended => break End::of(ended.map(|_| ())),
                    }
                };
                (end, most)
            })
        }
    }
}

// A77
#[test]
fn a_reader_whose_data_is_never_whole_sleeps() {
    // All at once: each takes the victim's patience.
    thread::scope(|scope| {
        for role in ROLES {
            for (wire, &adapter) in product(cliffhangers(role), ADAPTERS) {
                let wire = wire.clone();
                scope.spawn(move || hangs(adapter, role, &wire));
            }
        }
    });
}

fn hangs(adapter: Adapter, role: Role, wire: &[u8]) {
    const PIECES: usize = 20;
    let config = Config { frame_timeout: SOON, ..patient() };
    let victim = move |door| looked(door, role, &config);
    let ((end, most), (), heap) = duel(adapter, victim, |mut foe| {
        for piece in wire.chunks(wire.len().div_ceil(PIECES)) {
            let _ = foe.write_all(piece); // the time may be over before the last
        }
        // And no more. The victim hangs up by itself.
        let _ = foe.read_to_end(&mut Vec::new());
    });
    let what = format!("{adapter:?} {role:?} {:.60}", wire.escape_ascii());
    assert_eq!(end, End::Failed(RecvError::FrameTimeout), "{what}");
    // One for each piece, one for each answer, and for the time that passes.
    assert!(most <= 2 * PIECES + 20, "{what}: {most}");
    heap.under(what, SMALL);
}

// A77
#[test]
fn a_reader_that_has_no_room_for_replies_sleeps() {
    thread::scope(|scope| {
        for (role, &adapter) in product(ROLES, ADAPTERS) {
            scope.spawn(move || gorges(adapter, role));
        }
    });
}

fn gorges(adapter: Adapter, role: Role) {
    let high_water = 64 << 10;
    let config = Config { high_water, write_timeout: SOON, ..patient() };
    let victim = move |door| looked(door, role, &config);
    let ((end, most), (), heap) = duel(adapter, victim, |foe| {
        // Asks without end, and reads no answer.
        let mut foe = Foe::new(role, foe);
        let burst = foe.frame(BINARY, [1; 1024]).repeat(16);
        foe.flood(&burst, usize::MAX);
    });
    let what = format!("{adapter:?} {role:?}");
    assert_eq!(end, End::Failed(RecvError::WriteTimeout), "{what}");
    assert!(most <= 100, "{what}: {most}");
    heap.under(what, 2 * (high_water + (64 << 10)) + SMALL); // and the cork
}
