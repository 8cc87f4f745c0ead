//! Events that own their payload.
use crate::proto::{
    close::{CloseFrame, OwnedCloseFrame},
    message::{Event, Message, OwnedMessage},
};
use bytes::Bytes;

/// An [`Event`] that owns its payload: a message or a control frame, received or to be sent.
///
/// `Event::from(&owned)` borrows an owned event, and `OwnedEvent::from(event)` copies an event.
/// Every type that converts into an [`OwnedMessage`] converts into an `OwnedEvent` too, for example
/// `OwnedEvent::from("text")`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
// Exhaustive: see `Event`.
pub enum OwnedEvent {
    /// A whole data message.
    Message(OwnedMessage),
    /// A Ping with its payload, at most 125 bytes (§5.5.2).
    Ping(Bytes),
    /// A Pong with its payload, at most 125 bytes (§5.5.3).
    Pong(Bytes),
    /// A Close; `None` for an empty body (§5.5.1).
    Close(Option<OwnedCloseFrame>),
}

impl From<Event<'_>> for OwnedEvent {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => Self::Message(message.into_owned()),
            Event::Ping(payload) => Self::Ping(Bytes::copy_from_slice(payload)),
            Event::Pong(payload) => Self::Pong(Bytes::copy_from_slice(payload)),
            Event::Close(frame) => Self::Close(frame.map(OwnedCloseFrame::from)),
        }
    }
}

impl<'a> From<&'a OwnedEvent> for Event<'a> {
    fn from(event: &'a OwnedEvent) -> Self {
        match event {
            OwnedEvent::Message(message) => Self::Message(Message::from(message)),
            OwnedEvent::Ping(payload) => Self::Ping(payload),
            OwnedEvent::Pong(payload) => Self::Pong(payload),
            OwnedEvent::Close(frame) => Self::Close(frame.as_ref().map(CloseFrame::from)),
        }
    }
}

/// Makes a message event.
impl<M: Into<OwnedMessage>> From<M> for OwnedEvent {
    fn from(message: M) -> Self {
        Self::Message(message.into())
    }
}
