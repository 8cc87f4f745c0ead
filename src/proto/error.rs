//! Errors, with a type for each party at fault: [`ProtocolError`] for the peer, [`SendError`] for
//! the caller.
//!
//! All these errors are `Copy` and small, and contain no text from the wire.
use crate::proto::{code::CloseCode, debug::debug_error};

/// The peer broke RFC 6455 or RFC 7692. A connection that finds this error fails with
/// [`RecvError::Protocol`], and reports the [`close_code`](RecvError::close_code) to the peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame sets a reserved bit that no negotiated extension defines (§5.2).
    #[error("reserved bit set without an extension that defines it")]
    ReservedBits,
    /// An opcode of 0x3–0x7 or 0xB–0xF (§5.2).
    #[error("reserved opcode")]
    ReservedOpCode,
    /// A control frame that is a fragment, or longer than 125 bytes (§5.5).
    #[error("control frame fragmented or longer than 125 bytes")]
    BadControlFrame,
    /// A payload length not in its shortest form, or above 2⁶³ − 1 (§5.2).
    #[error("payload length not in its shortest form, or above 2^63 - 1")]
    BadLength,
    /// An unmasked frame from a client (§5.1).
    #[error("frame from a client is not masked")]
    MaskRequired,
    /// A masked frame from a server (§5.1).
    #[error("frame from a server is masked")]
    MaskForbidden,
    /// A continuation frame outside a fragmented message (§5.4).
    #[error("continuation frame without a message begun")]
    UnexpectedContinuation,
    /// A new message inside a fragmented message (§5.4).
    #[error("new message inside a fragmented one")]
    ExpectedContinuation,
    /// A Close whose code must not be sent, or is not defined for this range (§7.4).
    #[error("Close frame with the code {code}, which must not be sent")]
    BadClose {
        /// The code.
        code: u16,
    },
    /// A Close whose body is one byte, too short for a code (§5.5.1).
    #[error("Close frame with a body of one byte, too short for a code")]
    ShortClose,
    /// A text, or the reason of a Close, that is not UTF-8 (§8.1).
    #[error("invalid UTF-8")]
    BadUtf8,
    /// A compressed message that cannot be inflated or is incomplete (RFC 7692 §7.2.2).
    #[error("compressed message is corrupt or incomplete")]
    BadDeflate,
}

debug_error! {
    ProtocolError:
    ReservedBits, ReservedOpCode, BadControlFrame, BadLength, MaskRequired, MaskForbidden,
    UnexpectedContinuation, ExpectedContinuation, BadClose { code }, ShortClose, BadUtf8,
    BadDeflate,
}

/// Why nothing more can be received. Every later receiving call repeats the error. In the variants
/// below, "answered with Close 1009" means that a Close with this code is queued, unless a Close of
/// ours was already queued or a write had already failed.
///
/// The variants show limits as `u32`. A limit above `u32::MAX` is shown as `u32::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The peer broke the protocol; answered with Close 1002 or 1007.
    #[error("peer violated the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// A message longer than [`max_message`](crate::Config::max_message); answered with Close 1009.
    #[error("message longer than the limit of {limit} bytes (max_message)")]
    MessageTooBig {
        /// The limit in bytes.
        limit: u32,
    },
    /// A frame longer than [`max_frame`](crate::Config::max_frame); answered with Close 1009.
    #[error("frame longer than the limit of {limit} bytes (max_frame)")]
    FrameTooBig {
        /// The limit in bytes.
        limit: u32,
    },
    /// A message of more fragments than [`max_fragments`](crate::Config::max_fragments); answered
    /// with Close 1008.
    #[error("message of more than {limit} fragments (max_fragments)")]
    TooManyFragments {
        /// The most fragments allowed.
        limit: u32,
    },
    /// The application called [`Connection::fail`](crate::Connection::fail) with this code.
    /// Answered with a Close of this code.
    #[error("failed by this end with close code {code}")]
    Failed {
        /// The code given to `fail`.
        code: CloseCode,
    },
    /// The stream ended without a Close from the peer; `closed()` then has the code 1006 (§7.1.5).
    /// This error is also common after our Close, because some peers end the stream instead of
    /// answering. Over TLS, the stream may have ended with or without a close_notify.
    #[error("stream ended without a closing handshake")]
    UnexpectedEof,
    /// Nothing arrived within the heartbeat's timeout after a Ping was written, or while the stream
    /// refused it and took no byte.
    #[error("no sign of life from the peer within the heartbeat's timeout (heartbeat)")]
    PongTimeout,
    /// No message, and no byte of a message, arrived within
    /// [`data_timeout`](crate::Config::data_timeout). Answered with Close 1001, because the peer
    /// may still be alive.
    #[error("no data from the peer within the data timeout (data_timeout)")]
    DataTimeout,
    /// Closing took longer than [`close_timeout`](crate::Config::close_timeout), or than the time
    /// given to `leave`. Either the stream refused our Close, or bytes before it, for too long, or
    /// the peer's Close did not arrive in time. (This end waits for the peer's Close once ours was
    /// written, and after a failed write.) [`Closed::unconfirmed`](crate::Closed::unconfirmed) says
    /// whether the peer ended the stream afterwards.
    #[error("closing handshake not finished in time (close_timeout, or that of leave)")]
    CloseTimeout,
    /// A frame, or a message in several frames, was not complete in the time that
    /// [`frame_timeout`](crate::Config::frame_timeout) gives it.
    #[error("frame or message not complete within the frame timeout (frame_timeout)")]
    FrameTimeout,
    /// Bytes waited to be sent, and the stream took none of them, or too few, in the time
    /// [`write_timeout`](crate::Config::write_timeout).
    #[error("too little progress in writing within the write timeout (write_timeout)")]
    WriteTimeout,
}

debug_error! {
    RecvError:
    [Protocol]
    MessageTooBig { limit }, FrameTooBig { limit }, TooManyFragments { limit }, Failed { code },
    UnexpectedEof, PongTimeout, DataTimeout, CloseTimeout, FrameTimeout, WriteTimeout,
}

impl RecvError {
    /// The close code with which this end reports the error to the peer. `None` if the stream
    /// ended, or if a deadline other than `data_timeout` passed. In these cases our Close was sent
    /// already, or would most likely not arrive.
    // The adapters' `Error::retry` uses this: `BackOff` for each `RecvError` without a code, and
    // for `DataTimeout`.
    pub const fn close_code(self) -> Option<CloseCode> {
        match self {
            // §7.4.1: 1007 is for data that does not match the type of its message.
            Self::Protocol(ProtocolError::BadUtf8 | ProtocolError::BadDeflate) => {
                Some(CloseCode::INVALID_PAYLOAD)
            }
            Self::Protocol(_) => Some(CloseCode::PROTOCOL_ERROR),
            Self::MessageTooBig { .. } | Self::FrameTooBig { .. } => {
                Some(CloseCode::MESSAGE_TOO_BIG)
            }
            Self::TooManyFragments { .. } => Some(CloseCode::POLICY_VIOLATION),
            Self::Failed { code } => Some(code),
            Self::DataTimeout => Some(CloseCode::GOING_AWAY),
            _ => None,
        }
    }
}

/// The caller asked for something that can never be sent, or that cannot be sent now. Nothing was
/// queued. Only [`Closed`](Self::Closed) means that no later call can send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The unwritten bytes have reached [`high_water`](crate::Config::high_water). Flush first.
    #[error(
        "{buffered} bytes buffered, limit {limit}: flush, or wait for `ready`, then feed again"
    )]
    Full {
        /// The unwritten bytes; `u32::MAX` stands for any larger number.
        buffered: u32,
        /// The limit `high_water` in bytes; `u32::MAX` stands for any larger number.
        limit: u32,
    },
    /// Our Close was queued, or the connection or a write failed, so nothing more can be sent. If
    /// you did not close this end yourself, a receiving call returns the reason.
    #[error("nothing more can be sent, this end is closed: receive to learn why")]
    Closed,
    /// A message in chunks is not finished, so another message would end up inside it (§5.4).
    #[error("a message in chunks is in progress: feed its `last` chunk first")]
    MessageInProgress,
    /// A chunk without `first` was fed while no message is in progress (§5.4).
    #[error("no message in chunks is in progress: feed a `first` chunk")]
    NoMessage,
    /// A Ping's or Pong's payload is longer than 125 bytes (§5.5).
    #[error("control payload longer than 125 bytes")]
    ControlTooLong,
    /// A Close's reason is longer than 123 bytes (§5.5).
    #[error("close reason longer than 123 bytes")]
    ReasonTooLong,
    /// The close code is 1010, which only clients may send (§7.4.1).
    #[error("close code 1010 is sent by clients only")]
    BadCloseCode,
    /// The chunks of a text, or the bytes of a text built in the outgoing buffer, are not valid
    /// UTF-8 (§5.6).
    #[error("text is not valid UTF-8: send such bytes as binary")]
    BadUtf8,
}

debug_error! {
    SendError:
    Full { buffered, limit }, Closed, MessageInProgress, NoMessage, ControlTooLong, ReasonTooLong,
    BadCloseCode, BadUtf8,
}

/// The caller wants a closed half, so it is no error that the half is closed already.
pub(crate) fn begun(closed: Result<(), SendError>) -> Result<(), SendError> {
    closed.or_else(|error| if error == SendError::Closed { Ok(()) } else { Err(error) })
}

/// `u32` keeps the errors small.
pub(crate) fn shown(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
