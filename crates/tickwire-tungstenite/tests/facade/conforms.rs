//! The conformance suite of `conformance/` over the facade, in memory: all cases in both roles, as
//! written for tungstenite and for tokio-tungstenite.
#[path = "../../../../tests/support/conforms.rs"]
mod suite;

use futures_util::{SinkExt, StreamExt};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use suite::{Far, Input, none_failed, probed, tried};
use tickwire_tungstenite::{
    accept_async_with_config, client_async_with_config,
    tungstenite::{
        Message, accept_with_config, client::client_with_config, protocol::WebSocketConfig,
    },
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsconform_cases::Role;

fn config() -> Option<WebSocketConfig> {
    let config = WebSocketConfig::default();
    #[cfg(feature = "deflate")]
    let config = {
        let mut both = tickwire_tungstenite::deflate::Deflate::default();
        both.server.takeover = true;
        both.client.takeover = true;
        config.deflate(both)
    };
    Some(config)
}

fn is_echoed(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

fn passes(name: &str, end: impl Fn(Role, Far)) {
    for role in [Role::Server, Role::Client] {
        let run = |session| Far::with(session, usize::MAX, |far| end(role, far));
        none_failed(name, &tried(role, &probed(role, run), |_| true, run));
    }
}

#[test]
fn tungstenite_s_api_passes_the_suite_in_both_roles() {
    passes("facade", |role, far| {
        let opened = match role {
            Role::Server => accept_with_config(far, config()).ok(),
            Role::Client => {
                client_with_config("ws://localhost/", far, config()).ok().map(|(socket, _)| socket)
            }
        };
        let Some(mut socket) = opened else { return };
        while let Ok(message) = socket.read() {
            if is_echoed(&message) && socket.send(message).is_err() {
                return;
            }
        }
    });
}

/// Whoever polls it twice for nothing has waited long enough.
struct Polled {
    far: Far,
    waited: bool,
}

impl AsyncRead for Polled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.far.read(to.initialize_unfilled()) {
                Input::Bytes(n) => to.advance(n),
                Input::End => {}
                Input::Nothing(_) if self.waited => {
                    self.waited = false;
                    self.far.time_passes();
                    continue;
                }
                Input::Nothing(_) => {
                    self.waited = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            self.waited = false;
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Polled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.waited = false;
        self.far.write(from);
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.far.shut();
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn tokio_tungstenite_s_api_passes_the_suite_in_both_roles() {
    async fn echo(role: Role, far: Far) {
        let far = Polled { far, waited: false };
        let opened = match role {
            Role::Server => accept_async_with_config(far, config()).await.ok(),
            Role::Client => {
                let opened = client_async_with_config("ws://localhost/", far, config()).await;
                opened.ok().map(|(socket, _)| socket)
            }
        };
        let Some(mut socket) = opened else { return };
        while let Some(Ok(message)) = socket.next().await {
            if is_echoed(&message) && socket.send(message).await.is_err() {
                return;
            }
        }
    }
    passes("facade in tasks", |role, far| {
        let mut echo = Box::pin(echo(role, far));
        // It wakes itself until it is over.
        while echo.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
    });
}
