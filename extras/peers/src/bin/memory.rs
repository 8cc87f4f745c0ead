//! In memory, one thread: ns, allocations, reads and writes for each message, by peer and size.
//! Rows 1 to 11 of the table of all rows.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tickwire::mask::Masker;
use tickwire_peers::mem::{self, Mem, Reads, calls, now, record, try_now};
use tickwire_peers::peers::{self, Conn, Peer, Share, Visit};
use tickwire_peers::proc::{CLIENT_CORE, pin, thread_time};
use tickwire_peers::table::{CORE, Goal, TOKIO, Table};
use tickwire_peers::wire::{Body, Size, Wire, decode, deflate, inflate, messages};
use tickwire_peers::{alloc, net, option, wanted, xor};

#[global_allocator]
static ALLOC: alloc::Counting = alloc::Counting;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    ServerRecv,
    ClientRecv,
    ServerSend,
    /// The payload is already in the form the crate likes best.
    ServerSendShared,
    ClientSend,
    /// Bursts received and sent back, then a wait: row 12 without its system calls.
    Echo,
    /// Receive and send with permessage-deflate, each message on its own or on those before.
    Inflate,
    Deflate,
    DeflateTakeover,
    Handshake,
}
use Kind::*;

impl Kind {
    /// What nobody can do without, where that is more than a copy.
    fn zlib(self) -> bool {
        matches!(self, Inflate | Deflate | DeflateTakeover)
    }
}

/// Messages in a burst.
const BURST: usize = 16;

/// One kind of work on one kind of messages.
struct Case {
    kind: Kind,
    messages: Vec<Vec<u8>>,
    wire: Arc<Wire>,
    reads: Reads,
    /// Messages before each flush.
    batch: usize,
}

impl Case {
    fn new(kind: Kind, size: Size, body: Body) -> Self {
        let messages = messages(size, body);
        let opcode = if body == Body::Binary { 2 } else { 1 };
        let wire = match kind {
            Handshake => Wire { bytes: net::request("/"), ends: vec![] },
            Inflate => Wire::deflated(&messages, true),
            kind => Wire::new(&messages, opcode, matches!(kind, ServerRecv | Echo)),
        };
        let batch = 1 << (16 * 1024 / messages[0].len()).clamp(1, 64).ilog2();
        let reads = if kind == Echo { Reads::Burst(BURST) } else { Reads::Chunk(64 * 1024) };
        Case { kind, messages, wire: wire.into(), reads, batch }
    }

    fn one_message_a_read(mut self) -> Self {
        self.reads = Reads::Message;
        self
    }
}

/// Time, allocations, and reads and writes for a message.
struct Cost {
    ns: f64,
    allocs: f64,
    calls: f64,
}

struct Run<'a> {
    case: &'a Case,
    time: Duration,
    check: bool,
}

impl Visit for Run<'_> {
    /// Nothing where the peer refuses such messages.
    type Out = Option<Cost>;
    fn visit<P: Peer>(&mut self) -> Option<Cost> {
        let Case { kind, wire, reads, .. } = self.case;
        let io = || Mem::new(wire.clone(), *reads);
        match kind {
            ServerRecv => self.recv(now(P::server(io()))),
            ClientRecv => self.recv(now(P::client(io()))),
            ServerSend => self.send(now(P::server(io()))),
            ServerSendShared => self.send_shared(now(P::server(io()))),
            ClientSend => self.send(now(P::client(io()))),
            Echo => self.echo(now(P::server(io()))),
            Inflate => self.recv(now(P::server_deflate(io(), false))),
            Deflate => self.send(now(P::server_deflate(io(), false))),
            DeflateTakeover => self.send(now(P::server_deflate(io(), true))),
            Handshake => {
                let shake = || try_now(P::handshake(Mem::small(wire.clone())));
                assert!(shake() == Some(true), "{} does not shake hands", P::NAME);
                Some(self.repeat(1, async || {
                    shake();
                }))
            }
        }
    }
}

async fn send<C: Conn>(conn: &mut C, messages: &[Vec<u8>]) {
    for message in messages {
        assert!(conn.feed(black_box(message)).await);
    }
    assert!(conn.flush().await);
}

impl Run<'_> {
    fn recv<C: Conn>(&self, mut conn: C) -> Option<Cost> {
        // The whole wire, so that what grows with where reads cut it has grown.
        for message in &self.case.messages {
            if !now(conn.recv(|got| assert!(!self.check || got == message))) {
                return None;
            }
        }
        Some(self.repeat(16, async || {
            for _ in 0..16 {
                let mut seen = 0;
                conn.recv(|got| seen = black_box(got).len()).await;
                assert!(seen > 0);
            }
        }))
    }

    fn echo<C: Conn>(&self, mut conn: C) -> Option<Cost> {
        let mut serve = pin!(async { while conn.echo_batch().await {} });
        let mut cx = Context::from_waker(Waker::noop());
        let mut burst = || {
            mem::burst();
            serve.as_mut().poll(&mut cx).is_pending()
        };
        if self.check {
            let bytes = record(|| assert!(burst())).1;
            let frames = decode(&bytes).expect("whole frames");
            let sent = self.case.messages.iter().take(BURST);
            assert!(frames.iter().map(|f| &f.payload).eq(sent));
        }
        Some(self.repeat(BURST, async || assert!(burst())))
    }

    fn send<C: Conn>(&self, mut conn: C) -> Option<Cost> {
        let Case { messages, batch, .. } = self.case;
        if self.check {
            self.check_sent(&record(|| now(send(&mut conn, messages))).1);
        }
        let mut at = messages.chunks(*batch).cycle();
        Some(self.repeat(*batch, async || send(&mut conn, at.next().unwrap_or_default()).await))
    }

    fn check_sent(&self, bytes: &[u8]) {
        let Case { kind, messages, .. } = self.case;
        let frames = decode(bytes).expect("whole frames");
        assert!(frames.len() == messages.len());
        let mut history = flate2::Decompress::new(false);
        for (frame, message) in frames.iter().zip(messages) {
            assert!(frame.first & !0x40 == 0x82 && frame.masked == (*kind == ClientSend));
            if *kind == Deflate {
                history.reset(false);
            }
            match frame.first & 0x40 {
                0 => assert!(frame.payload == *message),
                _ => assert!(inflate(&mut history, &frame.payload) == *message),
            }
        }
    }

    fn send_shared<C: Conn>(&self, mut conn: C) -> Option<Cost> {
        let Case { messages, batch, .. } = self.case;
        let shared: Vec<C::Shared> = messages.iter().map(|m| Share::share(m)).collect();
        let mut at = shared.chunks(*batch).cycle();
        Some(self.repeat(*batch, async || {
            for message in at.next().unwrap_or_default() {
                assert!(conn.feed_shared(black_box(message)).await);
            }
            assert!(conn.flush().await);
        }))
    }

    /// Repeats `work`, which does `n` messages, for `time` after a tenth of it to warm up.
    fn repeat(&self, n: usize, mut work: impl AsyncFnMut()) -> Cost {
        now(async {
            let begin = thread_time();
            let mut laps = 0;
            while laps < 2 || thread_time() - begin < self.time / 10 {
                work().await;
                laps += 1;
            }
            let laps = laps * 10;
            let (a, (r, w), begin) = (alloc::counts().0, calls(), thread_time());
            for _ in 0..laps {
                work().await;
            }
            let count = (laps * n) as f64;
            let ns = (thread_time() - begin).as_nanos() as f64 / count;
            let ((r1, w1), a1) = (calls(), alloc::counts().0);
            Cost { ns, allocs: (a1 - a) as f64 / count, calls: (r1 + w1 - r - w) as f64 / count }
        })
    }

    /// The least that must be done to each payload, in ns: moved once, or packed, or unpacked.
    fn least(&self) -> f64 {
        let Case { kind, messages, .. } = self.case;
        match kind {
            Deflate | DeflateTakeover => self.deflate_alone(*kind == Deflate),
            Inflate => self.inflate_alone(),
            _ => {
                let mut to = vec![0; 1 << 20];
                let mut at = messages.iter().cycle();
                let copy = async || {
                    for from in at.by_ref().take(16) {
                        let from = black_box(from);
                        to[..from.len()].copy_from_slice(from);
                        black_box(&mut to);
                    }
                };
                self.repeat(16, copy).ns
            }
        }
    }

    fn deflate_alone(&self, alone: bool) -> f64 {
        let mut z = flate2::Compress::new(flate2::Compression::fast(), false);
        let mut out = Vec::with_capacity(1 << 20);
        let mut at = self.case.messages.iter().cycle();
        let pack = async || {
            let message = at.next().expect("they repeat");
            out.clear();
            if alone {
                z.reset();
            }
            z.compress_vec(message, &mut out, flate2::FlushCompress::Sync).expect("it packs");
        };
        self.repeat(1, pack).ns
    }

    fn inflate_alone(&self) -> f64 {
        let packed: Vec<_> = self.case.messages.iter().map(|m| deflate(m)).collect();
        let mut z = flate2::Decompress::new(false);
        let mut out = Vec::with_capacity(1 << 20);
        let mut at = packed.iter().cycle();
        let unpack = async || {
            let message = at.next().expect("they repeat");
            out.clear();
            z.reset(false);
            z.decompress_vec(message, &mut out, flate2::FlushDecompress::Sync).expect("it unpacks");
        };
        self.repeat(1, unpack).ns
    }
}

/// What one kind of work came to.
struct Tables {
    ns: Table,
    allocs: Table,
}

fn compare(title: &str, kind: Kind, cases: Vec<(String, Case)>, rounds: usize) -> Tables {
    // sockudo-ws inflates ahead what one read has brought. A turn of 4 ms, some 2000 messages,
    // would count too little of that: it begins with inflated messages.
    let ms = if kind == Inflate { 40 } else { 4 };
    let time = Duration::from_millis(option("ms", ms));
    let mut names = peers::names(|c| match kind {
        Handshake => c.handshake,
        Inflate | Deflate => c.deflate,
        DeflateTakeover => c.deflate && c.takeover,
        Echo => c.codec && c.batch,
        ClientRecv | ClientSend => c.codec,
        ServerRecv | ServerSend | ServerSendShared => c.codec && c.server,
    });
    names.retain(|n| *n != "raw" && !n.contains("heartbeat"));
    let (least, base) =
        if kind.zlib() { ("zlib alone", "zlib alone") } else { ("memcpy", "floor") };
    let mut ns = Table::new(&format!("{title}: ns per message (× {base})"));
    let mut allocs = Table::new(&format!("{title}: allocations per message"));
    let mut calls = Table::new(&format!("{title}: reads and writes per message"));
    for (label, case) in &cases {
        let mut names = names.clone();
        for round in 0..rounds {
            if kind != Handshake {
                ns.add(least, label, Run { case, time, check: false }.least());
            }
            names.retain(|name| {
                let mut run = Run { case, time, check: round == 0 };
                let Some(cost) = peers::with(name, &mut run) else {
                    eprintln!("{name} refuses {label}");
                    return false;
                };
                ns.add(name, label, cost.ns);
                allocs.add(name, label, cost.allocs);
                calls.add(name, label, cost.calls);
                true
            });
            if !names.is_empty() {
                names.rotate_left(1);
            }
        }
        eprintln!("{title}: {label}");
    }
    ns.print(base);
    allocs.print("");
    calls.print("");
    Tables { ns, allocs }
}

/// Row 9, and what the other ways of unmasking reach.
fn unmask(rounds: usize) {
    let mut table = Table::new("Unmasking in place, without target flags: ns (× a copy)");
    let key = [1, 2, 3, 4];
    for _ in 0..rounds {
        for size in [16, 61, 64, 250, 1024, 16384, 1 << 20] {
            let (mut data, mut to) = (vec![1; size + 6], vec![0; size + 6]);
            let laps = (4 << 20) / (size + 64);
            let mut time = |name: &str, work: &mut dyn FnMut(&mut [u8])| {
                let begin = thread_time();
                (0..laps).for_each(|_| work(black_box(&mut data[6..])));
                let ns = (thread_time() - begin).as_nanos() as f64 / laps as f64;
                table.add(name, &Size::Fixed(size).label(), ns);
            };
            time("copy", &mut |data| black_box(&mut to[6..]).copy_from_slice(data));
            time("byte loop", &mut |data| {
                for (i, byte) in data.iter_mut().enumerate() {
                    *byte ^= black_box(key)[i & 3];
                }
            });
            time("floor", &mut |data| xor(data, black_box(key)));
            time(CORE, &mut |data| Masker::new(black_box(key)).apply(data));
        }
    }
    table.print("copy");
    table.summarize("9 unmask 1 KiB, to a copy", "1 KiB", "copy", CORE, Goal::ByMedian(1.0 / 0.9));
}

/// What the parts of an interface cost, 64 B payloads.
fn pieces(rounds: usize) {
    use bytes::{Bytes, BytesMut};
    let mut table = Table::new("Ways to hand out a 64 B payload: ns");
    const LAPS: usize = 16 * 1024;
    let payload = [7u8; 64];
    for _ in 0..rounds {
        let mut time = |name: &str, work: &mut dyn FnMut(&[u8])| {
            (0..1000).for_each(|_| work(black_box(&payload)));
            let begin = thread_time();
            (0..LAPS).for_each(|_| work(black_box(&payload)));
            table.add(name, "64 B", (thread_time() - begin).as_nanos() as f64 / LAPS as f64);
        };
        time("lend a slice", &mut |p| {
            black_box(p);
        });
        let mut shared = BytesMut::zeroed(64 * (LAPS + 1000));
        time("BytesMut::split_to, freeze, drop", &mut |p| {
            black_box(shared.split_to(p.len()).freeze());
        });
        let kept = Bytes::from(payload.to_vec());
        let _other = kept.clone();
        time("Bytes::clone, drop", &mut |_| {
            black_box(kept.clone());
        });
        time("Bytes::copy_from_slice, drop", &mut |p| {
            black_box(Bytes::copy_from_slice(p));
        });
        time("to_vec, drop", &mut |p| {
            black_box(p.to_vec());
        });
        let mut out = Vec::with_capacity(4096);
        time("copy behind others in a Vec with room", &mut |p| {
            if out.len() == 4096 {
                out.clear();
            }
            out.extend_from_slice(p);
        });
    }
    table.print("");
}

/// For `--only`, a title, the kind of work, its cases by column.
type Part = (&'static str, &'static str, Kind, Vec<(String, Case)>);

fn plan() -> Vec<Part> {
    let sizes = [16, 64, 256, 1024, 16384, 1 << 20].map(Size::Fixed);
    let binary = |kind| {
        let case = |size: Size| (size.label(), Case::new(kind, size, Body::Binary));
        sizes.into_iter().chain([Size::Ticks]).map(case).collect::<Vec<_>>()
    };
    let single = |kind| {
        let cases = binary(kind).into_iter();
        cases.map(|(label, case)| (label, case.one_message_a_read())).collect::<Vec<_>>()
    };
    let echo = [64, 1000].map(Size::Fixed);
    let echo = echo.map(|size| (size.label(), Case::new(Echo, size, Body::Binary))).into();
    let text = |body| Case::new(ServerRecv, Size::Fixed(1024), body);
    let texts = vec![("ASCII".into(), text(Body::Ascii)), ("mixed".into(), text(Body::Mixed))];
    let client_text = |n: usize, body| Case::new(ClientRecv, Size::Fixed(n), body);
    let client_texts = vec![
        ("200 B ASCII".into(), client_text(200, Body::Ascii)),
        ("1400 B ASCII".into(), client_text(1400, Body::Ascii)),
        ("200 B mixed".into(), client_text(200, Body::Mixed)),
        ("1400 B mixed".into(), client_text(1400, Body::Mixed)),
    ];
    let json = |kind| vec![("1 KiB JSON".into(), Case::new(kind, Size::Fixed(1024), Body::Json))];
    let shake = vec![("one".into(), Case::new(Handshake, Size::Fixed(16), Body::Binary))];
    vec![
        ("recv", "Server receives masked binary", ServerRecv, binary(ServerRecv)),
        ("client-recv", "Client receives unmasked binary", ClientRecv, binary(ClientRecv)),
        ("one", "Server receives, one message a read", ServerRecv, single(ServerRecv)),
        ("client-one", "Client receives, one message a read", ClientRecv, single(ClientRecv)),
        ("send", "Server sends borrowed bytes", ServerSend, binary(ServerSend)),
        (
            "send-shared",
            "Server sends a shared payload",
            ServerSendShared,
            binary(ServerSendShared),
        ),
        ("client-send", "Client sends masked", ClientSend, binary(ClientSend)),
        ("echo", "Server echoes bursts of 16", Echo, echo),
        ("text", "Server receives text, 1 KiB", ServerRecv, texts),
        ("client-text", "Client receives text", ClientRecv, client_texts),
        ("inflate", "Server receives deflated text, no takeover", Inflate, json(Inflate)),
        ("deflate", "Server sends deflated, no takeover", Deflate, json(Deflate)),
        ("takeover", "Server sends deflated, takeover", DeflateTakeover, json(DeflateTakeover)),
        ("handshake", "Server handshake", Handshake, shake),
    ]
}

/// Part of `plan`, its column, the row's name, the goal as a multiple of the floor.
const ROWS: [(&str, &str, &str, f64); 16] = [
    ("recv", "64 B", "1 receive masked 64 B", 1.15),
    ("recv", "1 KiB", "2 receive masked 1 KiB", 1.1),
    ("recv", "16 KiB", "2 receive masked 16 KiB", 1.05),
    ("client-recv", "64 B", "3 receive unmasked 64 B", 1.3),
    ("one", "64 B", "4 one message a read 64 B, server", 1.05),
    ("client-one", "64 B", "4 one message a read 64 B, client", 1.05),
    ("send", "64 B", "5 send 64 B borrowed", 0.75),
    ("send", "1 KiB", "6 send 1 KiB borrowed", 1.1),
    ("send-shared", "16 KiB", "6 send 16 KiB shared", 1.05),
    ("send-shared", "1 MiB", "6 send 1 MiB shared", 1.05),
    ("client-send", "64 B", "7 send 64 B as client", 0.8),
    ("text", "ASCII", "8 receive text 1 KiB, ASCII", 1.15),
    ("text", "mixed", "8 receive text 1 KiB, mixed", 1.1),
    ("client-text", "200 B ASCII", "8 client receives text 200 B", 1.2),
    ("client-text", "1400 B ASCII", "8 client receives text 1400 B", 1.15),
    ("handshake", "one", "11 server handshake", 1.2),
];

fn main() {
    pin(CLIENT_CORE);
    // tickwire's handshake arms a timer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let _entered = runtime.enter();
    let rounds = option("rounds", 21);
    for (part, title, kind, cases) in plan() {
        if !wanted(part) || kind.zlib() != cfg!(feature = "deflate") {
            continue;
        }
        let tables = compare(title, kind, cases, rounds);
        for (_, column, row, goal) in ROWS.iter().filter(|row| row.0 == part) {
            tables.ns.summarize(row, column, "floor", CORE, Goal::ByMedian(*goal));
        }
        if !kind.zlib() {
            let (row, goal) = if kind == Handshake { (11, 1.0) } else { (10, 0.0) };
            tables.allocs.summarize_values(&format!("{row} allocations: {title}"), TOKIO, goal);
        }
    }
    if wanted("unmask") && !cfg!(feature = "deflate") {
        unmask(rounds);
        pieces(rounds);
    }
}
