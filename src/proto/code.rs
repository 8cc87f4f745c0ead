//! Close codes (RFC 6455 §7.4), and what a client does after the end of a connection.
use crate::proto::debug::debug_text;
use core::fmt;

/// What a client that must stay connected does next, after its connection has ended or its attempt
/// to connect has failed. `Backoff` of the crate `tickwire-parts` computes the delays.
///
/// The method `retry` of [`Error`](crate::Error), of
/// [`HandshakeError`](crate::handshake::HandshakeError) and of [`CloseCode`] returns a `Retry`. A
/// client that may give up does so unless it is [`BackOff`](Self::BackOff).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Exhaustive: with a `_` arm, a caller could give up too early on a new variant, or retry where a
// retry does harm.
pub enum Retry {
    /// A new connection may succeed soon: connect again with growing delays.
    BackOff,
    /// The fault, such as a 404 or a violation of the protocol by the peer, may be permanent. But
    /// it may also be temporary: exchanges answer 404 during maintenance. Tell a person, and try
    /// again rarely.
    Alarm,
    /// Repeating the attempt does harm, or cannot succeed. For example, an attempt can prolong an
    /// exchange's ban, wrong credentials can lock an account, and a certificate for another name
    /// may be an attack. Tell a person, and connect again only when that person says so.
    Stop,
}

/// A close code that may appear in a Close frame (§7.4): 1000–1003, 1007–1014, 3000–4999.
///
/// The codes 1005, 1006 and 1015 are no values of this type, because they must never be sent. They
/// only tell a program that a Close had no code (1005), that no Close came (1006), or that the TLS
/// handshake failed (1015). [`Closed::code`](crate::Closed::code) may be 1005 or 1006. In the texts
/// of the constants, "this end" is the end that sends the Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: this end leaves, for example because a server shuts down or a user leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: data of a kind that this end does not accept, such as text instead of binary.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that does not match its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message violates a policy of this end, and no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: a client needs an extension that the server did not agree to. Only a client begins to
    /// close with this code. A server sends the code only in its answer to a Close with this code.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: this end had an internal error.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts; come back after a random delay (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: this end is overloaded; come back later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from its upstream (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Checks a code. `None` for a code that must not appear in a Close frame: 1004–1006, 1015, the
    /// unassigned codes up to 2999, and all codes below 1000 or from 5000 on.
    #[inline]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// What a client that must stay connected does after a Close with this code, *soon after
    /// connecting*. A number alone can't say more: after hours of life 1000 and 1008 are how
    /// exchanges end a day, and the client dials again. `Backoff::after_close` of `tickwire-parts`
    /// has this rule.
    ///
    /// | result | codes | because |
    /// |---|---|---|
    /// | [`Retry::Stop`] | 3000 | unauthorized: the same credentials fail again |
    /// | [`Retry::Alarm`] | 1000 | the purpose of the connection is fulfilled |
    /// | [`Retry::Alarm`] | 1002, 1003, 1007–1010, 3003 | the same client would get the same code again |
    /// | [`Retry::BackOff`] | all others | they may pass; also the codes of applications (4000–4999), whose meaning this crate does not know |
    pub const fn retry(self) -> Retry {
        match self.0 {
            3000 => Retry::Stop,
            1000 | 1002 | 1003 | 1007..=1010 | 3003 => Retry::Alarm,
            _ => Retry::BackOff,
        }
    }

    /// The number, as on the wire.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Does the same as [`CloseCode::new`], with an error in place of `None`.
///
/// ```
/// use tickwire::CloseCode;
///
/// assert_eq!(CloseCode::try_from(4001).map(u16::from), Ok(4001));
/// let error = CloseCode::try_from(1005).unwrap_err();
/// assert_eq!(error.to_string(), "1005 is no close code that a Close frame may have");
/// ```
impl TryFrom<u16> for CloseCode {
    type Error = InvalidCloseCode;

    fn try_from(code: u16) -> Result<Self, InvalidCloseCode> {
        Self::new(code).ok_or(InvalidCloseCode(code))
    }
}

/// The error of `CloseCode::try_from`: no Close frame may have this number.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no close code that a Close frame may have")]
pub struct InvalidCloseCode(u16);

impl InvalidCloseCode {
    /// The number that is no close code.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for InvalidCloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InvalidCloseCode").field(&self.0).finish()?;
        debug_text(f, self)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
