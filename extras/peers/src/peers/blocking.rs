//! What serves one connection in a thread: bare TCP; the floor and the core, whose asynchronous
//! code never waits here; tickwire's blocking adapter and tungstenite as they are.

use std::io::{Read, Write};
use std::net::TcpStream;

use tickwire::Config;
use tickwire_tungstenite::tungstenite as facade;

use super::{
    Conn, Peer,
    floor::Floor,
    raw::Raw,
    tickwire::Core,
    tungstenite::{Facade, Tungstenite, TungsteniteSmall},
};
use crate::bridge::AsAsync;
use crate::mem::now;
use crate::table::BLOCKING;

/// Serves echoes to one client to its end.
pub type Serve = fn(TcpStream);

pub const SERVERS: [(&str, Serve); 7] = [
    (Raw::NAME, raw),
    (Floor::NAME, serve::<Floor>),
    (Core::NAME, serve::<Core>),
    (BLOCKING, tickwire),
    (Tungstenite::NAME, |io| tungstenite(io, Tungstenite::config())),
    (TungsteniteSmall::NAME, |io| tungstenite(io, TungsteniteSmall::config())),
    (Facade::NAME, |io| facade(io, Facade::config())),
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
    while let Ok(Some(received)) = ws.recv_to_reply() {
        if received.sender.feed(received.message).is_err() {
            return;
        }
    }
}

/// The obvious loop of a crate that has tungstenite's API.
macro_rules! tungstenite {
    ($name:ident, $api:ident) => {
        fn $name(io: TcpStream, config: Option<$api::protocol::WebSocketConfig>) {
            let Ok(mut ws) = $api::accept_with_config(io, config) else {
                return;
            };
            while let Ok(message) = ws.read() {
                if ws.send(message).is_err() {
                    return;
                }
            }
        }
    };
}

tungstenite!(tungstenite, tungstenite);
tungstenite!(facade, facade);
