//! The client's opening handshake.
use super::{
    Source, Timer, WebSocket,
    source::{read, within, write_bytes},
};
use crate::{
    drive::{Error, Output, io::flush},
    proto::{
        config::Config,
        entropy::system::SystemEntropy,
        handshake::{
            HandshakeError, Progress,
            client::{Handshake, Request},
        },
        time::Time,
    },
};

/// The opening handshake as a client. Its time began when that of `io` did.
pub(crate) async fn client<I: Source + Timer + Output>(
    mut io: I,
    request: &Request,
    config: &Config,
) -> Result<WebSocket<I>, Error> {
    let mut handshake = Handshake::new(request, config, SystemEntropy::new()?);
    let mut now = Time::ZERO;
    loop {
        match handshake.step() {
            Ok(Progress::Complete) => break,
            Ok(Progress::Partial) => {}
            Err(error) => return Err(ended(error, handshake)),
        }
        if let Err(error) = handshake.handle_timeout(now) {
            return Err(ended(error, handshake));
        }
        let by = handshake.poll_timeout();
        let writing = !handshake.outgoing().is_empty();
        let moved = within(&mut io, by, |io, cx| match writing {
            true => write_bytes(io, handshake.outgoing(), cx),
            false => read(io, handshake.spare_mut(), cx),
        });
        match moved.await {
            Some(Ok(n)) if writing => {
                handshake.advance(n);
                if handshake.outgoing().is_empty() {
                    within(&mut io, by, flush).await.unwrap_or(Ok(()))?;
                }
            }
            Some(Ok(0)) => handshake.end_of_stream(),
            Some(Ok(n)) => handshake.commit(n),
            // What the server said is worth more than how it hung up.
            Some(Err(_)) if handshake.response().is_some() => handshake.end_of_stream(),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
        now = io.now();
    }
    Ok(WebSocket::with_pool(io, handshake.into_connection()?))
}

fn ended(error: HandshakeError, handshake: Handshake) -> Error {
    match error {
        HandshakeError::Refused { .. } => Error::refused(handshake),
        error => error.into(),
    }
}
