use super::{
    handshake::{
        HandshakeError,
        server::{Callback, NoCallback, ServerHandshake},
    },
    protocol::{WebSocket, WebSocketConfig},
};
use std::io::{Read, Write};

/// Does the opening handshake of a server: reads the request and accepts it.
///
/// # Errors
///
/// [`Interrupted`](HandshakeError::Interrupted) if the stream would block; otherwise the reason why
/// the handshake failed.
pub fn accept<S: Read + Write>(
    stream: S,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, NoCallback>>> {
    accept_with_config(stream, None)
}

/// [`accept`] with a configuration.
///
/// # Errors
///
/// As [`accept`].
pub fn accept_with_config<S: Read + Write>(
    stream: S,
    config: Option<WebSocketConfig>,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, NoCallback>>> {
    accept_hdr_with_config(stream, NoCallback, config)
}

/// [`accept`] with a callback that sees the request, and may refuse it.
///
/// # Errors
///
/// As [`accept`].
pub fn accept_hdr<S: Read + Write, C: Callback>(
    stream: S,
    callback: C,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, C>>> {
    accept_hdr_with_config(stream, callback, None)
}

/// [`accept_hdr`] with a configuration.
///
/// # Errors
///
/// As [`accept`].
pub fn accept_hdr_with_config<S: Read + Write, C: Callback>(
    stream: S,
    callback: C,
    config: Option<WebSocketConfig>,
) -> Result<WebSocket<S>, HandshakeError<ServerHandshake<S, C>>> {
    ServerHandshake::start(stream, callback, config).handshake()
}
