//! What serves one connection in a thread: bare TCP; the floor and the core, whose asynchronous
//! code never waits here; tickwire's blocking adapter and tungstenite as they are.

use std::io::{Read, Write};
use std::net::TcpStream;

use tickwire::Config;

use super::{Conn, Peer, floor::Floor, raw::Raw, tickwire::Core};
use crate::bridge::AsAsync;
use crate::mem::now;
use crate::table::BLOCKING;

/// Serves echoes to one client to its end.
pub type Serve = fn(TcpStream);

pub const SERVERS: [(&str, Serve); 6] = [
    (Raw::NAME, raw),
    (Floor::NAME, serve::<Floor>),
    (Core::NAME, serve::<Core>),
    (BLOCKING, tickwire),
    ("tungstenite", |io| tungstenite(io, None)),
    ("tungstenite-4k", |io| tungstenite(io, Some(super::tungstenite::small()))),
];

/// Bytes back as they came.
fn raw(mut io: TcpStream) {
    if now(crate::net::accept_http(&mut AsAsync(&io))).is_none() {
        return;
    }
    let mut buf = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = io.read(&mut buf) {
        if io.write_all(&buf[..n]).is_err() {
            return;
        }
    }
}

fn serve<P: Peer>(io: TcpStream) {
    now(async {
        if let Some(mut conn) = P::accept(AsAsync(io)).await {
            while conn.echo_batch().await {}
        }
    });
}

/// The loop of the crate's documentation.
fn tickwire(io: TcpStream) {
    let Ok(mut ws) = tickwire::blocking::accept(io, &Config::default()) else {
        return;
    };
    while let Ok(Some(received)) = ws.recv_with() {
        if received.sender.feed(received.message).is_err() {
            return;
        }
    }
}

fn tungstenite(io: TcpStream, config: Option<tungstenite::protocol::WebSocketConfig>) {
    let Ok(mut ws) = tungstenite::accept_with_config(io, config) else {
        return;
    };
    while let Ok(message) = ws.read() {
        if ws.send(message).is_err() {
            return;
        }
    }
}
