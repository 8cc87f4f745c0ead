//! The doors, on tokio: as many tasks accept as handshakes may be under way.
use places::Places;
use std::{sync::Arc, time::Duration};
use tickwire::{
    Config, Error,
    tokio::{WebSocket, accept},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// How long to pause after `accept` has failed, for example because no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever. If this future is dropped, peers that are inside are still served.
pub(crate) async fn serve(
    listener: TcpListener,
    handshakes: usize,
    places: &Places,
    config: &Config,
) {
    let listener = Arc::new(listener);
    let mut doors = JoinSet::new();
    for _ in 0..handshakes {
        doors.spawn(door(listener.clone(), places.clone(), config.clone()));
    }
    while doors.join_next().await.is_some() {}
}

/// Lets in one peer after another. A slow peer does not hold up peers at other doors.
async fn door(listener: Arc<TcpListener>, places: Places, config: Config) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // A peer without a place gets no answer: answering a flood would cost too much.
        let Some(mut place) = places.enter(peer.ip()) else { continue };
        let _ = stream.set_nodelay(true);
        if let Ok(ws) = accept(stream, &config).await {
            place.opened();
            tokio::spawn(async move {
                let _ = session(ws).await;
                drop(place);
            });
        }
    }
}

/// The application.
async fn session(mut ws: WebSocket<TcpStream>) -> Result<(), Error> {
    while let Some(received) = ws.recv_to_reply().await? {
        let _ = received.sender.feed(received.message)?;
    }
    Ok(())
}
