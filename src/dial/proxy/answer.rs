//! The type that the dialogue and its protocols share.
use crate::proto::handshake::{HandshakeError, Progress, Reading};
use std::{boxed::Box, vec::Vec};

/// Parses the next answer of the proxy. If this end has to send bytes after that answer, puts them
/// into the `Vec`, which was empty. If the stream has ended and the answer is incomplete, returns
/// `UnexpectedEof`, not `Partial`.
pub(super) type ReadAnswer =
    Box<dyn FnMut(&mut Reading, &mut Vec<u8>) -> Result<Progress, HandshakeError> + Send + Sync>;
