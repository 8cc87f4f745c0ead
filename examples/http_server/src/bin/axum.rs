//! WebSockets in axum, over HTTP/1.1 and HTTP/2.
//!
//! ```text
//! cargo run --release -p http_server --bin axum -- --listen 127.0.0.1:8080
//! ```
//!
//! Open this address in a browser to see it work. With `--tls-cert FILE --tls-key FILE` the browser
//! speaks HTTP/2, and its WebSocket shares the page's connection.
use arguments::{Failure, serve::stop_asked};
use axum::{
    Router,
    extract::{Request, State},
    response::{Html, Response},
    routing,
};
use http_server::{Listener, PAGE, Stop, echo, until_closed};
use tickwire_axum::WebSocketUpgrade;
use tokio::sync::watch;

async fn on_echo(
    upgrade: WebSocketUpgrade,
    State(stop): State<Stop>,
    request: Request,
) -> Response {
    let version = format!("{:?}", request.version());
    upgrade.protocols(["echo.v1"]).on_upgrade(|ws| async move {
        echo(ws, &version, stop).await;
    })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (stopping, stop) = watch::channel(false);
    let app = Router::new()
        .route("/", routing::get(|| async { Html(PAGE) }))
        // `any`: a WebSocket comes as CONNECT over HTTP/2, and as GET over HTTP/1.1.
        .route("/echo", routing::any(on_echo))
        .with_state(stop);
    let listener = Listener::from_arguments().await?;
    let signal = stop_asked()?;
    let signalled = stopping.clone();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
        signal.await;
        signalled.send_replace(true); // here, because `serving` may go on for long
    });
    until_closed(serving.into_future(), stopping).await;
    Ok(())
}
