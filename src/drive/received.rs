//! A message together with what goes with it: what `recv_to_reply` returns.
use crate::proto::{
    connection::{Receiver, Sender},
    message::{Info, Message},
};

/// The result of `recv_to_reply`: a message, facts about it, and of a whole WebSocket the sending
/// half to answer it with.
///
/// `S` is `()` for a `Reader`, whose `Writer` sends.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received<'a, S = &'a mut Sender> {
    /// The message, borrowed from the buffer it was read into.
    pub message: Message<'a>,
    /// The sending half, with room for an answer; closed, if the stream takes nothing any more.
    pub sender: S,
    receiver: &'a Receiver,
}

impl<'a, S> Received<'a, S> {
    #[inline(always)]
    pub(super) fn new(receiver: &'a Receiver, sender: S) -> Option<Self> {
        receiver.message().map(|message| Self { message, sender, receiver })
    }

    /// Facts about the message besides its payload: above all whether another has already been
    /// read, so that you can act on the newest only. Costs a look at the next header.
    #[inline]
    pub fn info(&self) -> Info {
        self.receiver.info()
    }
}
