//! The checks of RFC 6455 §4.1 on a response.
use super::Handshake;
use crate::proto::handshake::{
    HandshakeError, deflate, extensions,
    head::{self, Headers},
    server::{PROTOCOL, once},
};

const ACCEPT: &str = "Sec-WebSocket-Accept";

/// We compare each received name with these in a loop: without it, each would cost up to 600 bytes
/// of code.
const HEADERS: [&str; 5] = ["Upgrade", "Connection", ACCEPT, PROTOCOL, extensions::NAME];

impl Handshake {
    /// RFC 6455 §4.1. Content-Length and Transfer-Encoding are ignored: every 1xx ends at its empty
    /// line (RFC 9112 §6.3), and some servers, such as aiohttp up to version 3.5, send both.
    pub(super) fn check(&self, headers: Headers<'_>) -> Result<(), HandshakeError> {
        // What is unwritten of the request would reach the server after its 101, and be read as
        // frames.
        if !self.outgoing().is_empty() {
            return Err(HandshakeError::EarlyResponse);
        }
        let mut upgrade = None;
        let mut connection = false;
        let mut accept = None;
        let mut subprotocol = None;
        let mut extensions = None;
        let mut extended = false;
        for (name, value) in headers.clone() {
            let known = HEADERS.into_iter().find(|known| name.eq_ignore_ascii_case(known));
            match known.unwrap_or_default() {
                "Upgrade" => {
                    // Upgrade must be `websocket` alone: we asked for no other protocol.
                    let fine = value.eq_ignore_ascii_case(b"websocket");
                    upgrade = Some(fine && upgrade.unwrap_or(true));
                }
                "Connection" => connection |= head::has_token(value, "upgrade"),
                // §11.3.2 to §11.3.4: a response must not repeat these three headers.
                ACCEPT => once(&mut accept, value, ACCEPT)?,
                PROTOCOL => once(&mut subprotocol, value, PROTOCOL)?,
                extensions::NAME => {
                    once(&mut extensions, value, extensions::NAME)?;
                    extended = extensions::check(value)?;
                }
                _ => {}
            }
        }
        // §4.1 items 2 and 3.
        if upgrade != Some(true) {
            return Err(HandshakeError::NotUpgrade);
        }
        if !connection {
            return Err(HandshakeError::NotConnectionUpgrade);
        }
        // §4.1 item 4: the whole value must match, including case.
        match accept {
            Some(value) if *value == self.expected => {}
            Some(_) => return Err(HandshakeError::BadAccept),
            None => return Err(HandshakeError::MissingHeader(ACCEPT)),
        }
        // §4.1 item 5. The agreed parameters are not kept: `into_connection` computes them again.
        if extended {
            deflate::agree(headers, &self.config)?;
        }
        // §4.1 item 6.
        match subprotocol {
            Some(name) if !head::is_token(name) => Err(HandshakeError::BadHeader(PROTOCOL)),
            Some(name) if !self.subprotocols.iter().any(|ours| ours.as_bytes() == name) => {
                Err(HandshakeError::UnexpectedSubprotocol)
            }
            None if self.require_subprotocol => Err(HandshakeError::NoSubprotocol),
            Some(_) | None => Ok(()),
        }
    }
}
