//! The loop: wait for the system to say which streams can go on, give each of them its turn, arm
//! deadlines. What a peer does in its turn is in `peer.rs`.
use crate::peer::{Peer, Shared, Turn};
use mio::{
    Events, Interest, Poll, Token,
    event::Event,
    net::{TcpListener, TcpStream},
};
use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    mem,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tickwire::{Config, Time, tls::rustls::ServerConfig};

const LISTENER: Token = Token(usize::MAX);
/// How many connections may wait to be accepted, as far as the system allows. Those beyond try again after a
/// second; mio has room for 128.
const BACKLOG: i32 = 4096;

pub struct Server {
    poll: Poll,
    listener: TcpListener,
    /// By token; `free` are those in between that are gone.
    peers: Vec<Option<Box<Peer>>>,
    free: Vec<usize>,
    /// When to look at which peer, if nothing happens before; each is here once at most.
    deadlines: BTreeSet<(Time, usize)>,
    /// Whose turn was over before they had read everything.
    again: Vec<usize>,
    /// A connection could not be accepted: there were no descriptors left.
    full: bool,
    shared: Shared,
}

impl Server {
    /// Serves `wss` with a configuration of TLS, `ws` without.
    pub fn bind(
        addr: SocketAddr,
        config: Config,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        let mut listener = TcpListener::bind(addr)?;
        rustix::net::listen(&listener, BACKLOG)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            peers: Vec::new(),
            free: Vec::new(),
            deadlines: BTreeSet::new(),
            again: Vec::new(),
            full: false,
            shared: Shared::new(config, tls),
        })
    }

    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = match self.deadlines.first() {
                _ if !self.again.is_empty() => Some(Duration::ZERO),
                Some(&(at, _)) => Some(at - self.shared.now()),
                None => None,
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    Token(at) => self.ready(at, event),
                }
            }
            for at in mem::take(&mut self.again) {
                self.turn(at);
            }
            while let Some(&(time, at)) = self.deadlines.first()
                && time <= self.shared.now()
            {
                self.arm(at, None);
                self.turn(at);
            }
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        eprintln!("accept: {error}"); // and again when a connection is over
                        self.full = true;
                        return;
                    }
                },
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true); // else replies wait for acknowledgements
        let at = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, Token(at), both) {
            eprintln!("register: {error}");
            return self.free.push(at);
        }
        match Peer::new(stream, &self.shared) {
            Ok(peer) => self.peers[at] = Some(Box::new(peer)),
            Err(error) => {
                eprintln!("{error}");
                return self.free.push(at);
            }
        }
        self.turn(at); // which starts its clock
    }

    fn ready(&mut self, at: usize, event: &Event) {
        if let Some(peer) = &mut self.peers[at] {
            peer.note(event);
            self.turn(at);
        }
    }

    fn turn(&mut self, at: usize) {
        let Some(peer) = &mut self.peers[at] else {
            return;
        };
        match peer.turn(&mut self.shared) {
            // One that is early costs a look, so that a deadline which moves on stays where it is.
            Turn::Wait(Some(next)) if peer.deadline.is_some_and(|armed| armed <= next) => {}
            Turn::Wait(next) => self.arm(at, next),
            Turn::Again if self.again.contains(&at) => {} // or it had more turns with each event
            Turn::Again => self.again.push(at),
            Turn::Over => {
                self.arm(at, None);
                self.peers[at] = None; // closes the stream, which leaves the poll by that
                self.free.push(at);
                if mem::take(&mut self.full) {
                    self.accept();
                }
            }
        }
    }

    fn arm(&mut self, at: usize, next: Option<Time>) {
        if let Some(peer) = &mut self.peers[at]
            && peer.deadline != next
        {
            self.deadlines.extend(next.map(|time| (time, at)));
            if let Some(armed) = mem::replace(&mut peer.deadline, next) {
                self.deadlines.remove(&(armed, at));
            }
        }
    }
}
