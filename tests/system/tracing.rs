//! The events of the feature `tracing`: which, at which level, with which fields, as the
//! documentation of the crate has them, and that nothing secret or unescaped is in them.
use crate::support::{self, tokio::run};
use std::{
    collections::BTreeSet,
    fmt::{Debug, Write},
    sync::{Arc, LazyLock, Mutex},
};
use tickwire::{
    CloseCode, CloseFrame, Config,
    handshake::{client::Request, server::Accept},
    tokio::Incoming,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, set_default},
};

/// Keeps each event as a line, and how the table of events would describe it.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<(Vec<String>, BTreeSet<String>)>>);

struct Line {
    text: String,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.text, " {}={value:?}", field.name());
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tickwire")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        assert_eq!(metadata.target(), "tickwire");
        let mut line = Line { text: metadata.level().to_string(), message: String::new() };
        event.record(&mut line);
        let fields = metadata.fields().iter().map(|field| field.name());
        let fields: Vec<_> =
            fields.filter(|name| *name != "message").map(|name| format!("`{name}`")).collect();
        let kind = format!("{} | {} | {}", metadata.level(), line.message, fields.join(", "));
        let mut told = self.0.lock().unwrap();
        told.0.push(line.text);
        told.1.insert(kind);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }

    #[track_caller]
    fn expect(&self, expected: &[&str]) {
        assert_eq!(self.take(), expected);
    }
}

/// What this thread tells, until dropped. With one dispatcher alone, tracing asks the thread that
/// comes to an event first, which may be another test's, whether anybody listens; so there are two.
fn listening() -> (Lines, DefaultGuard) {
    static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Lines::default()));
    LazyLock::force(&OTHER);
    let lines = Lines::default();
    (lines.clone(), set_default(lines))
}

const REQUEST: &str = "ws://test/feed?token=secret";

#[test]
fn a_conversation_is_told_without_its_secrets() {
    let (lines, _guard) = listening();
    run(async {
        let (ours, theirs) = tokio::io::duplex(4 << 10);
        let offered = ["bearer.secret", "ticks.v1"];
        let request = Request::new(REQUEST).unwrap().subprotocols(&offered).unwrap();
        let request = request.header("Authorization", "secret").unwrap();
        let config = Config::default();
        let (ours, theirs) =
            tokio::join!(tickwire::tokio::client(ours, &request, &config), async {
                let incoming = Incoming::read(theirs, &config).await?;
                incoming.accept(Accept::default().subprotocols(&["ticks.v1"])).await
            });
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        lines.expect(&[
            "DEBUG message=opening handshake done role=Server path=/feed subprotocol=ticks.v1",
            "DEBUG message=opening handshake done role=Client path=/feed",
        ]);
        ours.send("secret").await.unwrap();
        let _ = theirs.recv().await.unwrap().unwrap();
        lines.expect(&[
            "TRACE message=message queued role=Client payload=6",
            "TRACE message=message received role=Server payload=6",
        ]);
        let bye = CloseFrame::with_reason(CloseCode::GOING_AWAY, "bye\n\u{1b}[2J");
        let (closed, end) = tokio::join!(ours.close(bye), theirs.recv());
        assert!(closed.is_ok() && end.unwrap().is_none());
        lines.expect(&[
            "DEBUG message=Close queued role=Client code=1001",
            "DEBUG message=Close received role=Server code=1001 reason=bye\\n\\x1b[2J",
            "DEBUG message=Close queued role=Server code=1001",
            "DEBUG message=Close received role=Client code=1001 reason=",
        ]);
    });
}

// P236
#[test]
fn refusals_and_violations_are_told_once() {
    let (lines, _guard) = listening();
    run(async {
        let (mut raw, theirs) = tokio::io::duplex(4 << 10);
        raw.write_all(b"GET / HTTP/1.1\r\nHost: secret\r\n\r\n").await.unwrap();
        raw.shutdown().await.unwrap();
        assert!(tickwire::tokio::accept(theirs, &Config::default()).await.is_err());
        lines.expect(&["INFO message=opening handshake failed role=Server \
                        error=no upgrade to websocket status=426"]);

        let (mut raw, theirs) = tokio::io::duplex(4 << 10);
        let mut ws = support::tokio::server(theirs, &Config::default());
        raw.write_all(b"\x82\x01x").await.unwrap();
        raw.shutdown().await.unwrap();
        for _ in 0..3 {
            assert!(ws.recv().await.is_err());
        }
        let mut close = Vec::new();
        drop(ws);
        raw.read_to_end(&mut close).await.unwrap();
        assert_eq!(close, b"\x88\x02\x03\xea");
        let told = lines.take();
        let levels: Vec<_> = told.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(levels, ["INFO", "DEBUG"], "{told:?}");
        assert!(told[0].contains("code=1002") && told[1].contains("code=1002"), "{told:?}");
        assert!(told.iter().all(|line| line.contains(" role=Server ")), "{told:?}");

        // Behind a Close that was queued before there is none with the code of the violation.
        let (mut raw, theirs) = tokio::io::duplex(4 << 10);
        let mut ws = support::tokio::server(theirs, &Config::default());
        raw.write_all(b"\x82\x01x").await.unwrap();
        raw.shutdown().await.unwrap();
        assert!(ws.close(CloseCode::NORMAL).await.is_err());
        let told = lines.take();
        assert_eq!(told[0], "DEBUG message=Close queued role=Server code=1000");
        assert!(told.len() == 2 && told[1].starts_with("INFO "), "{told:?}");
        assert!(told[1].contains(" message=connection failed ") && told[1].ends_with(" code=1002"));
    });
}

#[test]
fn a_connection_dropped_with_messages_unsent_says_how_much_is_lost() {
    let (lines, _guard) = listening();
    run(async {
        let config = Config::default();
        let lost = |unsent: usize| {
            let told = lines.take();
            let last =
                format!("INFO message=dropped with messages unsent role=Server unsent={unsent}");
            match unsent {
                0 => assert!(!told.iter().any(|line| line.contains("unsent")), "{told:?}"),
                _ => assert_eq!(told.last(), Some(&last)),
            }
        };
        // Fed in either order, or behind what was written; a Close and a Pong are no messages.
        let (_raw, theirs) = tokio::io::duplex(4 << 10);
        let mut ws = support::tokio::server(theirs, &config);
        ws.send("written").await.unwrap();
        ws.feed("lost").unwrap();
        ws.sender_mut().feed_first("lost too").unwrap();
        ws.sender_mut().pong(b"not counted").unwrap();
        ws.sender_mut().close(None).unwrap();
        drop(ws);
        lost(2 + 4 + 2 + 8);

        // A stream that takes no more, and the writer of a split connection that was given up.
        let (_raw, theirs) = tokio::io::duplex(10);
        let (reader, mut writer) = support::tokio::server(theirs, &config).into_split();
        writer.feed("0123456789").unwrap();
        assert!(futures_util::FutureExt::now_or_never(writer.flush()).is_none());
        drop(writer);
        drop(reader);
        lost(2);

        // Nothing is lost, or an error has told so.
        let (_raw, theirs) = tokio::io::duplex(4 << 10);
        let mut ws = support::tokio::server(theirs, &config);
        ws.send("written").await.unwrap();
        ws.sender_mut().ping(b"").unwrap();
        drop(ws);
        lost(0);
        let (_, theirs) = tokio::io::duplex(4 << 10);
        let mut ws = support::tokio::server(theirs, &config);
        assert!(ws.send("refused").await.is_err());
        assert_eq!(ws.connection().sender().dropped(), 9);
        drop(ws);
        lost(0);
    });
}

/// The rows of the table, without what they mean.
fn documented() -> BTreeSet<String> {
    let docs = include_str!("../../src/guide.rs");
    let table = docs.lines().skip_while(|line| *line != "/// | level | event | fields | when |");
    let rows = table.skip(2).map_while(|line| line.strip_prefix("/// | "));
    rows.map(|row| row.splitn(4, " | ").take(3).collect::<Vec<_>>().join(" | ")).collect()
}

#[test]
fn the_documented_table_has_each_event_with_its_level_and_its_fields() {
    let (lines, _guard) = listening();
    run(async {
        let (ours, theirs) = tokio::io::duplex(4 << 10);
        let (request, config) = (Request::new(REQUEST).unwrap(), Config::default());
        let (ours, theirs) = tokio::join!(
            tickwire::tokio::client(ours, &request, &config),
            tickwire::tokio::accept(theirs, &config),
        );
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        lines.expect(&[
            "DEBUG message=opening handshake done role=Server path=/feed",
            "DEBUG message=opening handshake done role=Client path=/feed",
        ]);
        ours.send("x").await.unwrap();
        let _ = theirs.recv().await.unwrap().unwrap();
        let (closed, end) = tokio::join!(ours.close(None), theirs.recv());
        assert!(closed.is_ok() && end.unwrap().is_none());
        // A violation; an end without a Close.
        for wire in [&b"\x82\x01x"[..], b""] {
            let (mut raw, theirs) = tokio::io::duplex(4 << 10);
            raw.write_all(wire).await.unwrap();
            raw.shutdown().await.unwrap();
            assert!(support::tokio::server(theirs, &config).recv().await.is_err());
        }
        let (mut raw, theirs) = tokio::io::duplex(4 << 10);
        raw.shutdown().await.unwrap();
        assert!(tickwire::tokio::accept(theirs, &config).await.is_err());
        // A message that nobody flushes.
        let (_raw, theirs) = tokio::io::duplex(4 << 10);
        support::tokio::server(theirs, &config).feed("x").unwrap();
    });
    assert_eq!(lines.0.lock().unwrap().1, documented());
}
