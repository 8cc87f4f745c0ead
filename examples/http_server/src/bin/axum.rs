//! WebSockets in axum, over HTTP/1.1 and HTTP/2.
//!
//! ```text
//! cargo run --release -p http_server --bin axum -- --listen 127.0.0.1:8080
//! ```
//!
//! Open this address in a browser to see it work. With `--tls-cert FILE --tls-key FILE` the browser
//! speaks HTTP/2, and its WebSocket shares the page's connection.
use arguments::Failure;
use axum::{Router, extract::Request, response::Html, routing};
use http_server::{Listener, PAGE, echo};
use tickwire_axum::WebSocketUpgrade;

async fn on_echo(upgrade: WebSocketUpgrade, request: Request) -> axum::response::Response {
    let version = format!("{:?}", request.version());
    upgrade.protocols(["echo.v1"]).on_upgrade(|ws| async move { echo(ws, &version).await })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let app = Router::new()
        .route("/", routing::get(|| async { Html(PAGE) }))
        // `any`: a WebSocket comes as CONNECT over HTTP/2, and as GET over HTTP/1.1.
        .route("/echo", routing::any(on_echo));
    axum::serve(Listener::from_arguments().await?, app).await?;
    Ok(())
}
