//! TCP to one of several addresses, in a race ("Happy Eyeballs", RFC 8305), without a time limit,
//! as in tungstenite. `tickwire-dial` says which address to dial, and when.
#[cfg(all(test, target_os = "linux", feature = "connect"))]
mod tests;
#[cfg(feature = "connect")]
pub(crate) mod tokio;

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use tickwire_dial::{Failure, Race, Step};

/// How long an attempt runs before the next begins, as in `tickwire::Dial`, and as RFC 8305 §5
/// recommends.
const DELAY: Duration = Duration::from_millis(250);

/// If all attempts have failed, we return the last one's error: tungstenite's API can return only
/// one `io::Error`, and programs match its kind.
fn next(race: &mut Race<io::Error>, now: Duration) -> io::Result<Step> {
    race.next(now).ok_or_else(|| match race.take_failures().pop() {
        Some((_, error)) => error,
        None => io::Error::new(io::ErrorKind::InvalidInput, "the name has no address"),
    })
}

/// Blocks the calling thread until one address is connected or all have failed.
pub(crate) fn connect(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut race = Race::new(addresses, DELAY);
    let began = Instant::now();
    let next = |now, failed: Option<(SocketAddr, Failure)>| {
        if let Some((to, Failure::Prepare(error) | Failure::Connect(error))) = failed {
            race.failed(to, error);
        }
        next(&mut race, now)
    };
    tickwire_dial::connect(|| began.elapsed(), next, |_| Ok(()))
}
