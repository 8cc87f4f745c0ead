use axum::{Router, extract::State, response::Response, routing::any};
use std::{io, time::Duration};
use tickwire::CloseCode;
use tickwire_axum::WebSocketUpgrade;
use tokio::{net::TcpListener, sync::watch, time::sleep};

type Stop = watch::Receiver<bool>;

async fn echo(upgrade: WebSocketUpgrade, State(mut stop): State<Stop>) -> Response {
    upgrade.on_upgrade(|mut ws| async move {
        loop {
            tokio::select! {
                received = ws.recv_to_reply() => match received {
                    Ok(Some(received)) => _ = received.sender.feed(received.message),
                    _ => return,
                },
                _ = stop.changed() => {
                    let _ = ws.close(CloseCode::GOING_AWAY).await; // 1001
                    return;
                }
            }
        }
    })
}

/// Serves until `signal` is ready, and from then on for at most `within`.
async fn serve(
    listener: TcpListener,
    signal: impl Future<Output = ()> + Send + 'static,
    within: Duration,
) -> io::Result<()> {
    let (sockets, stop) = watch::channel(false);
    let app = Router::new().route("/echo", any(echo)).with_state(stop);
    let stopping = sockets.clone();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move {
        signal.await;
        stopping.send_replace(true); // here, because `serving` may go on for long
    });
    let ended = async {
        serving.await?;
        sockets.closed().await; // each socket's task has dropped its `Stop`
        Ok(())
    };
    let late = async {
        let _ = sockets.subscribe().wait_for(|stopping| *stopping).await;
        sleep(within).await;
    };
    tokio::select! {
        ended = ended => ended,
        () = late => Ok(()),
    }
}
