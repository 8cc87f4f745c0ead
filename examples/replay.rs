//! Shows what a recording of a connection holds: each event with its time, and how it ended.
//!
//! ```text
//! cargo run --release --all-features --example replay -- session.tap
//! ```
//!
//! Put a `Tap` of `tickwire-tap` around the stream of a connection to make one.
use std::{env, error::Error, fs, process::ExitCode};
use tickwire::{Closed, Config, Time};
use tickwire_tap::Recording;

fn config() -> Config {
    #[cfg(feature = "deflate")]
    return Config { deflate: Some(tickwire::deflate::Deflate::default()), ..Config::default() };
    #[cfg(not(feature = "deflate"))]
    Config::default()
}

fn run(path: &str) -> Result<(), Box<dyn Error>> {
    let recording = fs::read_to_string(path)?.parse::<Recording>()?;
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

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [path] = &arguments[..] else {
        eprintln!("Usage: replay FILE");
        return ExitCode::from(2);
    };
    match run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}
