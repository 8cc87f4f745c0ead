use super::{
    core::{Socket, Whole},
    io::{Output, Source},
};
use crate::proto::{
    connection::{Receiver, Sender, Step},
    message::{Info, Message},
};
use std::task::{Context, Poll};

/// The result of `recv_to_reply`: a message, facts about it, and the sending half to answer with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received<'a> {
    /// The message, borrowed from the connection.
    pub message: Message<'a>,
    /// The sending half. It has room for an answer, unless a failed write has closed this half.
    pub sender: &'a mut Sender,
    receiver: &'a Receiver,
}

impl Received<'_> {
    /// Facts about the message besides its payload. For example, `more` tells whether another whole
    /// message was already read, so that you can act only on the newest message. To set `more`,
    /// this call parses the next header.
    #[inline]
    pub fn info(&self) -> Info {
        self.receiver.info()
    }
}

impl<I: Source + Output> Socket<Whole, I> {
    /// A message may be handed out without `poll_answerable`: there is room for an answer, because
    /// `cork_limit` is at most `high_water`, and the sender is open. After our Close the slow path
    /// runs, in which `is_mute` decides whether messages are dropped.
    #[inline(always)]
    pub(crate) fn is_free(&self) -> bool {
        let tx = self.core.conn.sender();
        !tx.reached_cork_limit() && !tx.is_closed()
    }

    #[inline(always)]
    pub(crate) fn quick_to_reply(&mut self) -> bool {
        self.is_free() && self.quick() == Some(Step::Message)
    }

    /// Until there is room for an answer, or none is possible any more. With room, but `cork_limit`
    /// bytes queued, writes what the stream accepts at once.
    pub(crate) fn poll_answerable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let tx = self.core.conn.sender();
        if !tx.has_room() && !tx.is_closed() {
            // Receiving goes on after a failed write. `Out` keeps the error, and a receiving call
            // returns it, unless the peer's Close or a violation ends receiving first. The sender
            // is closed then, so the next call does not flush again.
            return self.poll_flush(cx, true).map(drop);
        }
        if tx.reached_cork_limit() {
            let _ = self.write(cx); // a refusal is no reason to wait: there is room
        }
        Poll::Ready(())
    }

    /// Our Close is queued, so no answer can follow: drop what arrives. Not after a failed write,
    /// though; what the peer said last may explain it.
    pub(crate) fn is_mute(&self) -> bool {
        let tx = self.core.conn.sender();
        tx.is_closed() && !tx.is_broken()
    }

    #[inline(always)]
    pub(crate) fn received(&mut self) -> Option<Received<'_>> {
        let (receiver, sender) = self.core.conn.split_mut();
        receiver.message().map(|message| Received { message, sender, receiver })
    }
}
