//! Messages to send, borrowed or owned.
pub(crate) mod prepared;

use crate::proto::message::{DataKind, Message, OwnedMessage};
use alloc::{borrow::Cow, boxed::Box, string::String, sync::Arc, vec::Vec};
use bytes::Bytes;
use core::fmt;
use prepared::Prepared;

/// A message to be sent: the argument of [`Sender::feed`](crate::Sender::feed).
///
/// These types convert into an `Outbound`:
///
/// - `&str`, `&[u8]`, `&[u8; N]`, [`Message`] and references to `String`, `Vec<u8>`, [`Bytes`] and
///   [`OwnedMessage`]. The payload is copied into the outgoing buffer. But `send` of a server's
///   adapter writes a long one (the rule for `String` says which) without a copy while nothing else
///   is queued, and copies only what the stream refuses.
/// - `String`, `Box<str>`, `Vec<u8>`, [`Bytes`] and [`OwnedMessage`]. If the message is not
///   compressed, a server copies a payload of less than
///   [`min_vectored`](crate::Config::min_vectored) bytes, and sends any other payload without a
///   copy, by a vectored write. But over a stream without vectored writes, and in
///   [`feed_first`](crate::Sender::feed_first), the server copies every payload.
/// - `[u8; N]`, which is copied into a `Vec`. To save the allocation, pass a reference.
/// - `Cow<str>`, which is treated like the `&str` or the `String` in it.
/// - `Arc<str>`. Its text is first copied into a `String`. To copy only once, pass a `&str`.
/// - [`Prepared`] or a reference to it. The rule for `String` decides whether a server copies this
///   payload.
///
/// A client copies every payload, because it masks the copy. Text types become text messages, and
/// byte types become binary messages. [`Message`], [`OwnedMessage`] and [`Prepared`] keep their
/// kind.
#[derive(Clone)]
pub struct Outbound<'a> {
    pub(crate) content: Content<'a>,
    /// The message must not be compressed.
    pub(crate) plain: bool,
}

#[derive(Clone)]
pub(crate) enum Content<'a> {
    Borrowed(Message<'a>),
    /// Becomes `Bytes`, which may allocate, only if the payload is not copied into the outgoing
    /// buffer.
    Vec(DataKind, Vec<u8>),
    Shared(OwnedMessage),
    Prepared(Cow<'a, Prepared>),
}

/// The argument of every `send` and `feed`: text, bytes, a [`Message`], an [`OwnedMessage`], a
/// [`Prepared`], or an [`Outbound`].
///
/// Every type that converts into [`Outbound`] implements this trait, so your type needs only a
/// conversion (`From`) into `Outbound`. The trait exists only for a better error message of the
/// compiler. With a bound on `Into` instead, the compiler would list the conversions of `Outbound`,
/// and not say what can be sent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a message",
    label = "expected text (`&str`, `String`, `Text`), bytes (`&[u8]`, `Vec<u8>`, `Bytes`), \
             a `Message`, an `OwnedMessage` or a `Prepared`",
    note = "encode a value of your own into text or bytes first"
)]
pub trait IntoOutbound<'m>: Into<Outbound<'m>> {
    /// Nothing calls this. Without a method of `&mut self`, clippy would advise to write
    /// `feed(array)` instead of `feed(&array)`, and an array passed by value needs an allocation.
    #[doc(hidden)]
    fn __by_reference(&mut self) {}
}

#[diagnostic::do_not_recommend]
impl<'m, M: Into<Outbound<'m>>> IntoOutbound<'m> for M {}

impl<'a> Outbound<'a> {
    /// Makes a message that is never compressed. Use this for secrets if the connection may
    /// compress.
    ///
    /// The length of a compressed message shows how much the message repeats itself or, with
    /// context takeover, earlier messages. An attacker who sees this length can guess a secret byte
    /// by byte (CRIME, BREACH; RFC 7692 §8). The attack works only if text that the attacker chose
    /// is compressed together with the secret. Later messages never refer back to a plain message.
    pub fn plain(message: impl Into<Self>) -> Self {
        Self { plain: true, ..message.into() }
    }

    /// Returns the message with an owned payload. A borrowed payload is copied, but the payload of
    /// a [`Prepared`] is shared.
    pub fn into_owned(self) -> Outbound<'static> {
        let content = match self.content {
            Content::Borrowed(message) => Content::Shared(message.into_owned()),
            Content::Vec(kind, bytes) => Content::Vec(kind, bytes),
            Content::Shared(message) => Content::Shared(message),
            Content::Prepared(message) => Content::Prepared(Cow::Owned(message.into_owned())),
        };
        Outbound { content, ..self }
    }

    pub(crate) fn parts(&self) -> (DataKind, &[u8]) {
        match &self.content {
            Content::Borrowed(message) => (message.kind(), message.as_bytes()),
            Content::Vec(kind, bytes) => (*kind, bytes),
            Content::Shared(message) => (message.kind(), message.as_bytes()),
            Content::Prepared(message) => (message.kind, message.payload()),
        }
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        self.parts().1
    }
}

/// Shows kind and length, not the payload.
impl fmt::Debug for Outbound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, payload) = self.parts();
        write!(f, "Outbound({kind:?}, {} bytes)", payload.len())
    }
}

impl<'a> From<Content<'a>> for Outbound<'a> {
    #[inline]
    fn from(content: Content<'a>) -> Self {
        Self { content, plain: false }
    }
}

#[diagnostic::do_not_recommend]
impl<'a, M: Into<Message<'a>>> From<M> for Outbound<'a> {
    #[inline]
    fn from(message: M) -> Self {
        Content::Borrowed(message.into()).into()
    }
}

impl From<String> for Outbound<'_> {
    #[inline]
    fn from(text: String) -> Self {
        Content::Vec(DataKind::Text, text.into_bytes()).into()
    }
}

impl From<Box<str>> for Outbound<'_> {
    fn from(text: Box<str>) -> Self {
        text.into_string().into()
    }
}

impl From<Arc<str>> for Outbound<'_> {
    fn from(text: Arc<str>) -> Self {
        String::from(&*text).into()
    }
}

impl<'a> From<Cow<'a, str>> for Outbound<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl<const N: usize> From<[u8; N]> for Outbound<'_> {
    #[inline]
    fn from(payload: [u8; N]) -> Self {
        Vec::from(payload).into()
    }
}

impl From<Vec<u8>> for Outbound<'_> {
    #[inline]
    fn from(payload: Vec<u8>) -> Self {
        Content::Vec(DataKind::Binary, payload).into()
    }
}

impl From<Bytes> for Outbound<'_> {
    #[inline]
    fn from(payload: Bytes) -> Self {
        Content::Shared(payload.into()).into()
    }
}

impl From<OwnedMessage> for Outbound<'_> {
    #[inline]
    fn from(message: OwnedMessage) -> Self {
        Content::Shared(message).into()
    }
}

impl From<Prepared> for Outbound<'_> {
    #[inline]
    fn from(message: Prepared) -> Self {
        Content::Prepared(Cow::Owned(message)).into()
    }
}

impl<'a> From<&'a Prepared> for Outbound<'a> {
    #[inline]
    fn from(message: &'a Prepared) -> Self {
        Content::Prepared(Cow::Borrowed(message)).into()
    }
}
