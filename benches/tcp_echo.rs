//! Over the loopback: how long a message and its echo take, in percentiles, one in flight, and the
//! processor's time that the server's thread takes for it (on Linux). A raw TCP echo of the same
//! bytes stands beside it, so that what the system takes can be told apart. Then how late a
//! deadline is noticed.
//!
//! The client is the same for all: it spins on a non-blocking socket, so that only the server's
//! waking is measured.
//!
//! `cargo bench -p benches --bench tcp_echo [-- ROUNDS [BYTES]]`
mod floor;

use floor::{Body, SIZES, connection, messages, write_spinning};
use std::{
    error::Error,
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Connection, Heartbeat, Negotiated, RecvError, Step, blocking, tokio as adapter,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Serve = fn(TcpStream) -> Result<()>;

/// How many deadlines are waited for.
const DEADLINES: usize = 40;
/// When a heartbeat sends its Ping, and again when it gives the peer up.
const BEAT: Duration = Duration::from_millis(30);

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

/// Of a server with that heartbeat.
fn beating(beat: Duration) -> Connection {
    let config = Config { heartbeat: Some(Heartbeat::new(beat, beat)), ..Config::default() };
    Connection::server(&config, Negotiated::default())
}

fn in_a_thread(server: TcpStream) -> Result<()> {
    echo_in_a_thread(server, connection(false))
}

/// Where a deadline is always ahead.
fn in_a_beating_thread(server: TcpStream) -> Result<()> {
    echo_in_a_thread(server, beating(Duration::from_secs(20)))
}

fn echo_in_a_thread(server: TcpStream, conn: Connection) -> Result<()> {
    let mut ws = blocking::WebSocket::from_parts(server, conn);
    while let Some(received) = ws.recv_to_reply()? {
        let _ = received.sender.feed(received.message)?;
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn in_a_task(server: TcpStream) -> Result<()> {
    runtime()?.block_on(async {
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

/// The processor's time of this thread, in nanoseconds; not known but on Linux.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_ascii_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

/// Microseconds for each of `rounds`, sorted; and the server's for each, of the processor.
fn measure(len: usize, rounds: usize, frames: bool, serve: Serve) -> Result<(Vec<f64>, f64)> {
    let (mut io, server) = pair()?;
    let served = thread::spawn(move || {
        let _ = serve(server); // ends without a Close
        processor_time()
    });
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
    drop(io);
    let processor = served.join().map_err(|_| "the server panicked")?;
    times.sort_by(f64::total_cmp);
    Ok((times, processor / (rounds + rounds / 10) as f64 / 1e3))
}

/// How late it is noticed that a silent peer owes a Pong, in microseconds, sorted.
fn lateness(receive: fn(TcpStream) -> Result<bool>) -> Result<Vec<f64>> {
    let mut late = Vec::with_capacity(DEADLINES);
    for _ in 0..DEADLINES {
        let (_silent, server) = pair()?;
        let begin = Instant::now();
        assert!(receive(server)?, "nothing but the deadline ends it");
        late.push((begin.elapsed() - 2 * BEAT).as_nanos() as f64 / 1e3);
    }
    late.sort_by(f64::total_cmp);
    Ok(late)
}

fn thread_ends(server: TcpStream) -> Result<bool> {
    let mut ws = blocking::WebSocket::from_parts(server, beating(BEAT));
    let ended = ws.recv();
    Ok(matches!(ended, Err(tickwire::Error::Recv(RecvError::PongTimeout))))
}

fn task_ends(server: TcpStream) -> Result<bool> {
    runtime()?.block_on(async {
        server.set_nonblocking(true)?;
        let server = tokio::net::TcpStream::from_std(server)?;
        let mut ws = adapter::WebSocket::from_parts(server, beating(BEAT));
        let ended = ws.recv().await;
        Ok(matches!(ended, Err(tickwire::Error::Recv(RecvError::PongTimeout))))
    })
}

fn line(name: &str, times: &[f64]) -> String {
    let at = |part: f64| times[(part * (times.len() - 1) as f64) as usize];
    let [a, b, c, d] = [0.5, 0.9, 0.99, 0.999].map(at);
    format!("{name:<26} {a:>8.1} {b:>8.1} {c:>8.1} {d:>8.1}")
}

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|n| n.parse().ok());
    let rounds = numbers.next().unwrap_or(5000_usize);
    let sizes = numbers.next().map_or(SIZES.to_vec(), |len| vec![len]);
    println!(
        "{:<26} {:>8} {:>8} {:>8} {:>8} {:>10}  us",
        "", "p50", "p90", "p99", "p99.9", "processor"
    );
    for len in sizes {
        let rounds = if len > 100_000 { rounds / 20 } else { rounds };
        let servers: [(_, _, Serve); 4] = [
            ("raw TCP", false, raw),
            ("blocking", true, in_a_thread),
            ("blocking, beats", true, in_a_beating_thread),
            ("tokio", true, in_a_task),
        ];
        for (name, frames, serve) in servers {
            let (times, processor) = measure(len, rounds, frames, serve)?;
            println!("{} {processor:>10.2}", line(&format!("{len} B, {name}"), &times));
        }
    }
    println!("{}", line("deadline late, blocking", &lateness(thread_ends)?));
    println!("{}", line("deadline late, tokio", &lateness(task_ends)?));
    Ok(())
}
