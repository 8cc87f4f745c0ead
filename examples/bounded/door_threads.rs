//! The doors, on threads: as many threads accept as handshakes may be under way.
use places::Places;
use std::{
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};
use tickwire::{
    Config, Error,
    blocking::{WebSocket, accept},
};

/// How long to pause after `accept` has failed, for example because no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever.
pub(crate) fn serve(listener: &TcpListener, handshakes: usize, places: &Places, config: &Config) {
    thread::scope(|scope| {
        for _ in 0..handshakes {
            scope.spawn(|| door(listener, places, config));
        }
    });
}

/// Lets in one peer after another. A slow peer does not hold up peers at other doors.
fn door(listener: &TcpListener, places: &Places, config: &Config) {
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        // A peer without a place gets no answer: answering a flood would cost too much.
        let Some(mut place) = places.enter(peer.ip()) else { continue };
        if let Ok(ws) = accept(stream, config) {
            place.opened();
            // If no thread can be started, the connection and its place are dropped.
            let _ = thread::Builder::new().spawn(move || {
                let _ = session(ws);
                drop(place);
            });
        }
    }
}

/// The application.
fn session(mut ws: WebSocket<TcpStream>) -> Result<(), Error> {
    while let Some(received) = ws.recv_to_reply()? {
        let _ = received.sender.feed(received.message)?;
    }
    Ok(())
}
