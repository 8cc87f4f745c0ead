//! What the dialogue and its protocols have in common.
use crate::proto::handshake::{HandshakeError, Progress, Reading};
use std::{boxed::Box, vec::Vec};

/// Looks for the next answer. What has to be written for the one behind it goes into the `Vec`.
pub(super) type Look =
    Box<dyn FnMut(&mut Reading, &mut Vec<u8>) -> Result<Progress, HandshakeError> + Send + Sync>;
