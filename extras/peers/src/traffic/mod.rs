//! Messages of 1 KiB to 1 MiB without a pause over the loopback: the end that is measured. It is a
//! process of its own on a core of its own; [`load`] is the other end.
//!
//! For each lap the load sends messages, or asks for them, and the measured end says what they have
//! cost: four numbers in a message of its own.

pub mod counted;
pub mod load;
pub mod turns;

use crate::placed::placed;
use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use tickwire::handshake::server::Accept;
use tickwire::tls::rustls::{ServerConnection, StreamOwned};
use tickwire::{
    Config, Connection, Negotiated, Prepared, SystemEntropy, blocking, tokio as adapter,
};
use tickwire_loop::{Dial, Door, Event, Handle, Loop, Net, Settings};
use tokio_rustls::TlsAcceptor;

use self::counted::Counted;
use crate::bridge::AsAsync;
use crate::mem::now;
use crate::net::{listen, listen_blocking};
use crate::peers::{self, Conn, Io, Peer, Share, Visit, raw::Raw, tungstenite::Tungstenite};
use crate::table::{BLOCKING, TOKIO};
use crate::wire::frame_len;
use crate::{copies, tls};

/// tickwire's `recv_owned`.
const OWNED: &str = "tickwire owned";
const BLOCKING_OWNED: &str = "tickwire-blocking owned";
/// tickwire whose reads do not grow.
pub const FIXED: &str = "tickwire fixed";
pub const EVENT: &str = "tickwire-loop";
pub const URING: &str = "tickwire-loop io_uring";

/// All rows. `raw` reads what comes, and writes a frame after another.
pub const NAMES: [&str; 13] = [
    Raw::NAME,
    TOKIO,
    OWNED,
    FIXED,
    BLOCKING,
    BLOCKING_OWNED,
    EVENT,
    URING,
    "fastwebsockets",
    "sockudo-ws",
    "tokio-websockets",
    "tokio-tungstenite",
    Tungstenite::NAME,
];

/// Which end the measured one is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// What it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Receive,
    /// Sends a message of its own each time: a write for each.
    Send,
    /// The same with what it was shared before.
    SendShared,
    /// Receives long messages and answers short ones, on two connections of one thread.
    Behind,
}

/// The work of the measured end.
#[derive(Clone, Copy)]
pub struct Task {
    pub way: Way,
    pub role: Role,
    pub tls: bool,
    pub size: usize,
    /// Messages of a lap.
    pub lap: usize,
}

impl Task {
    /// As arguments of a process.
    pub fn args(&self) -> [String; 5] {
        let way = match self.way {
            Way::Receive => "receive",
            Way::Send => "send",
            Way::SendShared => "shared",
            Way::Behind => "behind",
        };
        let role = if self.role == Role::Client { "client" } else { "server" };
        let tls = if self.tls { "wss" } else { "ws" };
        [way, role, tls, &self.size.to_string(), &self.lap.to_string()].map(str::to_owned)
    }

    fn parse([way, role, tls, size, lap]: [&str; 5]) -> Self {
        let number = |text: &str| text.parse().expect("a number");
        let way = match way {
            "receive" => Way::Receive,
            "send" => Way::Send,
            "shared" => Way::SendShared,
            _ => Way::Behind,
        };
        let role = if role == "client" { Role::Client } else { Role::Server };
        Self { way, role, tls: tls == "wss", size: number(size), lap: number(lap) }
    }

    /// Whether this row can do it. Rows of receiving send nothing of their own, and a thread has
    /// one connection.
    pub fn suits(&self, name: &str) -> bool {
        match name {
            OWNED | BLOCKING_OWNED => self.way == Way::Receive,
            FIXED => matches!(self.way, Way::Receive | Way::Behind),
            BLOCKING | Tungstenite::NAME => self.way != Way::Behind,
            Raw::NAME => self.way != Way::Behind,
            _ => true,
        }
    }

    /// Whether this row counts its reads and writes.
    pub fn counts(name: &str) -> bool {
        ![EVENT, URING].contains(&name)
    }
}

/// What every message carries.
pub fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|i| i as u8).collect()
}

/// Serves what the load asks for, for ever. The port is the load's, for loops that dial.
pub fn serve(name: &str, args: [&str; 5], port: u16) {
    let task = Task::parse(args);
    match name {
        BLOCKING | BLOCKING_OWNED => {
            let owned = name_is_owned(name);
            listen_blocking(move |io| ours_blocking(io, task, owned));
        }
        Tungstenite::NAME => listen_blocking(move |io| tungstenite(io, task)),
        EVENT | URING => looping(name == URING, task, port),
        TOKIO | OWNED | FIXED => ours(task, config(name), name_is_owned(name)),
        name => peers::with(name, &mut Others(task)),
    }
}

fn name_is_owned(name: &str) -> bool {
    [OWNED, BLOCKING_OWNED].contains(&name)
}

fn config(name: &str) -> Config {
    let default = Config::default();
    Config { max_read: if name == FIXED { 0 } else { default.max_read }, ..default }
}

struct Others(Task);

impl Visit for Others {
    type Out = ();
    fn visit<P: Peer>(&mut self) {
        let task = self.0;
        let acceptor = TlsAcceptor::from(tls::server(false));
        listen(async move |listener| {
            while let Ok((io, _)) = listener.accept().await {
                io.set_nodelay(true).expect("it is TCP");
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    let io = Counted(io);
                    if task.tls {
                        theirs::<P, _>(acceptor.accept(io).await.expect("a handshake"), task).await;
                    } else {
                        theirs::<P, _>(io, task).await;
                    }
                });
            }
        });
    }
}

async fn theirs<P: Peer, S: Io>(io: S, task: Task) {
    let conn = match task.role {
        Role::Client => P::client(io).await,
        Role::Server => P::server(io).await,
    };
    work(conn, task, P::NAME != Raw::NAME).await;
}

fn ours(task: Task, config: Config, owned: bool) {
    let secure = tls::server(true);
    listen(async move |listener| {
        while let Ok((io, _)) = listener.accept().await {
            io.set_nodelay(true).expect("it is TCP");
            let (config, secure) = (config.clone(), secure.clone());
            tokio::task::spawn_local(async move {
                let io = Counted(io);
                if task.tls {
                    let mut io = adapter::TlsStream::server(io, placed(secure)).expect("a server");
                    io.handshake().await.expect("a handshake");
                    ours_over(io, task, &config, owned).await;
                } else {
                    ours_over(io, task, &config, owned).await;
                }
            });
        }
    });
}

async fn ours_over<S: Io>(io: S, task: Task, config: &Config, owned: bool) {
    let ws = adapter::WebSocket::from_parts(io, connection(task.role, config));
    if owned { work(Owned(ws), task, true).await } else { work(ws, task, true).await }
}

fn connection(role: Role, config: &Config) -> Connection {
    match role {
        Role::Server => Connection::server(config, Negotiated::default()),
        Role::Client => {
            let entropy = SystemEntropy::new().expect("the system gives randomness");
            Connection::client(config, Negotiated::default(), entropy)
        }
    }
}

fn ours_blocking(io: TcpStream, task: Task, owned: bool) {
    let io = Counted(io);
    let conn = connection(task.role, &Config::default());
    if task.tls {
        let mut io = blocking::TlsStream::server(io, placed(tls::server(true))).expect("a server");
        io.handshake().expect("a handshake");
        ours_blocking_over(blocking::WebSocket::from_parts(io, conn), task, owned);
    } else {
        ours_blocking_over(blocking::WebSocket::from_parts(io, conn), task, owned);
    }
}

fn ours_blocking_over<S: blocking::Stream>(ws: blocking::WebSocket<S>, task: Task, owned: bool) {
    if owned { now(work(Owned(ws), task, true)) } else { now(work(ws, task, true)) }
}

fn tungstenite(io: TcpStream, task: Task) {
    let io = Counted(io);
    if task.tls {
        let tls = ServerConnection::new(tls::server(false)).expect("a server");
        now(theirs::<Tungstenite, _>(AsAsync(StreamOwned::new(tls, io)), task));
    } else {
        now(theirs::<Tungstenite, _>(AsAsync(io), task));
    }
}

/// Receives by `recv_owned`.
struct Owned<W>(W);

macro_rules! owned {
    ($([$($bound:tt)*] $ws:ty, [$($wait:tt)*];)*) => {$(
        impl<S: $($bound)*> Conn for Owned<$ws> {
            type Shared = Prepared;
            async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
                match self.0.recv_owned()$($wait)* {
                    Ok(Some(message)) => see(message.as_bytes()),
                    _ => return false,
                }
                true
            }
            async fn feed(&mut self, payload: &[u8]) -> bool {
                Conn::feed(&mut self.0, payload).await
            }
            async fn feed_shared(&mut self, payload: &Prepared) -> bool {
                Conn::feed_shared(&mut self.0, payload).await
            }
            async fn flush(&mut self) -> bool {
                Conn::flush(&mut self.0).await
            }
            async fn echo(&mut self) -> bool {
                Conn::echo(&mut self.0).await
            }
        }
    )*};
}

owned! {
    [Io] adapter::WebSocket<S>, [.await];
    [blocking::Stream] blocking::WebSocket<S>, [];
}

/// The work, for ever. `frames`: whether it receives messages, not the bytes of a stream.
async fn work<C: Conn>(mut conn: C, task: Task, frames: bool) {
    let Task { way, size, lap, .. } = task;
    let all = if frames { size } else { frame_len(size, task.role == Role::Server) } * lap;
    let want = payload(size);
    let shared = C::Shared::share(&want);
    let mut first = true;
    loop {
        let before = Cost::now();
        match way {
            Way::Receive => {
                let mut got = 0;
                while got < all {
                    let see = |bytes: &[u8]| {
                        assert!(!first || !frames || bytes == want, "not what was sent");
                        got += black_box(bytes).len();
                    };
                    if !conn.recv(see).await {
                        return;
                    }
                }
                first = false;
            }
            Way::Send | Way::SendShared => {
                if !conn.recv(|_| {}).await {
                    return;
                }
                for _ in 0..lap {
                    let sent = match way {
                        Way::Send => conn.send_now(black_box(&want)).await,
                        _ => conn.feed_shared(black_box(&shared)).await && conn.flush().await,
                    };
                    if !sent {
                        return;
                    }
                }
            }
            Way::Behind => {
                let mut short = None;
                let see = |bytes: &[u8]| short = (bytes.len() < size).then(|| bytes.to_vec());
                if !conn.recv(see).await {
                    return;
                }
                if let Some(short) = short
                    && !(conn.feed(&short).await && conn.flush().await)
                {
                    return;
                }
                continue;
            }
        }
        if !(conn.feed(&before.to_now()).await && conn.flush().await) {
            return;
        }
    }
}

/// What a lap has cost: reads or writes, their bytes, bytes copied, bytes filled.
struct Cost([u64; 4]);

/// The length of a cost as a message.
pub const COST: usize = 32;

impl Cost {
    fn now() -> Self {
        let (calls, bytes) = counted::counts();
        let (copied, filled) = copies::counts();
        Self([calls, bytes, copied, filled])
    }

    fn to_now(&self) -> [u8; COST] {
        let mut out = [0; COST];
        let both = Self::now().0.into_iter().zip(self.0);
        for (to, (now, before)) in out.as_chunks_mut::<8>().0.iter_mut().zip(both) {
            *to = (now - before).to_le_bytes();
        }
        out
    }
}

/// The same work in a loop. Its streams are its own, so that nothing counts their calls.
fn looping(io_uring: bool, task: Task, port: u16) {
    let mut net = Loop::new(Settings { io_uring, ..Settings::default() }).expect("a descriptor");
    assert!(net.net().uses_io_uring() == io_uring, "this kernel has no io_uring for us");
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    match task.role {
        Role::Server => {
            let mut door = Door::new(Config::default());
            if task.tls {
                door = door.tls(placed(tls::server(true)));
            }
            let here = SocketAddr::from(([127, 0, 0, 1], 0));
            let address = net.net().listen(here, door).expect("a port is free");
            println!("{}", address.port());
        }
        Role::Client => {
            let scheme = if task.tls { "wss" } else { "ws" };
            let dial = Dial::to(&format!("{scheme}://localhost:{port}/")).expect("a URL");
            let dial = dial.addresses([here]).tls(placed(tls::client(true)));
            net.net().dial(dial, ()).expect("it can be dialed");
            println!("0");
        }
    }
    let mut lap =
        Lap { task, got: 0, left: 0, before: Cost::now(), want: payload(task.size).into() };
    net.run(|net, event| lap.on(net, event)).expect("the system can wait");
}

struct Lap {
    task: Task,
    /// Bytes received in this lap.
    got: usize,
    /// Messages to send in this lap, and the cost behind them.
    left: usize,
    before: Cost,
    want: Bytes,
}

impl Lap {
    fn on(&mut self, net: &mut Net<'_, ()>, event: Event<'_, ()>) {
        let Task { way, size, lap, .. } = self.task;
        match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Message { from, message, .. } => match way {
                Way::Receive => {
                    self.got += black_box(message.as_bytes()).len();
                    if self.got == size * lap {
                        self.got = 0;
                        net.send(from, &self.before.to_now()[..]).expect("there is room");
                        self.before = Cost::now();
                    }
                }
                Way::Behind if message.as_bytes().len() < size => {
                    net.send(from, message).expect("there is room");
                }
                Way::Behind => {}
                Way::Send | Way::SendShared => {
                    self.left = lap + 1;
                    self.go_on(net, from);
                }
            },
            Event::Room(handle) => self.go_on(net, handle),
            Event::Closed { .. } => net.stop(),
            _ => {}
        }
    }

    fn go_on(&mut self, net: &mut Net<'_, ()>, to: Handle) {
        while self.left > 0 {
            let sent = match (self.left, self.task.way) {
                (1, _) => net.send(to, &self.before.to_now()[..]),
                (_, Way::Send) => net.send(to, &self.want[..]),
                _ => net.send(to, self.want.clone()),
            };
            if sent.is_err() {
                return; // `Event::Room` follows
            }
            self.left -= 1;
        }
    }
}
