use crate::{
    polled::Polled,
    tungstenite::{
        error::{Error, Result},
        protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext},
        util::NonBlockingResult,
    },
    wake::Both,
};
use futures_util::{
    sink::{Sink, SinkExt},
    stream::{FusedStream, Stream},
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection on a stream of tokio: a [`Stream`] and a [`Sink`] of messages.
///
/// After `StreamExt::split`, one task may read while another writes. Whichever half is polled next
/// answers a received Ping.
///
/// # Cancel safety
///
/// You can cancel `flush`, or the wait for the next message, without loss. A cancelled `feed` or
/// `send` has queued the whole message or nothing.
#[derive(Debug)]
pub struct WebSocketStream<S> {
    stream: S,
    context: WebSocketContext,
    both: Arc<Both>,
    /// Made from `both`: it wakes the tasks of both halves.
    waker: Waker,
    /// The stream of messages has ended.
    ended: bool,
    /// The stream refused the last write. The buffer is then flushed before the next message is
    /// accepted.
    blocked: bool,
}

impl<S> WebSocketStream<S> {
    pub(crate) fn new(stream: S, context: WebSocketContext) -> Self {
        let both = Arc::<Both>::default();
        let waker = both.clone().into();
        Self { stream, context, both, waker, ended: false, blocked: false }
    }

    /// A connection on a stream whose opening handshake is done. This call is `async` only because
    /// tokio-tungstenite's is.
    pub async fn from_raw_socket(stream: S, role: Role, config: Option<WebSocketConfig>) -> Self {
        Self::new(stream, WebSocketContext::new(role, config))
    }

    /// Does the same as [`from_raw_socket`](Self::from_raw_socket). `part` holds the peer's first
    /// bytes, which were read already.
    pub async fn from_partially_read(
        stream: S,
        part: Vec<u8>,
        role: Role,
        config: Option<WebSocketConfig>,
    ) -> Self {
        Self::new(stream, WebSocketContext::from_partially_read(part, role, config))
    }

    /// Returns the stream. Data that was read but not returned, or buffered but not written, is
    /// lost.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The configuration.
    pub fn get_config(&self) -> &WebSocketConfig {
        self.context.get_config()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Sends a Close. Keep reading until the end, to receive the peer's Close.
    ///
    /// # Errors
    ///
    /// The errors of the stream, and of [`WebSocketContext::close`].
    pub async fn close(&mut self, msg: Option<CloseFrame>) -> Result<()> {
        self.send(Message::Close(msg)).await
    }

    /// `call` succeeds only once the buffer is empty.
    fn poll_out(
        &mut self,
        cx: &Context<'_>,
        call: impl FnOnce(&mut WebSocketContext, &mut Polled<'_, &mut S, &Waker>) -> Result<()>,
    ) -> Poll<Result<()>> {
        let Self { stream, context, both, waker, .. } = self;
        let mut stream = Polled { stream, waker: &*waker, half: Some((&both.writer, cx.waker())) };
        match call(context, &mut stream).no_block() {
            Ok(None) => Poll::Pending,
            flushed => {
                // After an error too: waiting would not undo it.
                self.blocked = false;
                Poll::Ready(flushed.map(drop))
            }
        }
    }
}

/// A flush that ends the connection has not failed, as in tokio-tungstenite. (tungstenite's own
/// `flush` returns the error, so that a thread knows that it may drop the stream.)
fn closed(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::ConnectionClosed) => Ok(()),
        result => result,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocketStream<S> {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Self { stream, context, both, waker, .. } = &mut *self;
        let mut stream = Polled { stream, waker: &*waker, half: Some((&both.reader, cx.waker())) };
        match context.read(&mut stream) {
            Ok(message) => Poll::Ready(Some(Ok(message))),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => {
                // As in tokio-tungstenite, an error is the last item, so that a program that
                // ignores errors does not loop for ever.
                self.ended = true;
                let over = matches!(error, Error::ConnectionClosed | Error::AlreadyClosed);
                Poll::Ready(if over { None } else { Some(Err(error)) })
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocketStream<S> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocketStream<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // Without this `match`, each message would be flushed before the next is accepted, and
        // `feed` would never batch. No `closed` here, unlike in `poll_flush`: if the connection is
        // over, the caller has to learn that no message can be sent.
        match self.blocked {
            true => self.poll_out(cx, |context, stream| context.flush(stream)),
            false => Poll::Ready(Ok(())),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, item: Message) -> Result<()> {
        // No `Context` here, so no task is registered. If the stream refuses the bytes, the
        // caller's next `poll_ready` or `poll_flush` registers it.
        let Self { stream, context, waker, .. } = &mut *self;
        let mut stream = Polled { stream, waker: &*waker, half: None };
        let taken = context.write(&mut stream, item).no_block();
        self.blocked = matches!(taken, Ok(None)); // blocked: the message stays in the buffer
        taken.map(drop)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_out(cx, |context, stream| context.flush(stream)).map(closed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_out(cx, |context, stream| context.close(stream, None)).map(closed)
    }
}
