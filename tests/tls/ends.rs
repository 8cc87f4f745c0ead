//! How TLS ends, by tokio whole and split, and by threads. `tls_end` has the table.
use crate::support::{
    placed::placed,
    provider::default_provider,
    tls::{async_tcp, product, runtime, tcp_pair, wait},
    tls_end::{Ended, Fate, Keys, LAYERS, Peer, State, hold, is_drawn, narrow},
    wire::{ROLES, connection},
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite},
    join,
};
use std::{
    net::TcpStream,
    sync::mpsc::{Sender, channel},
};
use testkit::{PATIENCE, threads::spawn};
use tickwire::{
    Closed, Config, Connection, Error, OwnedMessage, Role,
    blocking::{self, Stream},
    tokio as on_tokio,
    url::Target,
};

#[derive(Clone, Copy, Debug)]
enum Way {
    Whole,
    Halves,
    Thread,
}

const WAYS: [Way; 3] = [Way::Whole, Way::Halves, Way::Thread];

/// What is received, until a call says that it is over.
#[derive(Default)]
struct Heard(Vec<String>);

impl Heard {
    fn add(&mut self, received: Result<Option<OwnedMessage>, Error>) -> Option<Ended> {
        match received {
            Ok(Some(message)) => {
                self.0.push(message.as_message().as_text().unwrap().to_owned());
                None
            }
            Ok(None) => Some(Ended::InOrder),
            Err(error) => Some(Ended::by(&error)),
        }
    }

    fn fate(self, ended: Ended, closed: Option<Closed<'_>>) -> Fate {
        Fate::new(self.0, ended, closed.as_ref())
    }
}

async fn whole(io: impl AsyncRead + AsyncWrite + Unpin, conn: Connection) -> Fate {
    let mut ws = on_tokio::WebSocket::from_parts(io, conn);
    let mut heard = Heard::default();
    loop {
        if let Some(ended) = heard.add(ws.recv_owned().await) {
            return heard.fate(ended, ws.closed());
        }
    }
}

async fn halves(io: impl AsyncRead + AsyncWrite + Unpin, conn: Connection) -> Fate {
    let (mut reader, mut writer) = on_tokio::WebSocket::from_parts(io, conn).into_split();
    let reads = async {
        let mut heard = Heard::default();
        loop {
            if let Some(ended) = heard.add(reader.recv_owned().await) {
                return heard.fate(ended, reader.closed());
            }
        }
    };
    join!(reads, writer.flush()).0 // the flush may fail: the connection has ended
}

fn thread(io: impl Stream, conn: Connection) -> Fate {
    let mut ws = blocking::WebSocket::from_parts(io, conn);
    let mut heard = Heard::default();
    loop {
        if let Some(ended) = heard.add(ws.recv_owned()) {
            return heard.fate(ended, ws.closed());
        }
    }
}

async fn task(way: Way, io: impl AsyncRead + AsyncWrite + Unpin, conn: Connection) -> Fate {
    match way {
        Way::Halves => halves(io, conn).await,
        _ => whole(io, conn).await,
    }
}

/// Of this end, which says when TLS has shaken hands.
fn fate(
    way: Way,
    tcp: TcpStream,
    role: Role,
    keys: Keys,
    state: State,
    ready: &Sender<()>,
) -> Fate {
    let mut conn = connection(role, &Config::default());
    state.begin(conn.sender_mut());
    let localhost: Target = "wss://localhost/".parse().unwrap();
    if let Way::Thread = way {
        let Some((client, server)) = keys else { return thread(tcp, conn) };
        let tls = match role {
            Role::Client => blocking::TlsStream::client(tcp, &localhost, placed(client)),
            Role::Server => blocking::TlsStream::server(tcp, placed(server)),
        };
        let mut tls = tls.unwrap();
        tls.handshake().unwrap();
        ready.send(()).unwrap();
        return thread(tls, conn);
    }
    let runtime = runtime();
    let tcp = async_tcp(&runtime, tcp);
    let Some((client, server)) = keys else { return wait(&runtime, task(way, tcp, conn)) };
    let tls = match role {
        Role::Client => on_tokio::TlsStream::client(tcp, &localhost, placed(client)),
        Role::Server => on_tokio::TlsStream::server(tcp, placed(server)),
    };
    let mut tls = tls.unwrap();
    wait(&runtime, tls.handshake()).unwrap();
    ready.send(()).unwrap();
    wait(&runtime, task(way, tls, conn))
}

// A98, T27
#[test]
fn in_each_state_of_a_conversation_each_end_of_tls_is_answered_and_told() {
    for (layer, role) in product(LAYERS, ROLES) {
        let keys = layer.keys(default_provider());
        for (way, cell) in product(WAYS, layer.cells()) {
            if !is_drawn(way as usize, layer, role, cell) {
                continue;
            }
            let (near, far) = tcp_pair();
            narrow(&near).unwrap();
            let (ready, is_ready) = channel();
            let ours = keys.clone();
            let near = spawn(move || fate(way, near, role, ours, cell.0, &ready));
            let peer = Peer::new(far, role, &keys);
            if keys.is_some() {
                is_ready.recv_timeout(PATIENCE).unwrap();
            }
            hold((way, layer, role), cell, peer, || near.join().unwrap());
        }
    }
}
