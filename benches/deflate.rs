//! permessage-deflate beside the deflate library alone, set the same: JSON of 1 KiB, sent and
//! received, with and without context takeover. Both are run in turns, many times, and the medians
//! compared, as in `rows`.
//!
//! `cargo bench -p benches --features deflate --bench deflate [-- FILTER [ROUNDS]]`
//!
//! The library alone compresses from a message into a buffer, and inflates from a payload that
//! lies there and then from the four bytes that are not sent; it has no frames, masks, limits,
//! UTF-8, and shares nothing. Ours begins and ends at the wire: its copy from the stream, which a
//! read is in all other benches too, is part of it.
#![allow(clippy::expect_used, clippy::panic)] // it stops the bench
mod floor;

use bytes::Buf;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use floor::Rng;
use std::{fmt::Write, hint::black_box, time::Instant};
use tickwire::{
    Config, Connection, Negotiated, Role, Step,
    deflate::{Deflate, DeflateParams, Direction},
};

/// How long one turn takes, about.
const TURN: f64 = 1.5e6;
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Runs both for many rounds, and prints their medians and the median of the ratios.
fn row(name: &str, mut base: impl FnMut(usize), mut ours: impl FnMut(usize)) {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if args.first().is_some_and(|filter| !name.contains(filter.as_str())) {
        return;
    }
    let rounds = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(201_usize);
    fn time(work: &mut dyn FnMut(usize), n: usize) -> f64 {
        let begin = Instant::now();
        work(n);
        begin.elapsed().as_nanos() as f64 / n as f64
    }
    let mut n = 64;
    while time(&mut base, n) * (n as f64) < TURN {
        n *= 2;
    }
    time(&mut ours, n);
    let (mut alone, mut core, mut ratio) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = time(&mut base, n);
            (a, time(&mut ours, n))
        } else {
            let b = time(&mut ours, n);
            (time(&mut base, n), b)
        };
        alone.push(a);
        core.push(b);
        ratio.push(b / a);
    }
    let [alone, core, ratio] = [alone, core, ratio].map(|mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    });
    println!("{name:<44} {alone:>9.0} {core:>9.0} {ratio:>6.3}");
}

/// Snapshots of an order book, 1 KiB each.
fn messages() -> Vec<String> {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut one = |n: usize| {
        let mut text = format!(r#"{{"type":"book","symbol":"EURUSD","seq":{n},"bids":["#);
        while text.len() < 1022 {
            let (price, size) = (rng.next() % 5000, rng.next() % 900);
            let _ = write!(text, r#"{{"price":1.0{price:04},"size":{size}0000}},"#);
        }
        text.truncate(1022);
        text + "]}"
    };
    (0..256).map(&mut one).collect()
}

fn compressor(level: u32) -> Compress {
    Compress::new_with_window_bits(Compression::new(level), false, 15)
}

/// Every message as it is sent, without what goes last.
fn payloads(level: u32, takeover: bool) -> Vec<Vec<u8>> {
    let mut raw = compressor(level);
    let one = |message: String| {
        let mut out = vec![0; 4096];
        let before = raw.total_out();
        raw.compress(message.as_bytes(), &mut out, FlushCompress::Sync).expect("compresses");
        out.truncate((raw.total_out() - before) as usize - TAIL.len());
        if !takeover {
            raw.reset();
        }
        out
    };
    messages().into_iter().map(one).collect()
}

fn connection(role: Role, level: u32, takeover: bool) -> Connection {
    let config = Config {
        deflate: Some(Deflate { level: level as u8, ..Deflate::default() }),
        ..Config::default()
    };
    let both = Direction { takeover, ..Direction::default() };
    let negotiated = Negotiated::from(DeflateParams { server: both, client: both });
    match role {
        Role::Server => Connection::server(&config, negotiated),
        Role::Client => Connection::client(&config, negotiated, Rng(7)),
    }
}

fn sending(role: Role, level: u32, takeover: bool) {
    let all = messages();
    let mut raw = compressor(level);
    let mut out = vec![0; 16 << 10];
    let mut each = all.iter().cycle();
    let base = |n| {
        for message in each.by_ref().take(n) {
            let message = black_box(message.as_bytes());
            let done = raw.compress(message, &mut out, FlushCompress::Sync);
            assert!(done.is_ok() && black_box(&out)[0] != 0);
            if !takeover {
                raw.reset();
            }
        }
    };
    let mut conn = connection(role, level, takeover);
    let mut each = all.iter().cycle();
    row(&name("send", role, level, takeover), base, |n| {
        for (i, message) in each.by_ref().take(n).enumerate() {
            assert!(conn.sender_mut().feed(black_box(message)).is_ok());
            if i % 16 == 15 {
                let mut out = conn.sender_mut().outgoing();
                let n = black_box(out.chunk()).len();
                out.advance(n);
            }
        }
    });
}

/// Messages on the wire, read as often as wanted, at most 16 KiB at a time.
struct Stream {
    wire: Vec<u8>,
    at: usize,
}

impl Stream {
    fn new(payloads: &[Vec<u8>], masked: bool) -> Self {
        let mut wire = Vec::new();
        let (bit, key) =
            if masked { (0x80, &[0x37, 0xfa, 0x21, 0x3d][..]) } else { (0, &[0; 0][..]) };
        for payload in payloads {
            wire.push(0xc1);
            match payload.len() {
                n @ 0..=125 => wire.push(bit | n as u8),
                n => {
                    wire.push(bit | 126);
                    wire.extend((n as u16).to_be_bytes());
                }
            }
            wire.extend(key);
            let mut mask = key.iter().chain(key.is_empty().then_some(&0)).cycle();
            wire.extend(payload.iter().map(|b| b ^ mask.next().unwrap_or(&0)));
        }
        Self { wire, at: 0 }
    }

    fn read(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.wire.len() - self.at);
        to[..n].copy_from_slice(&self.wire[self.at..self.at + n]);
        self.at = (self.at + n) % self.wire.len();
        n
    }
}

fn receiving(role: Role, level: u32, takeover: bool) {
    let all = payloads(level, takeover);
    let mut raw = Decompress::new(false);
    let mut out = vec![0; 16 << 10];
    let mut each = all.iter().cycle();
    let base = |n| {
        for payload in each.by_ref().take(n) {
            if !takeover {
                raw.reset(false);
            }
            let before = raw.total_out();
            let done = raw.decompress(black_box(payload), &mut out, FlushDecompress::None);
            assert!(done.is_ok());
            let made = (raw.total_out() - before) as usize;
            let done = raw.decompress(&TAIL, &mut out[made..], FlushDecompress::None);
            assert!(done.is_ok() && black_box(&out[..made]).len() == 1024);
        }
    };
    let mut conn = connection(role, level, takeover);
    let mut from = Stream::new(&all, role == Role::Server);
    row(&name("receive", role, level, takeover), base, |n| {
        let mut left = n;
        while left > 0 {
            match conn.step() {
                Ok(Step::Message) => {
                    let message = conn.receiver().message().expect("a message");
                    assert!(black_box(message).as_bytes().len() == 1024);
                    left -= 1;
                }
                Ok(Step::NeedInput) => {
                    let n = from.read(conn.receiver_mut().spare_mut());
                    conn.receiver_mut().commit(n);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

fn name(what: &str, role: Role, level: u32, takeover: bool) -> String {
    let takeover = if takeover { "takeover" } else { "alone" };
    format!("{what}, {role:?}, level {level}, {takeover}").to_lowercase()
}

fn main() {
    for level in [1, 2, 6] {
        for takeover in [false, true] {
            let total: usize = payloads(level, takeover).iter().map(Vec::len).sum();
            let takeover = if takeover { "takeover" } else { "alone" };
            println!("level {level}, {takeover}: 1024 bytes become {}", total / 256);
        }
    }
    println!("{:<44} {:>9} {:>9} {:>6}", "", "alone ns", "core ns", "ratio");
    for level in [1, 2, 6] {
        for takeover in [false, true] {
            for role in [Role::Server, Role::Client] {
                sending(role, level, takeover);
                receiving(role, level, takeover);
            }
        }
    }
}
