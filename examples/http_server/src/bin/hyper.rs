//! WebSockets in hyper 1, over HTTP/1.1 and HTTP/2: the function `answer` makes them.
//!
//! ```text
//! cargo run --release -p http_server --bin hyper -- --listen 127.0.0.1:8080
//! ```
use arguments::{Failure, serve::stop_asked};
use axum::serve::Listener as _; // for `accept`
use http_body_util::Full;
use http_server::{Listener, PAGE, Stop, Stream, echo, until_closed};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, server::conn::auto::Builder};
use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, OnceLock},
};
use tickwire::{Config, handshake::server::Accept, tokio::WebSocket};
use tickwire_http::{Upgrade, rejection};
use tokio::{select, sync::watch, task::AbortHandle, task_local};

task_local! {
    /// In the task of a request of HTTP/2: the task that sends on the stream, once it is upgraded.
    static SENDER: Arc<OnceLock<AbortHandle>>;
}

/// Runs hyper's tasks. hyper starts the task that sends on an upgraded stream while it polls the
/// task of the request.
#[derive(Clone)]
struct Tasks;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        match SENDER.try_with(Arc::clone) {
            Ok(sender) => _ = sender.set(tokio::spawn(task).abort_handle()),
            Err(_) => _ = tokio::spawn(SENDER.scope(Arc::default(), task)),
        }
    }
}

async fn answer(request: Request<Incoming>, stop: Stop) -> Response<Full<Bytes>> {
    let config = Config::server();
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    let upgrade = Upgrade::new(&request, protocol.map(|protocol| protocol.as_str()), &config);
    let accept = Accept::default().subprotocols(&["echo.v1"]);
    let (response, connection) = match upgrade.and_then(|upgrade| upgrade.accept(accept)) {
        Ok(agreed) => agreed,
        Err(error) => return rejection(error, request.version()).map(Full::from),
    };
    let sender = SENDER.try_with(Arc::clone).unwrap_or_default();
    tokio::spawn(async move {
        let version = format!("{:?}", request.version());
        if let Ok(stream) = hyper::upgrade::on(request).await {
            let ws = WebSocket::from_parts(TokioIo::new(stream), connection);
            let orderly = echo(ws, &version, stop).await;
            // The task would keep the stream, and what the client did not read, until TCP ends.
            if let Some(sender) = sender.get().filter(|_| !orderly) {
                sender.abort(); // resets the stream
            }
        }
    });
    response.map(|()| Full::default())
}

async fn route(
    request: Request<Incoming>,
    stop: Stop,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/echo" => answer(request, stop).await,
        "/" => {
            let page = Response::builder().header("Content-Type", "text/html; charset=utf-8");
            page.body(PAGE.into()).unwrap_or_default()
        }
        _ => Response::builder().status(404).body(Full::default()).unwrap_or_default(),
    })
}

async fn serve(stream: Stream, mut stop: Stop) {
    let mut server = Builder::new(Tasks);
    server.http2().enable_connect_protocol();
    let sockets = stop.clone();
    let service = service_fn(move |request| route(request, sockets.clone()));
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = select! {
        served = connection.as_mut() => served,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        println!("connection: {error}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut listener = Listener::from_arguments().await?;
    let signal = stop_asked()?;
    let (stopping, stop) = watch::channel(false);
    let accepting = async move {
        loop {
            let (stream, _) = listener.accept().await;
            tokio::spawn(serve(stream, stop.clone()));
        }
    };
    let signalled = stopping.clone();
    let serving = async move {
        select! {
            () = accepting => {}
            () = signal => {
                signalled.send_replace(true);
            }
        }
    };
    until_closed(serving, stopping).await;
    Ok(())
}
