//! Opcodes (RFC 6455 §5.2) and close codes (§7.4).
use std::fmt;

/// The opcode of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// The opcode of a data frame.
    Data(Data),
    /// The opcode of a control frame.
    Control(Control),
}

/// The opcodes 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// 0: the next part of the message.
    Continue,
    /// 1: text.
    Text,
    /// 2: binary.
    Binary,
    /// 3 to 7: not defined.
    Reserved(u8),
}

/// The opcodes 8 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// 8: Close.
    Close,
    /// 9: Ping.
    Ping,
    /// 10: Pong.
    Pong,
    /// 11 to 15: not defined.
    Reserved(u8),
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => f.write_str("CONTINUE"),
            Self::Text => f.write_str("TEXT"),
            Self::Binary => f.write_str("BINARY"),
            Self::Reserved(code) => write!(f, "RESERVED_DATA_{code}"),
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close => f.write_str("CLOSE"),
            Self::Ping => f.write_str("PING"),
            Self::Pong => f.write_str("PONG"),
            Self::Reserved(code) => write!(f, "RESERVED_CONTROL_{code}"),
        }
    }
}

impl fmt::Display for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => data.fmt(f),
            Self::Control(control) => control.fmt(f),
        }
    }
}

impl From<OpCode> for u8 {
    fn from(code: OpCode) -> Self {
        match code {
            OpCode::Data(Data::Continue) => 0,
            OpCode::Data(Data::Text) => 1,
            OpCode::Data(Data::Binary) => 2,
            OpCode::Control(Control::Close) => 8,
            OpCode::Control(Control::Ping) => 9,
            OpCode::Control(Control::Pong) => 10,
            OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) => code,
        }
    }
}

/// Reads only the lower four bits of the byte, because an opcode in a frame has four bits.
impl From<u8> for OpCode {
    fn from(byte: u8) -> Self {
        match byte & 0x0F {
            0 => Self::Data(Data::Continue),
            1 => Self::Data(Data::Text),
            2 => Self::Data(Data::Binary),
            code @ 3..=7 => Self::Data(Data::Reserved(code)),
            8 => Self::Control(Control::Close),
            9 => Self::Control(Control::Ping),
            10 => Self::Control(Control::Pong),
            code => Self::Control(Control::Reserved(code)),
        }
    }
}

/// Why a connection closes (§7.4.1, and IANA's registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::manual_non_exhaustive)] // programs match on all variants
pub enum CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    Normal,
    /// 1001: a server goes down, or the user leaves a page.
    Away,
    /// 1002: the peer broke the protocol.
    Protocol,
    /// 1003: this end does not accept data of this kind.
    Unsupported,
    /// 1005: stands for a Close without a code; never sent.
    Status,
    /// 1006: stands for an end without a Close; never sent.
    Abnormal,
    /// 1007: data that does not match its type, such as text that is not UTF-8.
    Invalid,
    /// 1008: a message violates a policy of this end.
    Policy,
    /// 1009: a message is too big to process.
    Size,
    /// 1010: the client needs an extension that was not agreed on.
    Extension,
    /// 1011: this end met an error of its own.
    Error,
    /// 1012: the service restarts.
    Restart,
    /// 1013: the service is overloaded; come back later.
    Again,
    /// 1015: stands for a failed TLS handshake; never sent.
    #[doc(hidden)]
    Tls,
    /// 1016 to 2999: not assigned.
    #[doc(hidden)]
    Reserved(u16),
    /// 3000 to 3999: registered at IANA.
    #[doc(hidden)]
    Iana(u16),
    /// 4000 to 4999: an application's own.
    #[doc(hidden)]
    Library(u16),
    /// Anything else.
    #[doc(hidden)]
    Bad(u16),
}

impl CloseCode {
    /// Whether a Close may carry this code.
    pub fn is_allowed(self) -> bool {
        !matches!(
            self,
            Self::Bad(_) | Self::Reserved(_) | Self::Status | Self::Abnormal | Self::Tls
        )
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u16::from(self).fmt(f)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Normal => 1000,
            CloseCode::Away => 1001,
            CloseCode::Protocol => 1002,
            CloseCode::Unsupported => 1003,
            CloseCode::Status => 1005,
            CloseCode::Abnormal => 1006,
            CloseCode::Invalid => 1007,
            CloseCode::Policy => 1008,
            CloseCode::Size => 1009,
            CloseCode::Extension => 1010,
            CloseCode::Error => 1011,
            CloseCode::Restart => 1012,
            CloseCode::Again => 1013,
            CloseCode::Tls => 1015,
            CloseCode::Reserved(code)
            | CloseCode::Iana(code)
            | CloseCode::Library(code)
            | CloseCode::Bad(code) => code,
        }
    }
}

impl From<&CloseCode> for u16 {
    fn from(code: &CloseCode) -> Self {
        (*code).into()
    }
}

/// As in tungstenite, 1004 and 1014 are `Bad`.
impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        match code {
            1000 => Self::Normal,
            1001 => Self::Away,
            1002 => Self::Protocol,
            1003 => Self::Unsupported,
            1005 => Self::Status,
            1006 => Self::Abnormal,
            1007 => Self::Invalid,
            1008 => Self::Policy,
            1009 => Self::Size,
            1010 => Self::Extension,
            1011 => Self::Error,
            1012 => Self::Restart,
            1013 => Self::Again,
            1015 => Self::Tls,
            1016..=2999 => Self::Reserved(code),
            3000..=3999 => Self::Iana(code),
            4000..=4999 => Self::Library(code),
            _ => Self::Bad(code),
        }
    }
}
