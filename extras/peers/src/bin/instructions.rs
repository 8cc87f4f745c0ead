//! In memory, one thread: instructions for each message, counted by callgrind, by peer. For a
//! machine that is busy: the counts do not depend on its load. They say nothing of what waits for
//! memory or for other instructions, and valgrind hides AVX-512 from who would use it
//! (tokio-websockets).
//!
//! The program runs itself under valgrind, twice for each count, the second time with more
//! messages: the difference is theirs alone.

use std::hint::black_box;

use tickwire_peers::callgrind::callgrind;
use tickwire_peers::mem::{Mem, Reads, now, try_now};
use tickwire_peers::peers::{self, Can, Conn, Peer, Visit};
use tickwire_peers::table::Table;
use tickwire_peers::wire::{Body, Size, Wire, messages};
use tickwire_peers::{net, wanted};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    ServerRecv,
    ClientRecv,
    ServerSend,
    ClientSend,
    Handshake,
    /// With permessage-deflate, each message by itself.
    Inflate,
    Deflate,
}
use Kind::*;

struct Case {
    name: &'static str,
    kind: Kind,
    len: usize,
    body: Body,
    one_a_read: bool,
}

impl Case {
    const fn new(name: &'static str, kind: Kind, len: usize, body: Body) -> Self {
        Self { name, kind, len, body, one_a_read: false }
    }

    const fn one_a_read(self) -> Self {
        Self { one_a_read: true, ..self }
    }
}

const CASES: [Case; 15] = [
    Case::new("receive masked 64 B", ServerRecv, 64, Body::Binary),
    Case::new("receive masked 1 KiB", ServerRecv, 1024, Body::Binary),
    Case::new("receive unmasked 64 B", ClientRecv, 64, Body::Binary),
    Case::new("one a read, server", ServerRecv, 64, Body::Binary).one_a_read(),
    Case::new("one a read, client", ClientRecv, 64, Body::Binary).one_a_read(),
    Case::new("send 64 B", ServerSend, 64, Body::Binary),
    Case::new("send 1 KiB", ServerSend, 1024, Body::Binary),
    Case::new("client sends 64 B", ClientSend, 64, Body::Binary),
    Case::new("text 1 KiB", ServerRecv, 1024, Body::Ascii),
    Case::new("client text 200 B", ClientRecv, 200, Body::Ascii),
    Case::new("client text 1400 B", ClientRecv, 1400, Body::Ascii),
    Case::new("client mixed 1400 B", ClientRecv, 1400, Body::Mixed),
    Case::new("server handshake", Handshake, 64, Body::Binary),
    Case::new("inflate 1 KiB", Inflate, 1024, Body::Json),
    Case::new("deflate 1 KiB", Deflate, 1024, Body::Json),
];

impl Case {
    fn is_for(&self, can: Can) -> bool {
        can.codec
            && match self.kind {
                ServerRecv | ServerSend => can.server,
                ClientRecv | ClientSend => true,
                Handshake => can.handshake,
                Inflate | Deflate => can.deflate,
            }
    }

    /// Whether this build is for it: see the feature in `Cargo.toml`.
    fn is_of_this_build(&self) -> bool {
        matches!(self.kind, Inflate | Deflate) == cfg!(feature = "deflate")
    }

    /// How many messages warm up, and how many are counted.
    fn counts(&self) -> (usize, usize) {
        match self.kind {
            Handshake | Inflate | Deflate => (512, 1024),
            _ => (2 * 4096, 4 * 4096),
        }
    }
}

/// What is counted: so many messages.
struct Work<'c> {
    case: &'c Case,
    count: usize,
}

impl Visit for Work<'_> {
    type Out = ();
    fn visit<P: Peer>(&mut self) {
        let Case { kind, len, body, .. } = *self.case;
        let messages = messages(Size::Fixed(len), body);
        let opcode = if body == Body::Binary { 2 } else { 1 };
        let wire = match kind {
            Handshake => Wire { bytes: net::request("/"), ends: vec![] },
            Inflate => Wire::deflated(&messages, true),
            _ => Wire::new(&messages, opcode, kind == ServerRecv),
        };
        let wire = std::sync::Arc::new(wire);
        let reads = if self.case.one_a_read { Reads::Message } else { Reads::Chunk(64 * 1024) };
        let io = || Mem::new(wire.clone(), reads);
        match kind {
            ServerRecv => self.receive(now(P::server(io()))),
            ClientRecv => self.receive(now(P::client(io()))),
            Inflate => self.receive(now(P::server_deflate(io(), false))),
            ServerSend => self.send(now(P::server(io())), &messages),
            ClientSend => self.send(now(P::client(io())), &messages),
            Deflate => self.send(now(P::server_deflate(io(), false)), &messages),
            Handshake => {
                for _ in 0..self.count {
                    assert!(try_now(P::handshake(Mem::small(wire.clone()))) == Some(true));
                }
            }
        }
    }
}

impl Work<'_> {
    fn receive<C: Conn>(&self, mut conn: C) {
        now(async {
            for _ in 0..self.count {
                let mut seen = 0;
                assert!(conn.recv(|got| seen = black_box(got).len()).await && seen > 0);
            }
        });
    }

    /// As many messages a write as make 16 KiB.
    fn send<C: Conn>(&self, mut conn: C, messages: &[Vec<u8>]) {
        let batch = 1 << (16 * 1024 / self.case.len).clamp(1, 64).ilog2();
        now(async {
            for (i, message) in messages.iter().cycle().take(self.count).enumerate() {
                assert!(conn.feed(black_box(message)).await);
                if i % batch == batch - 1 {
                    assert!(conn.flush().await);
                }
            }
        });
    }
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    // tickwire's handshake arms a timer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let _entered = runtime.enter();
    if let [_, work, case, peer, count] = &args[..]
        && work == "work"
    {
        let case = CASES.iter().find(|c| c.name == case).expect("its name was listed");
        let count = count.parse().expect("a number");
        return peers::with(peer, &mut Work { case, count });
    }
    let mut table = Table::new("Instructions a message (× floor)");
    for case in CASES.iter().filter(|case| case.is_of_this_build() && wanted(case.name)) {
        for peer in peers::names(|can| case.is_for(can)) {
            let (warm, more) = case.counts();
            let run = |count: usize| callgrind(&[], &["work", case.name, peer, &count.to_string()]);
            let (Some(less), Some(all)) = (run(warm), run(warm + more)) else {
                eprintln!("{peer} refuses {}", case.name);
                continue;
            };
            table.add(peer, case.name, (all - less) / more as f64);
        }
        eprintln!("{}", case.name);
    }
    table.print("floor");
}
