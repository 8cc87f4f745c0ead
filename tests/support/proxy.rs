//! Proxies that a test plays, and clients that go through them.
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};
use testkit::frames::read_head;
use tickwire::{Config, Dial, Error, blocking, handshake::accept_key, tokio as on_tokio};

pub use super::blocking::PATIENCE;

/// For the proxy alone.
pub const SECRET: &str = "s3cret-t0ken";
/// Base64 of `ann:s3cret-t0ken`.
pub const BASIC: &str = "YW5uOnMzY3JldC10MGtlbg==";

/// A connection of either adapter.
pub enum Ws {
    Tokio(on_tokio::WebSocket<on_tokio::MaybeTls>, tokio::runtime::Runtime),
    Blocking(blocking::WebSocket<blocking::MaybeTls>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Tokio,
    Blocking,
}

pub const WAYS: [Way; 2] = [Way::Tokio, Way::Blocking];

pub fn connect(way: Way, dial: &Dial<'_>, config: &Config) -> Result<Ws, Error> {
    Ok(match way {
        Way::Tokio => {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            Ws::Tokio(runtime.block_on(dial.connect(config))?, runtime)
        }
        Way::Blocking => Ws::Blocking(dial.blocking_connect(config)?),
    })
}

impl Ws {
    /// Sends this text, and what comes back.
    pub fn ask(&mut self, text: &str) -> String {
        let heard = match self {
            Self::Tokio(ws, runtime) => runtime.block_on(async {
                ws.send(text).await.unwrap();
                ws.recv_owned().await
            }),
            Self::Blocking(ws) => {
                ws.send(text).unwrap();
                ws.recv_owned()
            }
        };
        heard.unwrap().unwrap().as_message().as_text().unwrap().to_owned()
    }

    pub fn tcp_nodelay(&self) -> bool {
        match self {
            Self::Tokio(ws, _) => ws.get_ref().get_ref().nodelay().unwrap(),
            Self::Blocking(ws) => ws.get_ref().get_ref().nodelay().unwrap(),
        }
    }
}

/// What a test does with the first connection to this address.
pub fn first<T: Send + 'static>(
    play: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let playing = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        play(stream)
    });
    (address, playing)
}

/// A server's agreement to this request.
pub fn agreement(request: &str) -> String {
    let key = request.split_once("Sec-WebSocket-Key: ").map_or("", |(_, rest)| &rest[..24]);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    )
}

/// A server of plain `ws` that says what it is told, once.
pub fn echo() -> (SocketAddr, JoinHandle<()>) {
    first(|stream| {
        let mut ws = blocking::accept(stream, &Config::default()).unwrap();
        while let Ok(Some(received)) = ws.recv_to_reply() {
            received.sender.feed(received.message).unwrap();
        }
    })
}

/// What an honest proxy was told: in its own dialogue, and through the tunnel.
#[derive(Debug, Default)]
pub struct Told {
    pub proxy: Vec<u8>,
    pub server: Vec<u8>,
}

/// An honest proxy, which has been dialed: speaks what it is spoken to, and goes on to this server
/// whatever name it was asked for.
pub fn relay<S: blocking::Stream + Send + 'static>(mut near: S, server: SocketAddr) -> Told {
    let mut told = Told { proxy: take(&mut near, 1), ..Told::default() };
    if told.proxy == [5] {
        let methods = take(&mut near, 1);
        let offered = take(&mut near, methods[0].into());
        let method = *offered.iter().max().unwrap();
        told.proxy.extend([&methods[..], &offered].concat());
        say(&mut near, &[5, method]);
        if method == 2 {
            for len in [1, 0] {
                let before = take(&mut near, 1 + len);
                let text = take(&mut near, (*before.last().unwrap()).into());
                told.proxy.extend([before, text].concat());
            }
            say(&mut near, &[1, 0]);
        }
        let request = take(&mut near, 5);
        assert_eq!(request[3], 3, "a name is sent as a name");
        let name = take(&mut near, usize::from(request[4]) + 2);
        told.proxy.extend([request, name].concat());
        say(&mut near, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    } else {
        told.proxy.extend(read_head(&mut near).into_bytes());
        say(&mut near, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    }
    let far = TcpStream::connect(server).unwrap();
    let (back, to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    let returning = thread::spawn(move || carry(back, to, |mut to| to.shutdown()));
    told.server = carry(near, far, |far| far.shutdown(Shutdown::Write));
    returning.join().unwrap();
    told
}

fn take(io: &mut impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    io.read_exact(&mut bytes).unwrap();
    bytes
}

fn say(io: &mut impl Write, bytes: &[u8]) {
    io.write_all(bytes).unwrap();
    io.flush().unwrap();
}

/// Carries all that comes, and returns it.
fn carry<W: Write, E>(
    mut from: impl Read,
    mut to: W,
    end: impl FnOnce(W) -> Result<(), E>,
) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let n = match from.read(&mut some) {
            Ok(n @ 1..) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => break,
        };
        all.extend(&some[..n]);
        if to.write_all(&some[..n]).and_then(|()| to.flush()).is_err() {
            break;
        }
    }
    let _ = end(to);
    all
}
