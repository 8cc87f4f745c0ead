//! What a message costs the example `echo_server` by itself with one thread and with two, and with
//! two processes of one thread each, which can share nothing: as long as two threads cost what two
//! processes cost, nothing is shared on the data path.
//!
//! `cargo bench -p benches --bench threads [-- ROUNDS]`, on Linux. 64 connections, on each 16
//! messages of 64 bytes under way; the servers in turns. Every server tells its processor time
//! itself, thread by thread (`--stats`): that of the load, which is one thread of this process,
//! stands beside it.
mod floor;

use floor::{Body, Stream, frame_len, messages};
use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CONNECTIONS: usize = 64;
const UNDER_WAY: usize = 16;
const LEN: usize = 64;
/// How long one server is under load in one round.
const TURN: Duration = Duration::from_millis(500);

/// A server process.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(threads: &str) -> Result<Self> {
        // target/release/deps/threads-HASH; the examples are beside `deps`.
        let this = std::env::current_exe()?;
        let program = this.ancestors().nth(2).ok_or("no target directory")?;
        let mut child = Command::new(program.join("examples/echo_server"))
            .args(["--listen", "127.0.0.1:0", "--stats", "--threads", threads])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on ws://").ok_or("not listening")?;
        Ok(Self { child, address: address.into(), out })
    }

    /// Ends it. What it prints then.
    fn stop(mut self) -> Result<Vec<String>> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let lines: Vec<_> = self.out.by_ref().lines().collect::<std::io::Result<_>>()?;
        self.child.wait()?;
        Ok(lines)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One or two servers, the connections to them, and what the load has done so far.
struct Setup {
    name: &'static str,
    servers: Vec<Server>,
    connections: Vec<TcpStream>,
    messages: u64,
    /// The load's own.
    processor: Duration,
    took: Duration,
}

impl Setup {
    fn new(name: &'static str, threads: &[&str]) -> Result<Self> {
        let servers = threads.iter().map(|n| Server::start(n)).collect::<Result<Vec<_>>>()?;
        let connections = (0..CONNECTIONS)
            .map(|i| connect(&servers[i % servers.len()].address))
            .collect::<Result<_>>()?;
        let none = Duration::ZERO;
        Ok(Self { name, servers, connections, messages: 0, processor: none, took: none })
    }

    fn load(&mut self, batch: &[u8], echo: &mut [u8]) -> Result<()> {
        let (begin, before) = (Instant::now(), processor_time()?);
        for io in &mut self.connections {
            io.write_all(batch)?;
        }
        while begin.elapsed() < TURN {
            for io in &mut self.connections {
                io.read_exact(echo)?;
                io.write_all(batch)?;
            }
            self.messages += (CONNECTIONS * UNDER_WAY) as u64;
        }
        for io in &mut self.connections {
            io.read_exact(echo)?;
        }
        self.messages += (CONNECTIONS * UNDER_WAY) as u64;
        self.processor += processor_time()? - before;
        self.took += begin.elapsed();
        Ok(())
    }

    /// Prints what it cost; the servers' microseconds for each message.
    fn end(self) -> Result<f64> {
        for mut io in self.connections {
            io.write_all(b"\x88\x80\x01\x02\x03\x04")?; // a Close
            io.read_to_end(&mut Vec::new())?;
        }
        let mut lines = Vec::new();
        for server in self.servers {
            lines.extend(server.stop()?);
        }
        let seconds = |line: &String| -> Option<f64> {
            line.split_once(" s of")?.0.rsplit(' ').next()?.parse().ok()
        };
        let servers: Option<f64> = lines.iter().map(seconds).sum();
        let count = self.messages as f64;
        let each = servers.ok_or("the system does not tell the processor time")? * 1e6 / count;
        let load = self.processor.as_secs_f64() * 1e6 / count;
        let rate = count / self.took.as_secs_f64() / 1e3;
        println!("{:<12} {each:>12.3} {load:>12.3} {rate:>12.0}", self.name);
        for line in lines {
            println!("             {line}");
        }
        Ok(each)
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let mut io = TcpStream::connect(address)?;
    io.set_nodelay(true)?;
    io.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        io,
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        io.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err("refused".into());
    }
    Ok(io)
}

/// Of this thread, which is the load.
fn processor_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(stat.split(' ').next().ok_or("empty")?.parse()?))
}

fn main() -> Result<()> {
    let rounds = std::env::args().skip(1).find_map(|n| n.parse().ok()).unwrap_or(11_usize);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "-p", "examples", "--example", "echo_server"])
        .status()?;
    if !built.success() {
        return Err("no echo_server".into());
    }
    let mut batch = vec![0; UNDER_WAY * frame_len(LEN, true)];
    Stream::new(&messages(LEN, Body::Binary), Body::Binary, true).read(&mut batch);
    let mut echo = vec![0; UNDER_WAY * frame_len(LEN, false)];
    let mut setups = vec![
        Setup::new("1 thread", &["1"])?,
        Setup::new("2 threads", &["2"])?,
        Setup::new("2 processes", &["1", "1"])?,
    ];
    for _ in 0..rounds {
        for setup in &mut setups {
            setup.load(&batch, &mut echo)?;
        }
    }
    println!("{:<12} {:>12} {:>12} {:>12}", "", "server us", "load us", "1000 msg/s");
    let each = setups.into_iter().map(Setup::end).collect::<Result<Vec<_>>>()?;
    println!("2 threads to 1: {:.2}, to 2 processes: {:.2}", each[1] / each[0], each[1] / each[2]);
    Ok(())
}
