use super::{
    buffer::Buffer, buffered::Buffered, in_place::InPlace, opening::Opening, records::Records,
};
use core::mem;

pub(super) enum Engine {
    /// Does the handshake, and opens and seals the records.
    Rustls(Box<Buffered>),
    /// rustls does the handshake, and may hand over its keys afterwards.
    Opening(InPlace<Box<Opening>>),
    /// This crate opens and seals the records, in place.
    Records(InPlace<Box<Records>>),
    /// rustls is gone: it panicked, or failed to hand over the keys.
    Failed { handshaking: bool },
}

impl Engine {
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Rustls(conn) => conn.state().is_handshaking(),
            Self::Opening(opening) => opening.state().is_handshaking(),
            Self::Records(_) => false,
            Self::Failed { handshaking } => *handshaking,
        }
    }

    /// `false` for a failed server, because `may_write` would return an error that doesn't say why
    /// the server failed.
    pub(super) fn awaits_client(&self) -> bool {
        match self {
            Self::Rustls(conn) => conn.is_server() && conn.state().is_handshaking(),
            Self::Opening(opening) => opening.is_server() && opening.state().is_handshaking(),
            Self::Records(_) => false,
            Self::Failed { .. } => false,
        }
    }

    /// Drops rustls with the plaintext that it holds, and returns what the engine holds besides.
    pub(super) fn fail(&mut self) -> Buffer {
        let handshaking = self.is_handshaking();
        // Only `Opening` holds unread plaintext: `Records` leaves it in the session's `input`.
        let plain = match self {
            Self::Opening(opening) => mem::take(&mut opening.plain),
            _ => Buffer::default(),
        };
        *self = Self::Failed { handshaking };
        plain
    }
}
