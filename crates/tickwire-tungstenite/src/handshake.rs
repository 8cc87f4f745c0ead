use crate::{
    WebSocketStream,
    polled::Polled,
    tungstenite::{
        client::IntoClientRequest,
        error::Result,
        handshake::{
            HandshakeError, HandshakeRole, MidHandshake,
            client::{ClientHandshake, Response},
            server::{Callback, NoCallback, ServerHandshake},
        },
        protocol::{WebSocket, WebSocketConfig},
    },
};
use std::{
    future::poll_fn,
    task::{Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Does the opening handshake of a client, on a connected stream. Dropping the future drops the
/// stream too.
///
/// # Errors
///
/// The stream's errors, and the reason why the handshake failed.
pub async fn client_async<R, S>(request: R, stream: S) -> Result<(WebSocketStream<S>, Response)>
where
    R: IntoClientRequest + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    client_async_with_config(request, stream, None).await
}

/// [`client_async`] with a configuration.
///
/// # Errors
///
/// As [`client_async`].
pub async fn client_async_with_config<R, S>(
    request: R,
    stream: S,
    config: Option<WebSocketConfig>,
) -> Result<(WebSocketStream<S>, Response)>
where
    R: IntoClientRequest + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request.into_client_request()?;
    let started = ClientHandshake::start(opening(stream), request, config)?;
    let (socket, response) = drive(started).await?;
    Ok((open(socket), response))
}

/// Does the opening handshake of a server: reads the request and accepts it. Dropping the future
/// drops the stream too.
///
/// # Errors
///
/// The stream's errors, and the reason why the handshake failed.
pub async fn accept_async<S>(stream: S) -> Result<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_async_with_config(stream, None).await
}

/// [`accept_async`] with a configuration.
///
/// # Errors
///
/// As [`accept_async`].
pub async fn accept_async_with_config<S>(
    stream: S,
    config: Option<WebSocketConfig>,
) -> Result<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_hdr_async_with_config(stream, NoCallback, config).await
}

/// [`accept_async`] with a callback that sees the request, and may refuse it.
///
/// # Errors
///
/// As [`accept_async`].
pub async fn accept_hdr_async<S, C>(stream: S, callback: C) -> Result<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Callback + Unpin,
{
    accept_hdr_async_with_config(stream, callback, None).await
}

/// [`accept_hdr_async`] with a configuration.
///
/// # Errors
///
/// As [`accept_async`].
pub async fn accept_hdr_async_with_config<S, C>(
    stream: S,
    callback: C,
    config: Option<WebSocketConfig>,
) -> Result<WebSocketStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Callback + Unpin,
{
    Ok(open(drive(ServerHandshake::start(opening(stream), callback, config)).await?))
}

/// `Opening` has only the waker of the handshake's task, but from now on two tasks may poll the
/// stream.
fn open<S>(socket: WebSocket<Opening<S>>) -> WebSocketStream<S> {
    WebSocketStream::new(socket.socket.stream, socket.context)
}

/// Both directions wake the handshake's task, because no other has the stream yet.
type Opening<S> = Polled<'static, S, Waker>;

fn opening<S>(stream: S) -> Opening<S> {
    Polled { stream, waker: Waker::noop().clone(), half: None } // `drive` sets the task's waker
}

async fn drive<S, R>(started: MidHandshake<R>) -> Result<R::FinalResult>
where
    R: HandshakeRole<InternalStream = Opening<S>>,
{
    let mut under_way = Some(started);
    poll_fn(|cx| {
        // `None` only after the end, and `await` does not poll after that.
        let Some(mut handshake) = under_way.take() else { return Poll::Pending };
        // In each poll, because the future may have moved to another task.
        handshake.get_mut().get_mut().waker.clone_from(cx.waker());
        match handshake.handshake() {
            Ok(result) => Poll::Ready(Ok(result)),
            Err(HandshakeError::Failure(error)) => Poll::Ready(Err(error)),
            Err(HandshakeError::Interrupted(rest)) => {
                under_way = Some(rest);
                Poll::Pending
            }
        }
    })
    .await
}
