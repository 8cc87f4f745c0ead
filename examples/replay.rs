//! Shows the contents of a recording: each event with its time, and how the connection ended.
//!
//! ```text
//! cargo run --release --all-features --example replay -- session.tap
//! ```
//!
//! To make a recording, put a `Tap` of `tickwire-tap` around the stream of a connection.
use arguments::{Arguments, Failure};
use std::fs;
use tickwire::{Closed, Config, Time};
use tickwire_tap::Recording;

fn config() -> Config {
    #[cfg(feature = "deflate")]
    return Config { deflate: Some(tickwire::deflate::Deflate::default()), ..Config::default() };
    #[cfg(not(feature = "deflate"))]
    Config::default()
}

const HELP: &str = "\
What a recording of a connection holds: each event with its time, and how it ended.

Usage: replay FILE

  FILE    what `client --record` or a `Tap` wrote
  --help  this text
";

fn main() -> Result<(), Failure> {
    let path = Arguments::read(HELP).text("FILE");
    let recording = fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| text.parse::<Recording>().map_err(|error| error.to_string()))
        .map_err(|error| format!("{path}: {error}"))?;
    let (mut events, mut last) = (0, Time::ZERO);
    let end = recording.replay(&config(), |time, event| {
        println!("{:>12.6?} {event:?}", time - Time::ZERO);
        (events, last) = (events + 1, time);
    })?;
    println!("{events} events as {:?} in {:.3?}", end.role(), last - Time::ZERO);
    match end.closed() {
        Some(Closed { error: Some(error), .. }) => println!("ended: {error}"),
        closed => println!("{closed:?}"),
    }
    Ok(())
}
