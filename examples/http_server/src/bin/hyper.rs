//! WebSockets in hyper 1, over HTTP/1.1 and HTTP/2: the function `answer` is the whole of it.
//!
//! ```text
//! cargo run --release -p http_server --bin hyper -- --listen 127.0.0.1:8080
//! ```
use arguments::Failure;
use axum::serve::Listener as _; // for `accept`
use http_body_util::Full;
use http_server::{Listener, PAGE, echo};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use std::convert::Infallible;
use tickwire::{Config, handshake::server::Accept, tokio::WebSocket};
use tickwire_http::{Upgrade, rejection};

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let config = Config::server();
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    let upgrade = Upgrade::new(&request, protocol.map(|protocol| protocol.as_str()), &config);
    let accept = Accept::default().subprotocols(&["echo.v1"]);
    let (response, connection) = match upgrade.and_then(|upgrade| upgrade.accept(accept)) {
        Ok(agreed) => agreed,
        Err(error) => return rejection(error, request.version()).map(Full::from),
    };
    tokio::spawn(async move {
        let version = format!("{:?}", request.version());
        if let Ok(stream) = hyper::upgrade::on(request).await {
            echo(WebSocket::from_parts(TokioIo::new(stream), connection), &version).await;
        }
    });
    response.map(|()| Full::default())
}

async fn route(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/echo" => answer(request).await,
        "/" => {
            let page = Response::builder().header("Content-Type", "text/html; charset=utf-8");
            page.body(PAGE.into()).unwrap_or_default()
        }
        _ => Response::builder().status(404).body(Full::default()).unwrap_or_default(),
    })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut listener = Listener::from_arguments().await?;
    let mut server = Builder::new(TokioExecutor::new());
    server.http2().enable_connect_protocol();
    loop {
        let (stream, _) = listener.accept().await;
        let server = server.clone();
        tokio::spawn(async move {
            let service = service_fn(route);
            let served = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                println!("connection: {error}");
            }
        });
    }
}
