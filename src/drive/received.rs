use crate::proto::{
    connection::{Receiver, Sender},
    message::{Info, Message},
};

/// The result of `recv_to_reply`: a message, facts about it, and, from a whole WebSocket, the
/// sending half to answer with.
///
/// From a `Reader`, `S` is `()`, because only the `Writer` can send.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received<'a, S = &'a mut Sender> {
    /// The message, borrowed from the connection.
    pub message: Message<'a>,
    /// The sending half. It has room for an answer, unless a failed write has closed this half.
    /// From a `Reader`, this field is `()`.
    pub sender: S,
    receiver: &'a Receiver,
}

impl<'a, S> Received<'a, S> {
    #[inline(always)]
    pub(super) fn new(receiver: &'a Receiver, sender: S) -> Option<Self> {
        receiver.message().map(|message| Self { message, sender, receiver })
    }

    /// Facts about the message besides its payload. For example, `more` tells whether another whole
    /// message was already read, so that you can act only on the newest message. To set `more`,
    /// this call parses the next header.
    #[inline]
    pub fn info(&self) -> Info {
        self.receiver.info()
    }
}
