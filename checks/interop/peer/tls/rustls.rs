//! rustls as it is, under tungstenite: both roles, and updates of its keys that ask for ours.
use super::{
    Door, Files, Way,
    talk::{PING, REASON, SIZES, bytes},
    tell, visit_in, ways,
};
use crate::Result;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};
use tickwire::tls::rustls::{
    ClientConnection, Connection, ServerConnection, pki_types::ServerName,
};
use tungstenite::{Error, Message, WebSocket, protocol::CloseFrame};

/// How data is cut into records, again and again.
const PIECES: [usize; 7] = [1, 1, 2, 17, 100, 1000, 1 << 14];

/// After so many writes the keys are updated.
const OFTEN: usize = 50;

pub(super) fn run(files: &Files) -> Result<bool> {
    let mut good = true;
    for (way, seed) in ways().into_iter().zip(1..) {
        good &= tell(format_args!("server of rustls: {way}"), client(way, seed, files));
        good &= tell(format_args!("client of rustls: {way}"), server(way, seed, files));
    }
    Ok(good)
}

/// As a client, that checks what comes back.
fn client(way: Way, seed: u64, files: &Files) -> Result<String> {
    let door = Door::open(way, seed)?;
    let (address, config) = (door.relay.address, whole(way).client(files)?);
    thread::scope(|scope| {
        let served = scope.spawn(move || door.serve(files, true));
        let conn = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
        let tls = Tls::over(conn, TcpStream::connect(address)?)?;
        let (mut ws, _) = tungstenite::client("wss://localhost/", tls)?;
        for size in SIZES {
            for message in [Message::binary(bytes(size)), Message::text("é".repeat(size / 2))] {
                ws.send(message.clone())?;
                if next(&mut ws)? != message {
                    return Err(format!("{size} bytes come back changed").into());
                }
            }
        }
        ws.send(Message::Ping(PING.into()))?;
        if next(&mut ws)? != Message::Pong(PING.into()) {
            return Err("no Pong".into());
        }
        ws.close(Some(CloseFrame { code: 3001.into(), reason: REASON.into() }))?;
        ends(ws)?;
        served.join().map_err(|_| "a panic")?
    })
}

/// As a server, that echoes.
fn server(way: Way, seed: u64, files: &Files) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("wss://localhost:{}/", listener.local_addr()?.port());
    let config = whole(way).server(files)?;
    let serves = thread::spawn(move || {
        let tls = Tls::over(ServerConnection::new(config)?, listener.accept()?.0)?;
        let mut ws = tungstenite::accept(tls).map_err(|error| error.to_string())?;
        loop {
            match ws.read()? {
                message @ (Message::Text(_) | Message::Binary(_)) => ws.send(message)?,
                Message::Close(_) => return ends(ws),
                _ => {}
            }
        }
    });
    let seen = way.client(files).and_then(|config| visit_in(way, seed, config, true, &url));
    match serves.join().map_err(|_| "a panic")? {
        Err(theirs) if seen.is_ok() => Err(theirs),
        _ => seen,
    }
}

/// With records as long as they come.
fn whole(way: Way) -> Way {
    Way { max_fragment_size: None, ..way }
}

/// The next that is no Ping of the other side.
fn next(ws: &mut WebSocket<Tls>) -> Result<Message> {
    loop {
        match ws.read()? {
            Message::Ping(_) => {}
            message => return Ok(message),
        }
    }
}

/// Reads to the end of the WebSocket, and then of TLS.
fn ends(mut ws: WebSocket<Tls>) -> Result<()> {
    loop {
        match ws.read() {
            Ok(_) => {}
            Err(Error::ConnectionClosed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let mut tls = ws.into_inner();
    tls.conn.send_close_notify();
    tls.flush()?;
    tls.tcp.shutdown(Shutdown::Write)?;
    // It is an error if no close_notify comes.
    match tls.read(&mut [0; 1])? {
        0 => Ok(()),
        _ => Err("data behind the Close".into()),
    }
}

struct Tls {
    conn: Connection,
    tcp: TcpStream,
    writes: usize,
}

impl Tls {
    fn over(conn: impl Into<Connection>, tcp: TcpStream) -> Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut this = Self { conn: conn.into(), tcp, writes: 0 };
        while this.conn.is_handshaking() {
            this.conn.complete_io(&mut this.tcp)?;
        }
        Ok(this)
    }
}

impl Read for Tls {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.conn.reader().read(to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.conn.read_tls(&mut self.tcp)?;
            self.conn.process_new_packets().map_err(io::Error::other)?;
            self.flush()?;
        }
    }
}

impl Write for Tls {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        if self.writes.is_multiple_of(OFTEN) {
            let _ = self.conn.refresh_traffic_keys(); // which TLS 1.2 has not
        }
        let most = PIECES[self.writes % PIECES.len()].min(from.len());
        let n = self.conn.writer().write(&from[..most])?;
        self.flush()?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.conn.wants_write() {
            self.conn.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }
}
