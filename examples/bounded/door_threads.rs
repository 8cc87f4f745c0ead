//! The doors, on threads: as many accept as handshakes may be under way.
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

/// How long to leave off accepting when the system would not: out of file descriptors, say.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves for ever.
pub(crate) fn serve(listener: &TcpListener, handshakes: usize, places: &Places, config: &Config) {
    thread::scope(|scope| {
        for _ in 0..handshakes {
            scope.spawn(|| door(listener, places, config));
        }
    });
}

/// Lets in one peer after another: who is slow at a door holds up nobody at the others.
fn door(listener: &TcpListener, places: &Places, config: &Config) {
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        // Nothing is owed to a flood.
        let Some(mut place) = places.enter(peer.ip()) else { continue };
        if let Ok(ws) = accept(stream, config) {
            place.opened();
            // Where there is no thread to be had, connection and place are dropped.
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
