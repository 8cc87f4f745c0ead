//! Over the loopback: how long a message and its echo take, in percentiles, one in flight. A raw
//! TCP echo of the same bytes stands beside it, so that what the system takes can be told apart.
//!
//! The client is the same for all: it spins on a non-blocking socket, so that only the server's
//! waking is measured.
//!
//! `cargo bench -p benches --bench tcp_echo [-- ROUNDS]`
mod floor;

use floor::{Body, SIZES, connection, messages, write_spinning};
use std::{
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};
use tickwire::{Step, blocking, tokio as adapter};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Serve = fn(TcpStream) -> Result<()>;

/// Two ends of a connection.
fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    client.set_nonblocking(true)?;
    Ok((client, server))
}

fn raw(mut server: TcpStream) -> Result<()> {
    let mut buf = vec![0; 64 << 10];
    loop {
        match server.read(&mut buf)? {
            0 => return Ok(()),
            n => server.write_all(&buf[..n])?,
        }
    }
}

fn in_a_thread(server: TcpStream) -> Result<()> {
    let mut ws = blocking::WebSocket::from_parts(server, connection(false));
    while let Some(received) = ws.recv_to_reply()? {
        let _ = received.sender.feed(received.message)?;
    }
    Ok(())
}

fn in_a_task(server: TcpStream) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        server.set_nonblocking(true)?;
        let server = tokio::net::TcpStream::from_std(server)?;
        let mut ws = adapter::WebSocket::from_parts(server, connection(false));
        while let Some(received) = ws.recv_to_reply().await? {
            let _ = received.sender.feed(received.message)?;
        }
        Ok(())
    })
}

/// Reads, spinning.
fn read(io: &mut TcpStream, to: &mut [u8]) -> Result<usize> {
    loop {
        match io.read(to) {
            Ok(0) => return Err("the server went away".into()),
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Microseconds for each of `rounds`, sorted.
fn measure(len: usize, rounds: usize, frames: bool, serve: Serve) -> Result<Vec<f64>> {
    let (mut io, server) = pair()?;
    let served = thread::spawn(move || serve(server).map_err(|e| e.to_string()));
    let message = messages(len, Body::Binary).swap_remove(0);
    let mut conn = connection(true);
    let mut buf = vec![0; len];
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds + rounds / 10 {
        let begin = Instant::now();
        if frames {
            let _ = conn.sender_mut().feed(&message)?;
            let bytes = bytes::Buf::copy_to_bytes(
                &mut conn.sender_mut().outgoing(),
                floor::frame_len(len, true),
            );
            write_spinning(&mut io, &bytes)?;
            while conn.step()? != Step::Message {
                let n = read(&mut io, conn.receiver_mut().spare_mut())?;
                conn.receiver_mut().commit(n);
            }
        } else {
            write_spinning(&mut io, &message)?;
            let mut got = 0;
            while got < len {
                got += read(&mut io, &mut buf)?;
            }
        }
        if round >= rounds / 10 {
            times.push(begin.elapsed().as_nanos() as f64 / 1e3);
        }
    }
    drop(io); // without a Close, which the server reports
    let _ = served.join();
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn main() -> Result<()> {
    let rounds = std::env::args().skip(1).find_map(|n| n.parse().ok()).unwrap_or(5000_usize);
    println!("{:<24} {:>8} {:>8} {:>8} {:>8}  us", "", "p50", "p90", "p99", "p99.9");
    for len in SIZES {
        let rounds = if len > 100_000 { rounds / 20 } else { rounds };
        let servers: [(_, _, Serve); 3] =
            [("raw TCP", false, raw), ("blocking", true, in_a_thread), ("tokio", true, in_a_task)];
        for (name, frames, serve) in servers {
            let times = measure(len, rounds, frames, serve)?;
            let at = |part: f64| times[(part * (times.len() - 1) as f64) as usize];
            let name = format!("{len} B, {name}");
            let [a, b, c, d] = [0.5, 0.9, 0.99, 0.999].map(at);
            println!("{name:<24} {a:>8.1} {b:>8.1} {c:>8.1} {d:>8.1}");
        }
    }
    Ok(())
}
