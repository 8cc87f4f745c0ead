//! Single frames (RFC 6455 §5.2), for programs that send or read frames themselves.
use super::{
    Utf8Bytes,
    coding::{CloseCode, Control, OpCode},
};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;
use tickwire::{
    frame::{Header, MAX_HEADER_LEN, OpCode as Known},
    mask::Masker,
};

/// The body of a Close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the connection closes.
    pub code: CloseCode,
    /// A text for a log. At most 123 bytes can be sent.
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

/// The default is the header of an unmasked Close, as in tungstenite.
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
    /// The size of the header in front of a payload of `length` bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self, length: u64) -> usize {
        self.encode(length).1
    }

    /// The bytes, and their number.
    pub(crate) fn encode(&self, length: u64) -> ([u8; MAX_HEADER_LEN], usize) {
        let Self { is_final: fin, rsv1, rsv2, rsv3, mask: masking_key, .. } = *self;
        let opcode = Known::Continuation;
        let header = Header { fin, rsv1, rsv2, rsv3, opcode, masking_key, payload_len: length };
        let (mut bytes, n) = header.encode();
        // A program may send a reserved opcode to test a peer, but tickwire's type has none: so the
        // header is encoded as a Continuation, whose opcode bits are 0, and this adds the real one.
        bytes[0] |= u8::from(self.opcode);
        (bytes, n)
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

    /// The payload.
    #[inline]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// A data frame: a whole message, or a part of one.
    #[inline]
    pub fn message(data: impl Into<Bytes>, opcode: OpCode, is_final: bool) -> Self {
        debug_assert!(matches!(opcode, OpCode::Data(_)), "not the opcode of data: {opcode}");
        Self::from_payload(FrameHeader { is_final, opcode, ..Default::default() }, data.into())
    }

    /// Makes a Pong frame, which answers a Ping with this data.
    #[inline]
    pub fn pong(data: impl Into<Bytes>) -> Self {
        Self::control(Control::Pong, data.into())
    }

    /// Makes a Ping frame. The peer answers it with a Pong that has the same data.
    #[inline]
    pub fn ping(data: impl Into<Bytes>) -> Self {
        Self::control(Control::Ping, data.into())
    }

    /// Makes a Close frame. `None`: without a code and a reason.
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

    /// Masked if its header has a key.
    pub(crate) fn put(&self, to: &mut BytesMut) {
        to.reserve(self.len());
        let (header, n) = self.header.encode(self.payload.len() as u64);
        to.extend_from_slice(header.get(..n).unwrap_or(&header));
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
        // The lines of tungstenite: a program may compare them.
        write!(f, "\n<FRAME>\nfinal: {is_final}\nreserved: {rsv1} {rsv2} {rsv3}\n")?;
        write!(f, "opcode: {opcode}\nlength: {}\n", self.len())?;
        write!(f, "payload length: {}\npayload: 0x", self.payload.len())?;
        self.payload.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "\n            ")
    }
}
