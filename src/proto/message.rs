//! Messages, events and chunks, received and sent. All are borrowed, except [`OwnedMessage`].
use crate::proto::{block, close::CloseFrame, kernel::Text, time::Time};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::{fmt, time::Duration};

/// The two kinds of data message (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Exhaustive: §5.6 has two kinds, and this crate negotiates no extension that adds a kind.
pub enum DataKind {
    /// Text, which must be valid UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// A whole data message that borrows its payload. A received message borrows the connection's
/// buffer. A message to send borrows the caller's data.
///
/// A received message is valid until the next receiving call. To keep the message, use
/// [`into_owned`](Self::into_owned).
///
/// # Borrow errors
///
/// A received message borrows the WebSocket, so the compiler refuses (E0499 or E0502) any other use
/// of the WebSocket while the message is in use. To avoid this error:
///
/// - To answer a message, receive with `recv_to_reply`, which returns the sender together with the
///   message. Or split the WebSocket.
/// - To keep messages in a `Vec`, or to hand them to another task or thread, receive with
///   `recv_owned`. The [`OwnedMessage`] that it returns borrows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
// Exhaustive: see `DataKind`.
pub enum Message<'a> {
    /// Text. A received text was checked to be valid UTF-8.
    Text(&'a str),
    /// Binary data.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload, whatever the kind.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text; `None` for binary data.
    #[inline]
    pub const fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Text or binary.
    #[inline]
    pub const fn kind(self) -> DataKind {
        match self {
            Self::Text(_) => DataKind::Text,
            Self::Binary(_) => DataKind::Binary,
        }
    }

    /// Returns a copy with its own allocation. The copy outlives the connection's buffer.
    ///
    /// `to_owned` comes from `Clone` and copies the reference only.
    #[inline]
    // Not named `to_owned`: on a `&Message` the compiler would take that of `ToOwned`.
    pub fn into_owned(self) -> OwnedMessage {
        match self {
            Self::Text(text) => Text::from(text).into(),
            Self::Binary(bytes) => Bytes::copy_from_slice(bytes).into(),
        }
    }
}

/// Shows at most the first 64 bytes, and escapes unprintable characters, so that a log line stays
/// one short line. A text is cut before a character that does not fit.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let len = self.as_bytes().len();
        match self {
            Self::Text(text) => {
                let to = (0..=SHOWN.min(len)).rev().find(|&i| text.is_char_boundary(i));
                write!(f, "Text({:?}", to.and_then(|to| text.get(..to)).unwrap_or_default())?;
            }
            Self::Binary(bytes) => {
                let shown = bytes.get(..SHOWN.min(len)).unwrap_or_default();
                write!(f, "Binary(b\"{}\"", shown.escape_ascii())?;
            }
        }
        if len > SHOWN { write!(f, ".. {len} bytes)") } else { f.write_str(")") }
    }
}

impl AsRef<[u8]> for Message<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

macro_rules! lent {
    ($($Of:ty => $Kind:ident),*) => {$(
        impl<'a> From<&'a $Of> for Message<'a> {
            #[inline]
            fn from(payload: &'a $Of) -> Self {
                Self::$Kind(payload)
            }
        }
    )*};
}
lent!(str => Text, String => Text, Text => Text);
lent!([u8] => Binary, Vec<u8> => Binary, Bytes => Binary);

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    #[inline]
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a OwnedMessage> for Message<'a> {
    #[inline]
    fn from(message: &'a OwnedMessage) -> Self {
        message.as_message()
    }
}

/// A received message or control frame. If the crate answers Pings or Closes automatically, the
/// answer is already queued when the program gets the event, unless a write has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: §5.2 defines no other kind of message or control frame.
pub enum Event<'a> {
    /// A whole data message.
    Message(Message<'a>),
    /// A Ping with its payload, at most 125 bytes (§5.5.2).
    Ping(&'a [u8]),
    /// A Pong with its payload, at most 125 bytes (§5.5.3).
    Pong(&'a [u8]),
    /// A Close; `None` for an empty body (§5.5.1). Later input is ignored.
    Close(Option<CloseFrame<'a>>),
}

/// A part of a message, for messages that are too large for memory. The boundaries between chunks
/// have no meaning (§5.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The kind of the whole message.
    pub kind: DataKind,
    /// Whether the message begins with this chunk.
    pub first: bool,
    /// The bytes of this chunk; may be empty. A chunk of text may end inside a character, but the
    /// chunks received so far always join to the beginning of a valid text.
    pub data: &'a [u8],
    /// Whether the message ends with this chunk.
    pub last: bool,
}

impl fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, first, data, last } = self;
        let data = Message::Binary(data);
        write!(f, "Chunk {{ {kind:?}, first: {first}, {data:?}, last: {last} }}")
    }
}

/// Facts about a received message besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Whether another data message follows in the bytes already read, with only control frames in
    /// between. Only a message that is complete, unfragmented and within the limits counts; its
    /// UTF-8 and inflated length are not checked yet. Bytes that the operating system still holds
    /// do not count.
    pub more: bool,
    /// The number of messages delivered between the last [commit](crate::Receiver::commit) and this
    /// message. Messages that the program skipped count too.
    pub ahead: u32,
    /// The time of the read that completed the message, if the caller passed the time to
    /// [`set_read`](crate::Receiver::set_read). The time counts from the caller's epoch.
    ///
    /// The adapters pass the time if [`stamp_reads`](crate::Config::stamp_reads) is set. An
    /// adapter's epoch is the moment when it began to dial, began to accept, or took over the
    /// connection. The program cannot read this epoch, so only the difference of two times of the
    /// same connection has a meaning: the time between two reads. To learn how old a message is,
    /// use [`arrived`](Self::arrived), or write an event loop, which can choose the epoch.
    pub read_at: Option<Time>,
    /// The arrival time, by the kernel's timestamps, of the last bytes in the read that completed
    /// the message. The adapters set this value if the stream is or contains a `Timestamped` and
    /// [`stamp_reads`](crate::Config::stamp_reads) is set. Your own event loop can set it with
    /// [`set_read`](crate::Receiver::set_read). Otherwise `arrived` is `None`.
    pub arrived: Option<Arrival>,
}

/// When bytes arrived, by the kernel's timestamps (`Timestamped`). If a read got bytes of several
/// segments, this is the time of the last segment. So a message from an earlier segment of that
/// read arrived earlier than this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive, so that an event loop can build an `Arrival` from a `cmsg` of `recvmsg`.
pub struct Arrival {
    /// When the kernel got the segment from the driver, as time since 1970 (CLOCK_REALTIME).
    /// `UNIX_EPOCH + software` is a `SystemTime`. If the system's clock is set back, a later
    /// segment can have a smaller value.
    pub software: Duration,
    /// When the network card received the segment, by the card's clock. The driver must support
    /// these times, and you must switch them on (`hwstamp_ctl`, `SIOCSHWTSTAMP`). The card decides
    /// the epoch, which is the epoch of TAI if PTP sets the card's clock. The kernel's value is
    /// passed on unchanged. This field is untested, because no test machine had a card with
    /// timestamps.
    pub hardware: Option<Duration>,
}

/// A message that owns its payload. An `OwnedMessage` is cheap to clone, and can go to other
/// threads and through channels.
///
/// `&str`, `String`, [`Text`] and references to them convert into text. Byte slices and arrays,
/// `Vec<u8>`, [`Bytes`] and references to them convert into binary data. A [`Message`] keeps its
/// kind. `Bytes::from(message)` returns the payload without copying it.
///
/// # What a kept message keeps alive
///
/// A message of up to 4 KiB that `recv_owned` returned is a part of a block of 36 KiB. All
/// connections of a thread share these blocks. A thousand messages of 200 bytes, if all are kept,
/// take six blocks of two allocations each. If each message is dropped before the next is received,
/// one block serves all messages. A full block is freed when the last of its messages is dropped.
/// So if you keep only a few of many messages for long, keep copies instead of whole blocks:
/// `message.as_message().into_owned()` makes a copy with an allocation of its own.
///
/// A message of more than 4 KiB keeps alive the buffer into which it was received or inflated, if
/// the message fills at least half of that buffer. Otherwise the message has its own allocation.
/// Each thread also keeps alive the block that it is filling. Without `std`, blocks are not used.
#[derive(Clone, PartialEq, Eq, Hash)]
// Exhaustive: see `DataKind`.
pub enum OwnedMessage {
    /// Text.
    Text(Text),
    /// Binary data.
    Binary(Bytes),
}

impl OwnedMessage {
    /// Makes a text message. A `String` or a [`Text`] is not copied. Do not make a message only to
    /// send it, because `send` and `feed` take text and bytes as they are.
    ///
    /// ```
    /// use tickwire::OwnedMessage;
    ///
    /// assert_eq!(OwnedMessage::text("tick").as_text(), Some("tick"));
    /// assert_eq!(OwnedMessage::binary(vec![1, 2]).as_text(), None);
    /// ```
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// Makes a binary message, without a copy. To copy a borrowed slice, convert it:
    /// `OwnedMessage::from(slice)`.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    #[inline(always)] // see `Receiver::take_short`
    pub(crate) fn kept(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(Text::kept(text)),
            Message::Binary(bytes) => Self::Binary(block::copy(bytes)),
        }
    }

    /// Borrows the message, to match on its kind or to copy it.
    #[inline]
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// The payload, whatever the kind.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.as_message().as_bytes()
    }

    /// The text; `None` for binary data.
    #[inline]
    pub fn as_text(&self) -> Option<&str> {
        self.as_message().as_text()
    }

    pub(crate) fn kind(&self) -> DataKind {
        self.as_message().kind()
    }
}

/// Copies the payload.
impl<'a, M: Into<Message<'a>>> From<M> for OwnedMessage {
    fn from(message: M) -> Self {
        message.into().into_owned()
    }
}

/// Makes a text message, without a copy.
impl From<String> for OwnedMessage {
    fn from(text: String) -> Self {
        Text::from(text).into()
    }
}

/// Makes a binary message, without a copy.
impl From<Vec<u8>> for OwnedMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

/// Makes a binary message, without a copy.
impl From<Bytes> for OwnedMessage {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

/// Returns the payload, whatever the kind, without a copy.
impl From<OwnedMessage> for Bytes {
    #[inline]
    fn from(message: OwnedMessage) -> Self {
        match message {
            OwnedMessage::Text(text) => text.into(),
            OwnedMessage::Binary(bytes) => bytes,
        }
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_message().fmt(f)
    }
}
