//! Tells what a recording holds: what each end sent, in plain words, and how the connection ended.
//!
//! ```text
//! cargo run --release --all-features --example replay -- session.tap
//! ```
//!
//! To make a recording, put a `Tap` of `tickwire-tap` around the stream of a connection, or call
//! `client --record`. A replay gives what one end received. What this end sent is what the other
//! received: so we replay the recording a second time with its directions turned round.
use arguments::{Arguments, Failure};
use std::fs;
use tickwire::{Config, Event, Message, Role, Time};
use tickwire_tap::Recording;

fn config() -> Config {
    #[cfg(feature = "deflate")]
    return Config { deflate: Some(tickwire::deflate::Deflate::default()), ..Config::default() };
    #[cfg(not(feature = "deflate"))]
    Config::default()
}

const HELP: &str = "\
What a recording of a connection holds: what each end sent, and how the connection ended.

Usage: replay FILE

  FILE    what `client --record` or a `Tap` wrote
  --help  this text
";

/// Of a payload, so many characters or bytes are shown.
const SHOWN: usize = 60;

fn main() -> Result<(), Failure> {
    let path = Arguments::read(HELP).text("FILE");
    let recording = fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| text.parse::<Recording>().map_err(|error| error.to_string()))
        .map_err(|error| format!("{path}: {error}"))?;
    let mut turned = recording.clone();
    for passed in &mut turned.passed {
        passed.received = !passed.received;
    }

    let mut lines = Vec::new();
    let end = recording.replay(&config(), |at, event| lines.push((at, "got ", told(&event))))?;
    let received = lines.len();
    // What was sent before a fault is told, and a recording may stop inside of a message.
    turned.replay(&config(), |at, event| lines.push((at, "sent", told(&event))))?;
    let sent = lines.len() - received;
    lines.sort_by_key(|(at, ..)| *at);

    let (we, peer) = match end.role() {
        Role::Client => ("client", "server"),
        Role::Server => ("server", "client"),
    };
    println!("recorded at the {we}; times in seconds since its stream was opened");
    for (at, direction, text) in &lines {
        println!("{:>12.6}  {direction}  {text}", seconds(*at));
    }
    let last = recording.passed.last().map_or(Time::ZERO, |passed| passed.at);
    println!("{received} received and {sent} sent in {:.6} s", seconds(last));
    match end.closed() {
        None => println!("the connection was still open"),
        Some(closed) => match closed.error {
            Some(error) => println!("ended by a fault: {error}"),
            None if closed.clean => println!("closed cleanly, with code {}", closed.code),
            None => println!("the {peer} closed with code {}, and got no answer", closed.code),
        },
    }
    Ok(())
}

fn seconds(at: Time) -> f64 {
    at.since_epoch().as_secs_f64()
}

fn told(event: &Event<'_>) -> String {
    match event {
        Event::Message(Message::Text(text)) => format!("text, {}", payload(text.as_bytes())),
        Event::Message(Message::Binary(bytes)) => format!("binary, {}", payload(bytes)),
        Event::Ping(bytes) => format!("Ping, {}", payload(bytes)),
        Event::Pong(bytes) => format!("Pong, {}", payload(bytes)),
        Event::Close(None) => "Close without a code".into(),
        Event::Close(Some(frame)) => {
            format!("Close with code {}, reason {:?}", u16::from(frame.code), frame.reason)
        }
    }
}

/// The length, and the beginning as text if it is text, else in hexadecimal.
fn payload(bytes: &[u8]) -> String {
    let length = bytes.len();
    let text = str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
    let mut beginning = match text {
        Some(text) => text.chars().take(SHOWN).collect::<String>(),
        None => bytes.iter().take(SHOWN / 3).map(|byte| format!("{byte:02x} ")).collect(),
    };
    let all = if text.is_some() { length <= SHOWN } else { length <= SHOWN / 3 };
    if !all {
        beginning.push('…');
    }
    format!("{length} bytes: {}", beginning.trim_end())
}
