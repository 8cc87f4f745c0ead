//! Who is compared in memory, and in what.

use std::hint::black_box;

use super::bare::{Bare, Base};
use super::memory::Far;
use crate::mem::{self, Mem, now};
use crate::peers::{Conn, Peer, Visit, nexus, tickwire as ours, tls};
use crate::table::{BLOCKING, CORE, TOKIO};
use crate::wire::{Body, Size, Wire, decode, messages};
use crate::{chosen, wanted};

/// tickwire without TLS.
pub const PLAIN: &str = "tickwire ws";
/// tickwire with a configuration that keeps its keys.
pub const RUSTLS: &str = "tickwire through rustls";
pub const PROTOTYPE: &str = "prototype";
const BASE: &str = "base";

pub fn names() -> Vec<&'static str> {
    let ours = [PROTOTYPE, BASE, PLAIN, CORE, TOKIO, BLOCKING, RUSTLS];
    let ourselves = |name: &&str| ["raw", TOKIO].contains(name);
    chosen(ours.into_iter().chain(tls::NAMES.iter().copied().filter(|name| !ourselves(name))))
}

/// Something to do with a client; without the other end where there is no TLS.
pub trait Work {
    type Out;
    fn work<C: Conn>(&mut self, conn: C, far: Option<Far>) -> Self::Out;
}

pub fn with<W: Work>(name: &str, work: &mut W) -> W::Out {
    let mut far = Far::default();
    match name {
        PLAIN => work.work(now(ours::Tokio::client(Mem::filled())), None),
        PROTOTYPE => {
            let io = Bare::new(Mem::filled(), far.keys());
            work.work(now(ours::Tokio::client(io)), Some(far))
        }
        BASE => work.work(Base::new(far.keys()), Some(far)),
        CORE => {
            let conn = far.session();
            work.work(conn, Some(far))
        }
        TOKIO | RUSTLS => {
            let io = far.tickwire(name == TOKIO);
            work.work(now(ours::Tokio::client(io)), Some(far))
        }
        BLOCKING => {
            let conn = ours::client();
            let conn = tickwire::blocking::WebSocket::from_parts(far.blocking(), conn);
            work.work(conn, Some(far))
        }
        nexus::Nexus::NAME => {
            let io = far.nexus();
            work.work(now(nexus::Nexus::client(io)), Some(far))
        }
        name => tls::with(name, &mut Others(work)),
    }
}

/// The peers, over tokio-rustls.
struct Others<'w, W>(&'w mut W);

impl<W: Work> Visit for Others<'_, W> {
    type Out = W::Out;
    fn visit<P: Peer>(&mut self) -> W::Out {
        let mut far = Far::default();
        let io = far.tokio_rustls();
        self.0.work(now(P::client(io)), Some(far))
    }
}

/// One kind of messages, one way, so many of them a record.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub sends: bool,
    size: usize,
    body: Body,
    pub batch: usize,
}

impl Case {
    const fn new(name: &'static str, sends: bool, size: usize, body: Body, batch: usize) -> Self {
        Self { name, sends, size, body, batch }
    }

    /// By its name, or all of one way as `receive` or `send`.
    pub fn is_wanted(&self) -> bool {
        wanted(self.name) || wanted(if self.sends { "send" } else { "receive" })
    }
}

/// Text is sent as binary: a crate that is given a `str` has nothing to check.
pub const CASES: [Case; 10] = [
    Case::new("receive 64 B 1 a record", false, 64, Body::Binary, 1),
    Case::new("receive 64 B 16 a record", false, 64, Body::Binary, 16),
    Case::new("receive 200 B text 1 a record", false, 200, Body::Ascii, 1),
    Case::new("receive 1 KiB 1 a record", false, 1024, Body::Binary, 1),
    Case::new("receive 1 KiB 8 a record", false, 1024, Body::Binary, 8),
    Case::new("send 64 B 1 a record", true, 64, Body::Binary, 1),
    Case::new("send 64 B 16 a record", true, 64, Body::Binary, 16),
    Case::new("send 200 B 1 a record", true, 200, Body::Ascii, 1),
    Case::new("send 1 KiB 1 a record", true, 1024, Body::Binary, 1),
    Case::new("send 1 KiB 8 a record", true, 1024, Body::Binary, 8),
];

/// The messages of a case, all of which are a lap.
pub struct Load {
    pub case: Case,
    pub messages: Vec<Vec<u8>>,
    wire: Wire,
}

impl Load {
    pub fn new(case: Case) -> Self {
        let messages = messages(Size::Fixed(case.size), case.body);
        let opcode = if case.body == Body::Binary { 2 } else { 1 };
        let wire = Wire::new(&messages, opcode, false);
        Self { case, messages, wire }
    }

    /// Has the client read a lap next.
    pub fn fill(&self, far: Option<&mut Far>) {
        let Some(far) = far else {
            return mem::fill(self.wire.bytes.clone());
        };
        let (mut from, mut wire) = (0, Vec::with_capacity(2 * self.wire.bytes.len()));
        for ends in self.wire.ends.chunks(self.case.batch) {
            let to = ends[ends.len() - 1];
            far.seal(&self.wire.bytes[from..to], &mut wire);
            from = to;
        }
        mem::fill(wire);
    }

    /// Does a lap and looks at every byte.
    pub fn check<C: Conn>(&self, conn: &mut C, mut far: Option<&mut Far>) {
        if !self.case.sends {
            self.fill(far.as_deref_mut());
        }
        let look = |i: usize, got: &[u8]| assert!(got == self.messages[i]);
        let ((), wire) = mem::record(|| now(self.lap(conn, look)));
        if !self.case.sends {
            return assert!(wire.is_empty());
        }
        let plain = far.map_or(wire.clone(), |far| far.open(&wire));
        let frames = decode(&plain).expect("whole frames");
        assert!(frames.iter().all(|frame| frame.first == 0x82 && frame.masked));
        assert!(frames.iter().map(|frame| &frame.payload).eq(&self.messages));
    }

    /// Receives or sends a lap.
    pub async fn lap<C: Conn>(&self, conn: &mut C, mut see: impl FnMut(usize, &[u8])) {
        if self.case.sends {
            for batch in self.messages.chunks(self.case.batch) {
                for message in batch {
                    assert!(conn.feed(black_box(message)).await);
                }
                assert!(conn.flush().await);
            }
        } else {
            for i in 0..self.messages.len() {
                assert!(conn.recv(|got| see(i, got)).await);
            }
        }
    }
}
