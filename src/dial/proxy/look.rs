//! The type that the dialogue and its protocols share.
use crate::proto::handshake::{HandshakeError, Progress, Reading};
use std::{boxed::Box, vec::Vec};

/// Looks for the next answer. Puts the bytes to send after that answer into the `Vec`.
pub(super) type Look =
    Box<dyn FnMut(&mut Reading, &mut Vec<u8>) -> Result<Progress, HandshakeError> + Send + Sync>;
