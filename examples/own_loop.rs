//! A loop of your own: server and client connections on one thread over mio. `Connection::next`
//! drives them, including their deadlines. `cargo run --release --all-features --example own_loop`
//!
//! Opening handshakes run on threads, which hand the open connections over. The crate
//! `tickwire-loop` is such a loop for thousands of connections, with dialing, TLS and handshakes.
//! Write your own loop if your program has a loop already, and WebSocket is only one of its tasks.
use arguments::{Arguments, Failure};
use bytes::Buf;
use mio::{Events, Interest, Poll, Token, Waker, net::TcpStream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown, TcpListener};
use std::{sync::Arc, sync::mpsc, thread, time::Duration, time::Instant};
use tickwire::blocking::{WebSocket, accept, client};
use tickwire::handshake::client::Request;
use tickwire::{
    CloseCode, Config, Connection, Error, Event, Heartbeat, Next, RecvError, Report, Role,
};
use tickwire::{Time, Wait};

const HELP: &str = "\
An echo server and a client in one loop over mio; and a client that does not answer Pings.

Usage: own_loop

  --help  this text
";

const NEW: Token = Token(usize::MAX);

type Opened = Result<WebSocket<net::TcpStream>, Error>;

struct Peer {
    tcp: TcpStream,
    conn: Connection,
    /// When its next turn is, at the latest.
    until: Option<Time>,
}

fn main() -> Result<(), Failure> {
    Arguments::read(HELP);
    let heartbeat = Heartbeat::new(Duration::from_millis(200), Duration::from_millis(200));
    let config = Config { heartbeat: Some(heartbeat), ..Config::default() };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, poll) = (listener.local_addr()?, Poll::new()?);
    let waker = Arc::new(Waker::new(poll.registry(), NEW)?);
    let (opened, new) = mpsc::channel::<Opened>();
    // Each handshake has a thread, so that a slow handshake keeps no other connection waiting.
    let open = move |handshake: Box<dyn FnOnce() -> Opened + Send>| {
        let (waker, opened) = (waker.clone(), opened.clone());
        thread::spawn(move || opened.send(handshake()).is_ok() && waker.wake().is_ok())
    };
    let request = Request::new(&format!("ws://{address}"))?;
    let (ours, theirs) = (config.clone(), config.clone());
    open(Box::new(move || client(net::TcpStream::connect(address)?, &request, &ours)));
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let config = theirs.clone();
            open(Box::new(move || accept(tcp?, &config)));
        }
    });
    let _silent = tickwire::blocking::connect(&format!("ws://{address}"), &config)?;
    run(poll, &new)
}

/// Runs the loop until three connections are over.
fn run(mut poll: Poll, new: &mpsc::Receiver<Opened>) -> Result<(), Failure> {
    let (mut peers, mut events, began) = (Vec::new(), Events::with_capacity(256), Instant::now());
    while peers.len() < 3 || peers.iter().any(Option::is_some) {
        for ws in new.try_iter() {
            let (tcp, mut conn) = ws?.into_parts();
            tcp.set_nonblocking(true)?;
            let mut tcp = TcpStream::from_std(tcp);
            // Each edge is reported once, so a turn goes on until both directions block.
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut tcp, Token(peers.len()), both)?;
            if conn.role() == Role::Client {
                let _ = conn.sender_mut().feed("hello")?;
            }
            peers.push(Some(Peer { tcp, conn, until: Some(Time::ZERO) }));
        }
        // The earliest deadline. For thousands of connections, keep the deadlines in a heap.
        let until = peers.iter().flatten().filter_map(|peer| peer.until).min();
        let wait = until.map(|until| until - Time::new(began.elapsed()));
        unless(ErrorKind::Interrupted, poll.poll(&mut events, wait))?;
        let now = Time::new(began.elapsed());
        for event in &events {
            if let Some(Some(peer)) = peers.get_mut(event.token().0) {
                peer.until = Some(now);
            }
        }
        for (number, slot) in peers.iter_mut().enumerate() {
            let Some(mut peer) = slot.take_if(|peer| peer.until.is_some_and(|until| until <= now))
            else {
                continue;
            };
            match peer.turn(now) {
                Ok(wait) => *slot = Some(Peer { until: wait.until, ..peer }),
                Err(None) => println!("connection {number}: closed"),
                Err(Some(error)) => println!("connection {number}: {error}"),
            }
        }
    }
    Ok(())
}

impl Peer {
    /// Goes on until it has to wait. `Err`: the connection is over, with the error if it was not
    /// closed.
    fn turn(&mut self, now: Time) -> Result<Wait, Option<RecvError>> {
        let Self { tcp, conn, .. } = self;
        loop {
            conn.set_paused(!conn.sender().has_room()); // bounds the memory for a slow peer
            let role = conn.role();
            match conn.next(now) {
                Next::Event(Event::Message(message), tx) => match role {
                    Role::Server => drop(tx.feed(message)), // there is room
                    Role::Client => {
                        println!("{message:?} came back");
                        let _ = tx.close(CloseCode::NORMAL); // refused if the server has closed
                    }
                },
                Next::Event(..) => {} // replies to Pings and Closes are queued already
                Next::Write(mut out) => match unless(ErrorKind::WouldBlock, tcp.write(out.chunk()))
                {
                    Ok(Some(n @ 1..)) => out.advance(n),
                    Ok(None) => conn.report(Report::WriteBlocked),
                    // What has arrived is still read.
                    Ok(Some(_)) | Err(_) => conn.report(Report::WriteFailed),
                },
                Next::Read(rx) => match unless(ErrorKind::WouldBlock, tcp.read(rx.spare_mut())) {
                    Ok(Some(0)) => rx.end_of_stream(),
                    Ok(Some(n)) => rx.commit(n),
                    Ok(None) => conn.report(Report::ReadBlocked),
                    Err(_) => conn.report(Report::ReadFailed),
                },
                Next::ShutDown => {
                    let _ = tcp.shutdown(Shutdown::Write); // fails if the peer is gone
                    conn.report(Report::ShutDown);
                }
                Next::Wait(wait) => return Ok(wait),
                Next::Over(why) => return Err(why),
            }
        }
    }
}

/// `None` in place of an error of this kind.
fn unless<T>(kind: ErrorKind, result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == kind => Ok(None),
        result => result.map(Some),
    }
}
