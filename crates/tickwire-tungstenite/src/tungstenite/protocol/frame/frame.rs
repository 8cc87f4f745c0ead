//! Single frames (RFC 6455 §5.2), for callers that send or read frames themselves.
use super::{
    Utf8Bytes,
    coding::{CloseCode, Control, Data, OpCode},
};
use crate::tungstenite::error::{ProtocolError, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::{
    fmt,
    io::{Cursor, Write},
    str::{self, Utf8Error},
};
use tickwire::mask::Masker;

/// The body of a Close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the connection closes.
    pub code: CloseCode,
    /// A text for a log. A reason to be sent has at most 123 bytes.
    pub reason: Utf8Bytes,
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code)
    }
}

/// The header of a frame, without the length of its payload.
#[allow(missing_copy_implementations)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// FIN: whether a message ends with this frame.
    pub is_final: bool,
    /// RSV1: whether the message is compressed, if permessage-deflate was agreed on.
    pub rsv1: bool,
    /// RSV2.
    pub rsv2: bool,
    /// RSV3.
    pub rsv3: bool,
    /// The type of the frame.
    pub opcode: OpCode,
    /// The masking key.
    pub mask: Option<[u8; 4]>,
}

/// The header of an unmasked Close.
impl Default for FrameHeader {
    fn default() -> Self {
        Self {
            is_final: true,
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode: OpCode::Control(Control::Close),
            mask: None,
        }
    }
}

impl FrameHeader {
    /// The length of the longest header, which a masked frame of 64 KiB or more has.
    pub(crate) const MAX_SIZE: usize = 14;

    /// Reads a header, and the length of the payload after it. Returns `None` if the header is
    /// incomplete.
    ///
    /// # Errors
    ///
    /// [`InvalidOpcode`](ProtocolError::InvalidOpcode) for a reserved opcode.
    pub fn parse(cursor: &mut Cursor<impl AsRef<[u8]>>) -> Result<Option<(Self, u64)>> {
        let mut bytes = cursor.chunk();
        let before = bytes.len();
        let Some((header, length)) = Self::take(&mut bytes) else { return Ok(None) };
        if let OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) =
            header.opcode
        {
            return Err(ProtocolError::InvalidOpcode(code).into());
        }
        let taken = before - bytes.len();
        cursor.advance(taken);
        Ok(Some((header, length)))
    }

    fn take(bytes: &mut &[u8]) -> Option<(Self, u64)> {
        let (first, second) = (bytes.try_get_u8().ok()?, bytes.try_get_u8().ok()?);
        let length = match second & 0x7F {
            126 => bytes.try_get_u16().ok()?.into(),
            127 => bytes.try_get_u64().ok()?,
            short => short.into(),
        };
        let masked = second & 0x80 != 0;
        let mask = if masked { Some(bytes.try_get_u32().ok()?.to_be_bytes()) } else { None };
        let header = Self {
            is_final: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            rsv2: first & 0x20 != 0,
            rsv3: first & 0x10 != 0,
            opcode: first.into(),
            mask,
        };
        Some((header, length))
    }

    /// The size of the header in front of a payload of `length` bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self, length: u64) -> usize {
        let extended = match length {
            0..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        2 + extended + self.mask.map_or(0, |key| key.len())
    }

    /// Writes the header for a payload of `length` bytes.
    ///
    /// # Errors
    ///
    /// The errors of `output`.
    pub fn format(&self, length: u64, output: &mut impl Write) -> Result<()> {
        let mut header = Vec::with_capacity(Self::MAX_SIZE);
        self.put(length, &mut header);
        Ok(output.write_all(&header)?)
    }

    fn put(&self, length: u64, to: &mut Vec<u8>) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let bits = bit(self.is_final, 0x80)
            | bit(self.rsv1, 0x40)
            | bit(self.rsv2, 0x20)
            | bit(self.rsv3, 0x10);
        to.push(bits | u8::from(self.opcode));
        let masked = bit(self.mask.is_some(), 0x80);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => to.push(masked | short),
            (_, Ok(long)) => {
                to.push(masked | 126);
                to.put_u16(long);
            }
            _ => {
                to.push(masked | 127);
                to.put_u64(length);
            }
        }
        to.extend_from_slice(self.mask.as_ref().map_or(&[], |key| key));
    }
}

/// A frame: a header, and a payload that is not masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    header: FrameHeader,
    payload: Bytes,
}

impl Frame {
    /// The length of the frame on the wire.
    #[inline]
    pub fn len(&self) -> usize {
        self.header.len(self.payload.len() as u64) + self.payload.len()
    }

    /// Always `false`: a frame has a header.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The header.
    #[inline]
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// The header, mutable.
    #[inline]
    pub fn header_mut(&mut self) -> &mut FrameHeader {
        &mut self.header
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload as text.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    #[inline]
    pub fn into_text(self) -> Result<Utf8Bytes, Utf8Error> {
        self.payload.try_into()
    }

    /// The payload.
    #[inline]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// The payload as borrowed text.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    #[inline]
    pub fn to_text(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(&self.payload)
    }

    /// A data frame: a whole message, or a part of one.
    #[inline]
    pub fn message(data: impl Into<Bytes>, opcode: OpCode, is_final: bool) -> Self {
        debug_assert!(matches!(opcode, OpCode::Data(_)), "not the opcode of data: {opcode}");
        Self::from_payload(FrameHeader { is_final, opcode, ..Default::default() }, data.into())
    }

    /// A Pong.
    #[inline]
    pub fn pong(data: impl Into<Bytes>) -> Self {
        Self::control(Control::Pong, data.into())
    }

    /// A Ping.
    #[inline]
    pub fn ping(data: impl Into<Bytes>) -> Self {
        Self::control(Control::Ping, data.into())
    }

    /// A Close.
    #[inline]
    pub fn close(body: Option<CloseFrame>) -> Self {
        let mut payload = BytesMut::new();
        if let Some(CloseFrame { code, reason }) = body {
            payload.put_u16(code.into());
            payload.put_slice(reason.as_bytes());
        }
        Self::control(Control::Close, payload.freeze())
    }

    fn control(control: Control, payload: Bytes) -> Self {
        let opcode = OpCode::Control(control);
        Self::from_payload(FrameHeader { opcode, ..Default::default() }, payload)
    }

    /// A frame with this header and this payload.
    pub fn from_payload(header: FrameHeader, payload: Bytes) -> Self {
        Self { header, payload }
    }

    /// Writes the frame, masked if its header has a key.
    ///
    /// # Errors
    ///
    /// The errors of `output`.
    pub fn format(self, output: &mut impl Write) -> Result<()> {
        let mut bytes = Vec::with_capacity(self.len());
        self.put(&mut bytes);
        Ok(output.write_all(&bytes)?)
    }

    /// Appends the frame to `to`.
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        self.header.put(self.payload.len() as u64, to);
        let begin = to.len();
        to.extend_from_slice(&self.payload);
        if let Some(key) = self.header.mask {
            Masker::new(key).apply(to.get_mut(begin..).unwrap_or_default());
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, .. } = self.header;
        write!(f, "<FRAME> final: {is_final} reserved: {rsv1} {rsv2} {rsv3} opcode: {opcode} ")?;
        write!(f, "length: {} payload length: {} payload: 0x", self.len(), self.payload.len())?;
        self.payload.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
