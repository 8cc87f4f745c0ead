//! Close codes and the body of a Close frame (RFC 6455 §5.5.1, §7.4).
//!
//! The connection decides whether and when a Close is sent.
pub use crate::proto::code::{CloseCode, InvalidCloseCode};
use crate::proto::{error::ProtocolError, frame::Control};
use alloc::string::String;

/// The body of a Close frame. Calls that allow an empty body take or return an `Option` of this
/// type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseFrame<'a> {
    /// Why the connection closes.
    pub code: CloseCode,
    /// The reason, for logs, not for end users (§7.1.6). A control frame has room for a reason of
    /// at most 123 bytes, so a longer reason cannot be sent. A peer's reason may contain control
    /// characters, so print it with `{:?}`.
    pub reason: &'a str,
}

/// The argument of every `close` and `abort`: a [`CloseFrame`], a [`CloseCode`], or `None` for an
/// empty body.
///
/// Every type that converts into `Option<CloseFrame>` implements this trait. The trait exists only
/// for a better error message of the compiler. With a bound on `Into` instead, the compiler would
/// list the conversions of `Option`, and not say what a body can be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the body of a Close frame",
    label = "expected a `CloseCode`, a `CloseFrame` or `None`",
    note = "`CloseCode::new(4000)` checks a number, and returns `None` for a code that must not \
            be sent",
    note = "`CloseFrame::with_reason(CloseCode::NORMAL, \"bye\")` has a code and a reason"
)]
pub trait IntoClose<'f>: Into<Option<CloseFrame<'f>>> {}

#[diagnostic::do_not_recommend]
impl<'f, C: Into<Option<CloseFrame<'f>>>> IntoClose<'f> for C {}

impl<'a> CloseFrame<'a> {
    /// Makes the body of a Close frame from a code and a reason.
    pub const fn with_reason(code: CloseCode, reason: &'a str) -> Self {
        Self { code, reason }
    }

    /// Parses the payload of a Close frame; `None` for an empty payload (§5.5.1).
    ///
    /// # Errors
    ///
    /// [`ShortClose`](ProtocolError::ShortClose) for a payload of one byte,
    /// [`BadClose`](ProtocolError::BadClose) for a code that must not be sent,
    /// [`BadUtf8`](ProtocolError::BadUtf8) for a reason that is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::ShortClose) };
        };
        let code = u16::from_be_bytes(*code);
        let code = CloseCode::new(code).ok_or(ProtocolError::BadClose { code })?;
        let reason = core::str::from_utf8(reason).map_err(|_| ProtocolError::BadUtf8)?;
        Ok(Some(Self { code, reason }))
    }

    pub(crate) fn encode(self) -> Option<Control> {
        Control::new([&self.code.get().to_be_bytes(), self.reason.as_bytes()])
    }
}

/// A [`CloseFrame`] that owns its reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedCloseFrame {
    /// Why the connection closes.
    pub code: CloseCode,
    /// The reason, for logs, not for end users (§7.1.6). A control frame has room for a reason of
    /// at most 123 bytes, so a longer reason cannot be sent. A peer's reason may contain control
    /// characters, so print it with `{:?}`.
    pub reason: String,
}

impl From<CloseFrame<'_>> for OwnedCloseFrame {
    fn from(frame: CloseFrame<'_>) -> Self {
        Self { code: frame.code, reason: frame.reason.into() }
    }
}

impl From<CloseCode> for OwnedCloseFrame {
    fn from(code: CloseCode) -> Self {
        CloseFrame::from(code).into()
    }
}

impl<'a> From<&'a OwnedCloseFrame> for CloseFrame<'a> {
    fn from(frame: &'a OwnedCloseFrame) -> Self {
        Self::with_reason(frame.code, &frame.reason)
    }
}

impl From<CloseCode> for CloseFrame<'_> {
    fn from(code: CloseCode) -> Self {
        Self { code, reason: "" }
    }
}

impl From<CloseCode> for Option<CloseFrame<'_>> {
    fn from(code: CloseCode) -> Self {
        Some(CloseFrame::from(code))
    }
}

/// Shows the code and the escaped reason.
impl core::fmt::Display for CloseFrame<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.code)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " {}", self.reason.escape_debug()) }
    }
}
