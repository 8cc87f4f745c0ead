//! A receiver waits, a frame is written to the loopback in one write, and is received: in turn on
//! one thread. So what each end's calls make the kernel do is told apart, and the load of other
//! programs changes little.

use std::fs;
use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use futures_util::poll;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::counted::{Counted, counts};
use super::payload;
use crate::load::KEY;
use crate::peers::{self, Conn, Peer, Visit};
use crate::proc::thread_time;
use crate::wire::frame;

/// No WebSocket: reads a frame, its end known, with one call.
const WHOLE: &str = "raw, one read";
/// The same with two: first a header and 8 KiB.
const PARTED: &str = "raw, two reads";
const FIRST: usize = 14 + (8 << 10);

pub const NAMES: [&str; 6] =
    [WHOLE, PARTED, "tickwire", "fastwebsockets", "sockudo-ws", "tokio-websockets"];

/// Turns of a connection, and how many of them come before those that count.
const TURNS: usize = 400;
const BEFORE: usize = 200;

/// What a turn has cost: processor time in ns, reads, and segments that receiving has sent, which
/// are acknowledgements.
pub struct Turn {
    pub received: f64,
    pub written: f64,
    pub reads: f64,
    pub acknowledged: f64,
}

/// Medians of the turns of a new connection, and means of what is counted.
pub fn turns(name: &str, size: usize) -> Turn {
    let all = message(size).len();
    match name {
        WHOLE | PARTED => {
            let first = if name == PARTED { FIRST } else { all };
            let connect = async |io| (io, vec![0; all]);
            take_turns(size, connect, async move |(io, buf): &mut (Counted<TcpStream>, Vec<u8>)| {
                io.read_exact(&mut buf[..first]).await.expect("the frame's begin");
                io.read_exact(&mut buf[first..]).await.expect("its end");
            })
        }
        name => peers::with(name, &mut Turns(size)),
    }
}

struct Turns(usize);

impl Visit for Turns {
    type Out = Turn;
    fn visit<P: Peer>(&mut self) -> Turn {
        let size = self.0;
        take_turns(size, P::server::<Counted<TcpStream>>, async move |conn| {
            let mut got = 0;
            assert!(conn.recv(|bytes| got = bytes.len()).await, "{} receives", P::NAME);
            assert_eq!(got, size);
        })
    }
}

fn message(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    frame(&mut out, 0x82, &payload(size), Some(KEY));
    out
}

fn take_turns<C>(
    size: usize,
    connect: impl AsyncFnOnce(Counted<TcpStream>) -> C,
    mut receive: impl AsyncFnMut(&mut C),
) -> Turn {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let mut to = std::net::TcpStream::connect(address).expect("it listens");
        to.set_nodelay(true).expect("it is TCP");
        let (io, _) = listener.accept().expect("it has connected");
        io.set_nonblocking(true).expect("it is TCP");
        let mut conn = connect(Counted(TcpStream::from_std(io).expect("it is TCP"))).await;
        let message = message(size);
        let mut received = Vec::new();
        let mut written = Vec::new();
        let mut sent = 0;
        let mut before = 0;
        for turn in 0..TURNS {
            if turn == BEFORE {
                received.clear();
                written.clear();
                sent = 0;
                before = counts().0;
            }
            let begin = thread_time();
            let mut receiving = pin!(receive(&mut conn));
            assert!(poll!(receiving.as_mut()).is_pending(), "there is nothing yet");
            let waits = thread_time();
            to.write_all(&message).expect("there is room");
            let there = thread_time();
            let earlier = segments();
            let goes_on = thread_time();
            receiving.await;
            received.push(waits - begin + (thread_time() - goes_on));
            written.push(there - waits);
            sent += segments() - earlier;
        }
        let counted = (TURNS - BEFORE) as f64;
        Turn {
            received: median(received),
            written: median(written),
            reads: (counts().0 - before) as f64 / counted,
            acknowledged: sent as f64 / counted,
        }
    })
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_nanos() as f64
}

/// The TCP segments that this network namespace has sent.
fn segments() -> u64 {
    let snmp = fs::read_to_string("/proc/net/snmp").expect("Linux has it");
    let mut tcp = snmp.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let names = tcp.next().expect("a line of names");
    let values = tcp.next().expect("a line of values");
    let found = names.zip(values).find(|(name, _)| *name == "OutSegs");
    found.and_then(|(_, value)| value.parse().ok()).expect("it is counted")
}
