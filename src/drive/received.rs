//! A message together with what goes with it: what `recv_with` returns.
use super::{Core, Half, Input, Io, Link, Output, Socket, Whole};
use crate::proto::{
    connection::{Receiver, Sender},
    message::{Info, Message},
};
use std::task::{Context, Poll};

/// The result of `recv_with`: a message, facts about it, and of a whole WebSocket the sending half to
/// answer it with.
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
    fn new(receiver: &'a Receiver, sender: S) -> Option<Self> {
        receiver.message().map(|message| Self { message, sender, receiver })
    }

    /// Facts about the message besides its payload: above all whether another has already been read, so
    /// that you can act on the newest only. Costs a look at the next header.
    #[inline]
    pub fn info(&self) -> Info {
        self.receiver.info()
    }
}

/// How what a core receives is answered.
pub trait Answers<I>: Core<I> + Sized {
    /// What answers are given to.
    type Sender<'a>
    where
        Self: 'a;

    /// Whether a message may be handed out before anything is written.
    fn is_free(&self) -> bool;
    /// Waits for room for an answer, and writes where enough waits.
    fn poll_room(socket: &mut Socket<Self, I>, cx: &mut Context<'_>) -> Poll<()>;
    /// This end has closed: to what comes now, no answer is owed.
    fn is_mute(&self) -> bool;
    /// The message at which the last step stopped.
    fn received(&mut self) -> Option<Received<'_, Self::Sender<'_>>>;
}

impl<I: Input<Whole> + Output> Answers<I> for Whole {
    type Sender<'a> = &'a mut Sender;

    #[inline(always)]
    fn is_free(&self) -> bool {
        let tx = self.conn.sender();
        !tx.past_cork_limit() && !tx.is_closed()
    }

    fn poll_room(socket: &mut Socket<Self, I>, cx: &mut Context<'_>) -> Poll<()> {
        let tx = socket.core.conn.sender();
        if !tx.has_room() && !tx.is_closed() {
            // Receiving finds the error again later.
            return socket.poll_flush(cx, true).map(drop);
        }
        if tx.past_cork_limit() {
            socket.write(cx);
        }
        Poll::Ready(())
    }

    fn is_mute(&self) -> bool {
        let tx = self.conn.sender();
        tx.is_closed() && !tx.is_broken()
    }

    #[inline(always)]
    fn received(&mut self) -> Option<Received<'_>> {
        let (rx, tx) = self.conn.split_mut();
        Received::new(rx, tx)
    }
}

impl<I: Io, H: Link<I>> Answers<I> for Half<H> {
    type Sender<'a>
        = ()
    where
        Self: 'a;

    #[inline(always)]
    fn is_free(&self) -> bool {
        true
    }

    #[inline(always)]
    fn poll_room(_: &mut Socket<Self, I>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    #[inline(always)]
    fn is_mute(&self) -> bool {
        false
    }

    #[inline(always)]
    fn received(&mut self) -> Option<Received<'_, ()>> {
        Received::new(self.inbound.receiver(), ())
    }
}
