//! The checks of RFC 6455 §4.1 on a response.
use super::{Handshake, PROTOCOL};
use crate::proto::handshake::{
    HandshakeError, deflate,
    extensions::{self, Extensions},
    head::{self, Headers},
};

const ACCEPT: &str = "Sec-WebSocket-Accept";

impl Handshake {
    /// The checks of RFC 6455 §4.1 on a 101.
    pub(super) fn check(&self, headers: Headers<'_>) -> Result<(), HandshakeError> {
        if !self.outgoing().is_empty() {
            return Err(HandshakeError::EarlyResponse);
        }
        let (mut upgrade, mut connection, mut accept, mut subprotocol) = (None, false, None, None);
        let (mut offers, mut extension) = (0, false);
        for (name, value) in headers.clone() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("Upgrade") {
                let fine = value.eq_ignore_ascii_case(b"websocket");
                upgrade = Some(fine && upgrade.unwrap_or(true));
            } else if is("Connection") {
                connection |= head::has_token(value, "upgrade");
            } else if is(ACCEPT) {
                if accept.replace(value).is_some() {
                    return Err(HandshakeError::RepeatedHeader(ACCEPT));
                }
            } else if is(PROTOCOL) {
                if subprotocol.replace(value).is_some() {
                    return Err(HandshakeError::RepeatedHeader(PROTOCOL));
                }
            } else if is(extensions::NAME) {
                offers += 1;
                if offers > 1 {
                    return Err(HandshakeError::RepeatedHeader(extensions::NAME));
                }
                extension = extensions::check(value)?;
            } else if is("Transfer-Encoding") || (is("Content-Length") && value != b"0") {
                // RFC 9110 §8.6, RFC 9112 §6.1: a 101 has neither header. With either, the bytes
                // after the head could be read as a body or as frames. A length of 0 is harmless,
                // and some servers send it.
                return Err(HandshakeError::HasBody);
            }
        }
        // Items 2 and 3.
        if upgrade != Some(true) {
            return Err(HandshakeError::NotUpgrade);
        }
        if !connection {
            return Err(HandshakeError::NotConnectionUpgrade);
        }
        // Item 4: the whole value must match, including case.
        match accept {
            Some(value) if *value == self.expected => {}
            Some(_) => return Err(HandshakeError::BadAccept),
            None => return Err(HandshakeError::MissingHeader(ACCEPT)),
        }
        // Item 5.
        if extension {
            deflate::agree(Extensions::new(headers), &self.config)?;
        }
        // Item 6.
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
