//! The same over sockets of this machine, by each adapter, whole and in halves. `slow_peer` has the
//! table.
use crate::{
    slow_peer::{self, Both, Case, Closes, Fate, keep_little, play_all},
    support::{
        placed::placed,
        tls::{Authority, async_tcp, runtime, wait},
        wire::{connection, product},
    },
};
use async_io::{Async, Timer};
use futures_util::{AsyncReadExt, future::join};
use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, LazyLock},
    thread::{self, JoinHandle},
};
use testkit::{
    PATIENCE,
    slow_reader::narrow,
    threads::{bounded, spawn},
};
use tickwire::{
    CloseCode, Error, Role, blocking, futures_io as smol,
    tls::{
        Server,
        rustls::{ClientConfig, ClientConnection, ServerConfig, StreamOwned},
    },
    tokio as tokio_ws,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Tokio,
    Smol,
    Thread,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Tcp,
    Unix,
    InPlace,
    Rustls,
    /// The TLS stream of another crate.
    Theirs,
}

struct Keys {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let authority = Authority::new();
    Keys { client: authority.client(), server: authority.server() }
});

impl Keys {
    /// For our end.
    fn server(&self, line: Line) -> Server {
        let mut config = ServerConfig::clone(&self.server);
        config.enable_secret_extraction = line == Line::InPlace;
        placed(config)
    }
}

// What our program does, with `.await` in tasks.

macro_rules! read {
    ($rx:expr, [$($wait:tt)*]) => {
        match $rx.recv()$($wait)* {
            Ok(None) => Ok(()),
            Ok(Some(_)) => panic!("the peer sends nothing"),
            Err(error) => Err(error),
        }
    };
}

macro_rules! whole {
    ($ws:ident, $case:ident, [$($wait:tt)*]) => {{
        $ws.feed($case.message()).map(drop).unwrap();
        let mut ended = match $case.closes {
            Closes::Nobody => $ws.flush()$($wait)*,
            Closes::We => $ws.close(CloseCode::GOING_AWAY)$($wait)*,
            Closes::Peer => Ok(()), // only a call that receives learns of its Close
        };
        if ended.is_ok() {
            ended = read!($ws, [$($wait)*]);
        }
        Fate::new(ended, $ws.closed())
    }};
}

/// Before a split: whichever half runs first has it.
macro_rules! begin {
    ($ws:ident, $case:ident) => {
        $ws.feed($case.message()).map(drop).unwrap();
        if $case.closes == Closes::We {
            $ws.sender_mut().close(CloseCode::GOING_AWAY).unwrap();
        }
    };
}

async fn on_tokio(io: impl AsyncRead + AsyncWrite + Unpin, halves: bool, case: Case) -> Fate {
    let mut ws = tokio_ws::WebSocket::from_parts(io, connection(Role::Server, &case.config()));
    if !halves {
        return whole!(ws, case, [.await]);
    }
    begin!(ws, case);
    let (mut reader, mut writer) = ws.into_split();
    let reads = async { read!(reader, [.await]) };
    let writes = async { writer.flush().await };
    let (read, _) = join(reads, writes).await; // the reader is told the end, whoever finds it
    Fate::new(read, reader.closed())
}

async fn on_smol<S>(io: S, halves: bool, case: Case) -> Fate
where
    S: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
{
    let conn = connection(Role::Server, &case.config());
    let mut ws = smol::WebSocket::from_parts(io, Timer::at, conn);
    if !halves {
        return whole!(ws, case, [.await]);
    }
    begin!(ws, case);
    let (mut reader, mut writer) = ws.into_split_with(AsyncReadExt::split);
    let reads = async { read!(reader, [.await]) };
    let writes = async { writer.flush().await };
    let (read, _) = join(reads, writes).await;
    Fate::new(read, reader.closed())
}

fn in_thread(io: impl blocking::Stream + Send, halves: bool, case: Case) -> Fate {
    let mut ws = blocking::WebSocket::from_parts(io, connection(Role::Server, &case.config()));
    if !halves {
        return whole!(ws, case, []);
    }
    begin!(ws, case);
    let (mut reader, mut writer) = ws.into_split().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| writer.flush());
        let read: Result<(), Error> = read!(reader, []);
        Fate::new(read, reader.closed())
    })
}

#[derive(Clone, Copy, Debug)]
struct Carrier {
    way: Way,
    line: Line,
    halves: bool,
    /// The socket has TCP_NOTSENT_LOWAT.
    lowat: bool,
}

impl Carrier {
    /// Each adapter over each stream that it has.
    fn all() -> impl Iterator<Item = Self> {
        let lines = [Line::Tcp, Line::Unix, Line::InPlace, Line::Rustls, Line::Theirs];
        let ways = product([Way::Tokio, Way::Smol, Way::Thread], lines);
        let all = product(product(ways, [false, true]), [false, true]);
        let all = all.map(|(((way, line), halves), lowat)| Self { way, line, halves, lowat });
        all.filter(|this| this.exists())
    }

    fn exists(self) -> bool {
        match (self.way, self.line) {
            (Way::Smol, Line::InPlace | Line::Rustls | Line::Theirs) => false,
            (Way::Thread, Line::Theirs) => false,
            (_, Line::Unix) => !self.lowat,
            (Way::Tokio, _) => self.lowat, // it waits until Linux tells of room
            (Way::Smol | Way::Thread, _) => true,
        }
    }

    fn on_unix(self, io: UnixStream, case: Case) -> Fate {
        match self.way {
            Way::Tokio => {
                let runtime = runtime();
                let _here = runtime.enter();
                io.set_nonblocking(true).unwrap();
                let io = tokio::net::UnixStream::from_std(io).unwrap();
                wait(&runtime, on_tokio(io, self.halves, case))
            }
            Way::Smol => {
                let io = async_net::unix::UnixStream::from(Async::new(io).unwrap());
                async_io::block_on(on_smol(io, self.halves, case))
            }
            Way::Thread => in_thread(io, self.halves, case),
        }
    }

    fn on_tcp(self, io: TcpStream, case: Case) -> Fate {
        match self.way {
            Way::Tokio => {
                let runtime = runtime();
                let io = async_tcp(&runtime, io);
                wait(&runtime, async {
                    match self.line {
                        Line::Tcp => on_tokio(io, self.halves, case).await,
                        Line::Theirs => {
                            let acceptor = TlsAcceptor::from(KEYS.server.clone());
                            let io = acceptor.accept(io).await.unwrap();
                            on_tokio(io, self.halves, case).await
                        }
                        _ => {
                            let tls = KEYS.server(self.line);
                            let mut io = tokio_ws::TlsStream::server(io, tls).unwrap();
                            io.handshake().await.unwrap();
                            on_tokio(io, self.halves, case).await
                        }
                    }
                })
            }
            Way::Smol => {
                let io = async_net::TcpStream::from(Async::new(io).unwrap());
                async_io::block_on(on_smol(io, self.halves, case))
            }
            Way::Thread if self.line == Line::Tcp => in_thread(io, self.halves, case),
            Way::Thread => {
                let mut io = blocking::TlsStream::server(io, KEYS.server(self.line)).unwrap();
                io.handshake().unwrap();
                in_thread(io, self.halves, case)
            }
        }
    }
}

impl slow_peer::Carrier for Carrier {
    fn has_deep_buffers(self) -> bool {
        !self.lowat && self.line != Line::Unix
    }

    fn open(self, case: Case) -> (Box<dyn Both>, Box<dyn FnOnce() -> Fate>) {
        let waits = |end: JoinHandle<Fate>| Box::new(|| end.join().unwrap());
        if self.line == Line::Unix {
            let (near, far) = UnixStream::pair().unwrap();
            return (Box::new(far), waits(spawn(move || self.on_unix(near, case))));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if self.lowat {
            keep_little(&listener);
        }
        let far = narrow(listener.local_addr().unwrap());
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        let (near, _) = listener.accept().unwrap();
        let end = waits(spawn(move || self.on_tcp(near, case)));
        if self.line == Line::Tcp {
            return (Box::new(far), end);
        }
        let tls = ClientConnection::new(KEYS.client.clone(), "localhost".try_into().unwrap());
        let mut tls = StreamOwned::new(tls.unwrap(), far);
        tls.conn.complete_io(&mut tls.sock).unwrap();
        (Box::new(tls), end)
    }
}

#[test]
fn who_reads_slowly_gets_all_and_who_reads_nothing_ends() {
    bounded(|| play_all(Carrier::all()));
}
