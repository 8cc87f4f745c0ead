//! Tests the program as its users run it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#[path = "../../tests/examples/support_program.rs"]
mod support_program;

use std::{error::Error, time::Duration};
use support_program::{Program, http};
use testkit::PATIENCE;
use tickwire::{CloseCode, Config, handshake::client::Request, tokio::client};
use tokio::{net::TcpSocket, time::sleep};

type TestResult = Result<(), Box<dyn Error>>;

fn start(args: &[&str]) -> Program {
    Program::start_at(env!("CARGO_BIN_EXE_market_feed").as_ref(), args)
}

/// Runs the program. Returns its exit code, its standard output and its standard error.
fn run(args: &str) -> (i32, String, String) {
    let args: Vec<_> = args.split_whitespace().collect();
    let (code, out, errors) = start(&args).finish();
    let text = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect();
    (code, text(out), text(errors))
}

/// The number for WebSocket in a row of the table.
fn number(table: &str, row: &str) -> u64 {
    let line = table.lines().find(|line| line.starts_with(row)).expect(row);
    let number = line[row.len()..].split_whitespace().next().expect(line);
    number.replace(',', "").parse().expect(line)
}

/// The table need not show the cost of a tick: a few ticks do not tell it, nor does every system.
#[test]
fn every_tick_arrives_or_is_accounted_for() {
    for args in ["--seconds 0.1 --clients 2", "--seconds 0.5 --clients 5 --rate 50000"] {
        let (code, table, errors) = run(args);
        assert_eq!(code, 0, "{errors}");
        let rows = ["messages sent", "messages received", "conflated"];
        let [sent, received, conflated] = rows.map(|row| number(&table, row));
        assert!(sent > 0 && sent == received + conflated, "{table}");
        let latency = ["latency p50", "        p99 ", "        p99.9", "        max"];
        assert!(latency.map(|row| number(&table, row)).is_sorted(), "{table}");
        let cpu = table.lines().find(|line| line.starts_with("CPU per message")).unwrap();
        assert!(!cpu.contains(" ns") || received >= 100_000, "{table}");
        assert!(table.lines().last().unwrap().starts_with("Shown: "), "{table}");
    }
}

/// A server, and its URL.
fn server(args: &str) -> (Program, String) {
    let args = ["--listen", "127.0.0.1:0"].into_iter().chain(args.split_whitespace());
    let program = start(&args.collect::<Vec<_>>());
    let line = program.line();
    let url = line.strip_prefix("listening on ").expect(&line).to_owned();
    (program, url)
}

/// What one subscriber received, parsed by the offsets that the example's `wire` documents.
#[derive(Default)]
struct Seen {
    sequence: u64,
    ticks: u64,
    skipped: u64,
    gaps: u64,
    close: Option<u16>,
}

/// Subscribes, with a small receive buffer. After the first message, waits for `dawdle`. Calls
/// `at_a_tick` at each tick with the number of ticks so far.
async fn subscribe(
    url: &str,
    dawdle: impl Future<Output = ()>,
    mut at_a_tick: impl FnMut(u64),
) -> Result<Seen, Box<dyn Error>> {
    let mut dawdle = Some(dawdle);
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let stream = socket.connect(url.trim_start_matches("ws://").parse()?).await?;
    let mut ws = client(stream, &Request::new(url)?, &Config::default()).await?;
    let mut seen = Seen::default();
    while let Some(message) = ws.recv().await? {
        let message = message.as_bytes();
        let field = |at: usize| message[at..at + 8].try_into().map(u64::from_le_bytes);
        let sequence = field(8)?;
        let advance = match message[0] {
            1 => 1,
            _ => field(24)?,
        };
        match message[0] {
            1 => {
                seen.ticks += 1;
                at_a_tick(seen.ticks);
            }
            _ => seen.skipped += advance,
        }
        if let Some(dawdle) = dawdle.take() {
            assert_eq!((message[0], advance), (2, 0), "a subscriber begins with a snapshot");
            dawdle.await;
        } else if sequence != seen.sequence + advance {
            seen.gaps += 1;
        }
        seen.sequence = sequence;
    }
    seen.close = ws.closed().map(|end| end.code);
    Ok(seen)
}

#[tokio::test]
async fn a_slow_subscriber_gets_the_newest_state_and_disturbs_nobody() -> TestResult {
    // Runs longer and longer, because a busy machine may need more time to show the difference.
    let mut seconds = 2;
    while !shows_slow(seconds).await? {
        seconds *= 2;
        assert!(seconds < PATIENCE.as_secs() / 4, "{seconds} s would not be enough");
    }
    Ok(())
}

/// Whether the quick subscriber had enough ticks, and some ticks were conflated for the slow one.
async fn shows_slow(seconds: u64) -> Result<bool, Box<dyn Error>> {
    let (server, url) = server(&format!("--rate 50000 --seconds {seconds}"));
    let rude = async {
        // Leaves without a word, in the middle of the feed.
        let subscribed = subscribe(&url, async {}, |_| ());
        tokio::time::timeout(Duration::from_millis(300), subscribed).await.is_err()
    };
    // The slow one reads nothing before the quick one has these ticks: then its buffers are full.
    const TICKS: u64 = 500;
    let (quick_had, wait) = tokio::sync::watch::channel(0);
    let dawdle = async {
        sleep(Duration::from_millis(1000)).await;
        let _ = wait.clone().wait_for(|&ticks| ticks >= TICKS).await;
    };
    let (slow, quick, rude) = tokio::join!(
        subscribe(&url, dawdle, |_| ()),
        subscribe(&url, async {}, move |ticks| {
            let _ = quick_had.send(ticks);
        }),
        rude,
    );
    assert!(rude);
    let quick = quick?;
    let Ok(slow) = slow else { return Ok(false) }; // the quick one took too long
    println!("{} ticks, {} skipped by the slow one", quick.ticks, slow.skipped);
    assert_eq!(slow.gaps, 0);
    assert_eq!((quick.gaps, quick.sequence), (0, slow.sequence), "both see the end");
    assert_eq!((slow.close, quick.close), (Some(1000), Some(1000)));
    assert_eq!(server.finish().0, 0);
    Ok(quick.ticks >= TICKS && slow.skipped > 0)
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_it_says_that_it_goes_away() -> TestResult {
    let (server, url) = server("");
    let interrupt = |ticks| {
        if ticks == 1 {
            server.signal("-INT");
        }
    };
    let seen = subscribe(&url, async {}, interrupt).await?;
    assert!(seen.ticks > 0);
    assert_eq!((seen.gaps, seen.close), (0, Some(CloseCode::GOING_AWAY.get())));
    let (code, rest, _) = server.finish();
    assert!(code == 0 && rest.join("\n").contains("served 1 subscribers"), "{rest:?}");
    Ok(())
}

/// What a server answers to plain HTTP.
fn get(url: &str, request: &str) -> String {
    let address = url.trim_start_matches("ws://");
    http(address, &format!("{request} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

#[test]
fn browsers_find_a_page() -> TestResult {
    let (_server, url) = server("");
    let answer = get(&url, "GET /");
    let (head, page) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/html; charset=utf-8\r\n"), "{head}");
    let nonce = head.split_once("script-src 'nonce-").ok_or("no policy")?.1;
    let nonce = nonce.get(..32).ok_or("no nonce")?;
    assert!(page.contains(&format!("<script nonce=\"{nonce}\">")), "{head}");
    assert!(!page.contains("{{"), "what was to be filled in is");
    assert!(!page.contains("<script src") && !page.contains("http://127"), "one file");
    assert!(!get(&url, "GET /").contains(nonce), "a nonce is good once");
    assert_eq!(get(&url, "HEAD /").split_once("\r\n\r\n").map(|(_, body)| body), Some(""));
    for (request, status) in [("GET /favicon.ico", "404"), ("DELETE /", "405")] {
        let answer = get(&url, request);
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn an_echo_tells_the_servers_clock() -> TestResult {
    let (_server, url) = server("--rate 100");
    let mut ws = tickwire::tokio::connect(&url, &Config::default()).await?;
    let asked = b"\x03\0\0\0\0\0\0\0mine....";
    ws.send(b"nothing to it").await?; // is ignored
    ws.send(asked).await?;
    let mut newest = 0;
    let answer = loop {
        let message = ws.recv().await?.ok_or("closed")?.as_bytes().to_vec();
        let time = |at: usize| message[at..at + 8].try_into().map(u64::from_le_bytes);
        match message[0] {
            3 => break (message[..16].to_vec(), message.len(), time(16)?, time(24)?),
            _ => newest = time(16)?,
        }
    };
    assert_eq!((&answer.0[..], answer.1), (&asked[..], 32));
    assert!(answer.2 <= answer.3 && newest <= answer.3, "the clock that ticks are stamped with");
    assert!(answer.3 - newest < 60_000_000_000);
    Ok(())
}
