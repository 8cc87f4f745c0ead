//! The opening handshake, on streams that may block or not.
pub mod client;
pub mod headers;
pub mod machine;
pub mod server;

use self::machine::{HandshakeMachine, RoundResult, StageResult, TryParse};
use super::error::{CapacityError, Error, ProtocolError, SubProtocolError};
use http::{HeaderName, Version};
use std::{
    fmt,
    io::{self, Read, Write},
};
use tickwire::handshake::HandshakeError as Refused;

/// A handshake under way.
#[derive(Debug)]
pub struct MidHandshake<Role: HandshakeRole> {
    role: Role,
    // Each round takes the machine by value, and returns it or, at the end of the stage, the
    // stream.
    machine: HandshakeMachine<Role::InternalStream>,
}

impl<Role: HandshakeRole> MidHandshake<Role> {
    /// The machine that reads or writes the heads.
    pub fn get_ref(&self) -> &HandshakeMachine<Role::InternalStream> {
        &self.machine
    }

    /// The machine that reads or writes the heads.
    pub fn get_mut(&mut self) -> &mut HandshakeMachine<Role::InternalStream> {
        &mut self.machine
    }

    /// Continues to the end, or until the stream would block.
    ///
    /// # Errors
    ///
    /// [`Interrupted`](HandshakeError::Interrupted) with the rest of the handshake, or the reason
    /// why the handshake failed.
    pub fn handshake(mut self) -> Result<Role::FinalResult, HandshakeError<Role>> {
        loop {
            self.machine = match self.machine.single_round()? {
                RoundResult::WouldBlock(machine) => {
                    return Err(HandshakeError::Interrupted(Self { machine, ..self }));
                }
                RoundResult::Incomplete(machine) => machine,
                RoundResult::StageFinished(stage) => match self.role.stage_finished(stage)? {
                    ProcessingResult::Continue(machine) => machine,
                    ProcessingResult::Done(result) => return Ok(result),
                },
            };
        }
    }
}

/// Why a handshake has made no connection.
#[derive(thiserror::Error)]
pub enum HandshakeError<Role: HandshakeRole> {
    /// The handshake is not done yet: the stream would block.
    #[error("Interrupted handshake (WouldBlock)")]
    Interrupted(MidHandshake<Role>),
    /// The handshake failed.
    #[error("{0}")]
    Failure(Error),
}

// Not `#[from]`, which would make the inner error a source: tungstenite's error has none.
impl<Role: HandshakeRole> From<Error> for HandshakeError<Role> {
    fn from(error: Error) -> Self {
        Self::Failure(error)
    }
}

// Not derived, because a role has the caller's stream and callback, which need not be `Debug`, but
// programs call `unwrap` on a result with this error.
impl<Role: HandshakeRole> fmt::Debug for HandshakeError<Role> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(_) => f.write_str("HandshakeError::Interrupted(...)"),
            Self::Failure(error) => write!(f, "HandshakeError::Failure({error:?})"),
        }
    }
}

/// One end's part in the handshake: the client's or the server's.
pub trait HandshakeRole {
    #[doc(hidden)]
    type IncomingData: TryParse;
    /// The stream.
    type InternalStream: Read + Write;
    /// What this end has once the handshake is done.
    type FinalResult;
    #[doc(hidden)]
    fn stage_finished(
        &mut self,
        finish: StageResult<Self::IncomingData, Self::InternalStream>,
    ) -> Result<ProcessingResult<Self::InternalStream, Self::FinalResult>, Error>;
}

#[doc(hidden)]
#[derive(Debug)]
pub enum ProcessingResult<Stream, FinalResult> {
    Continue(HandshakeMachine<Stream>),
    Done(FinalResult),
}

/// The Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 §4.2.2).
pub fn derive_accept_key(request_key: &[u8]) -> String {
    // As in tungstenite, the key may be any bytes. For one that isn't text the result does not
    // matter, because tickwire refuses the request.
    tickwire::handshake::accept_key(&String::from_utf8_lossy(request_key))
}

fn version_as_str(version: Version) -> Result<&'static str, Error> {
    match version {
        Version::HTTP_09 => Ok("HTTP/0.9"),
        Version::HTTP_10 => Ok("HTTP/1.0"),
        Version::HTTP_11 => Ok("HTTP/1.1"),
        _ => Err(ProtocolError::WrongHttpVersion.into()),
    }
}

/// Converts the error of a check in tickwire.
impl From<Refused> for Error {
    fn from(error: Refused) -> Self {
        const KEY: &str = "Sec-WebSocket-Key";
        const EXTENSIONS: HeaderName = http::header::SEC_WEBSOCKET_EXTENSIONS;
        let subprotocol = ProtocolError::SecWebSocketSubProtocolError;
        // If tungstenite has no variant for a header's fault, `InvalidHeader` names the header.
        // Others become `InvalidData` with tickwire's error inside, which says more than a variant
        // that nearly fits.
        match error {
            Refused::BadMethod | Refused::NotConnect => ProtocolError::WrongHttpMethod.into(),
            Refused::BadHttpVersion | Refused::OldHttpVersion => {
                ProtocolError::WrongHttpVersion.into()
            }
            Refused::NotUpgrade => ProtocolError::MissingUpgradeWebSocketHeader.into(),
            Refused::NotConnectionUpgrade => ProtocolError::MissingConnectionUpgradeHeader.into(),
            Refused::MissingVersion | Refused::UnsupportedVersion => {
                ProtocolError::MissingSecWebSocketVersionHeader.into()
            }
            Refused::MissingHeader(KEY) => ProtocolError::MissingSecWebSocketKey.into(),
            Refused::BadHeader(KEY) => ProtocolError::InvalidSecWebSocketKey.into(),
            Refused::BadAccept | Refused::MissingHeader("Sec-WebSocket-Accept") => {
                ProtocolError::SecWebSocketAcceptKeyMismatch.into()
            }
            Refused::UnexpectedSubprotocol => {
                subprotocol(SubProtocolError::InvalidSubProtocol).into()
            }
            Refused::NoSubprotocol => subprotocol(SubProtocolError::NoSubProtocol).into(),
            Refused::TooManyHeaders { .. } => CapacityError::TooManyHeaders.into(),
            Refused::HeadTooLong { .. } | Refused::RequestLineTooLong { .. } => Self::AttackAttempt,
            Refused::UnexpectedEof => ProtocolError::HandshakeIncomplete.into(),
            Refused::HostMismatch => invalid(http::header::HOST),
            Refused::HasBody => invalid(http::header::CONTENT_LENGTH),
            Refused::UnexpectedExtension | Refused::BadDeflate => invalid(EXTENSIONS),
            Refused::MissingHeader(name)
            | Refused::RepeatedHeader(name)
            | Refused::BadHeader(name) => match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => invalid(name),
                Err(error) => error.into(),
            },
            other => io::Error::new(io::ErrorKind::InvalidData, other).into(),
        }
    }
}

fn invalid(name: HeaderName) -> Error {
    ProtocolError::InvalidHeader(Box::new(name)).into()
}
