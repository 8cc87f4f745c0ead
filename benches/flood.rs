//! How long an 8-byte message takes to the reader of a split connection while its writer, in
//! another thread, floods the stream with messages of 1 MiB; and how fast the flood is. Both halves
//! lock what they share: a lock that is not handed over shows here first.
//!
//! `cargo bench -p benches --bench flood [-- ROUNDS]`. The messages are shared `Bytes`, written
//! from where they lie, or borrowed, which are copied; with and without a heartbeat; the settings
//! in turns. The peer is two plain threads: one drains, one sends a message each millisecond, with
//! the time in it.
use bytes::Bytes;
use std::{
    error::Error,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Connection, Heartbeat, Negotiated,
    blocking::{Reader, WebSocket, Writer},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How long each setting runs in a round.
const TURN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);
const LARGE: usize = 1 << 20;

/// A client's frame of 8 bytes, with a masking key of zeros.
fn frame(payload: [u8; 8]) -> [u8; 14] {
    let mut frame = [0; 14];
    frame[..2].copy_from_slice(&[0x82, 0x88]);
    frame[6..].copy_from_slice(&payload);
    frame
}

struct Run {
    latencies: Vec<Duration>,
    bytes: u64,
    took: Duration,
}

fn receive(mut reader: Reader<TcpStream>, began: Instant) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Some(message) = reader.recv()? {
        let sent = Duration::from_nanos(u64::from_le_bytes(message.as_bytes().try_into()?));
        latencies.push(began.elapsed() - sent);
    }
    Ok(latencies)
}

fn flood(mut writer: Writer<TcpStream>, shared: bool, over: &AtomicBool) -> Result<()> {
    let message = Bytes::from(vec![0; LARGE]);
    while !over.load(Relaxed) {
        match shared {
            true => writer.send(message.clone())?,
            false => writer.send(&message[..])?,
        }
    }
    writer.close(None)?;
    Ok(())
}

fn run(config: &Config, shared: bool) -> Result<Run> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut peer = TcpStream::connect(listener.local_addr()?)?;
    peer.set_nodelay(true)?;
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let conn = Connection::server(config, Negotiated::default());
    let (reader, writer) = WebSocket::from_parts(stream, conn).into_split()?;
    let (began, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let receiving = thread::spawn(move || receive(reader, began));
    let told = over.clone();
    let flooding = thread::spawn(move || flood(writer, shared, &told));
    let mut from = peer.try_clone()?;
    let draining = thread::spawn(move || -> Result<(u64, Duration)> {
        let (mut buf, mut bytes) = (vec![0; 1 << 18], 0);
        loop {
            match from.read(&mut buf)? {
                0 => return Ok((bytes, began.elapsed())),
                n => bytes += n as u64,
            }
        }
    });
    while began.elapsed() < TURN {
        thread::sleep(PAUSE);
        peer.write_all(&frame((began.elapsed().as_nanos() as u64).to_le_bytes()))?;
    }
    over.store(true, Relaxed);
    flooding.join().map_err(|_| "the writer panicked")??;
    peer.write_all(&[0x88, 0x80, 0, 0, 0, 0])?; // a Close
    let latencies = receiving.join().map_err(|_| "the reader panicked")??;
    drop(peer);
    let (bytes, took) = draining.join().map_err(|_| "the drain panicked")??;
    Ok(Run { latencies, bytes, took })
}

fn main() -> Result<()> {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(3);
    let beat = Heartbeat::new(Duration::from_secs(20), Duration::from_secs(10));
    let plain = Config::default();
    let beating = Config { heartbeat: Some(beat), ..Config::default() };
    println!("  messages, heartbeat:     p50       p90       p99 us     GB/s");
    for _ in 0..rounds {
        for shared in [true, false] {
            for (config, beats) in [(&plain, "no"), (&beating, "yes")] {
                let Run { mut latencies, bytes, took } = run(config, shared)?;
                latencies.sort();
                let at = |share: usize| -> f64 {
                    let at = latencies.get(latencies.len() * share / 100);
                    at.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
                };
                println!(
                    "{:>10}, {beats:>8}: {:>8.0}  {:>8.0}  {:>8.0}     {:>6.2}",
                    if shared { "shared" } else { "borrowed" },
                    at(50),
                    at(90),
                    at(99),
                    bytes as f64 / took.as_secs_f64() / 1e9,
                );
            }
        }
    }
    Ok(())
}
