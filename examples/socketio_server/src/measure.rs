//! What the layer costs: the same messages echoed as plain WebSocket frames and as events with an
//! acknowledgement, first in memory, where nothing but the two ends' own work is in the figures,
//! then over loopback, where both ends share a thread and its processor time counts, the system's
//! part of it included; there by long-polling too.
mod polling;

use crate::{
    app::App,
    engine::{self, Opening, Revision, session::Session},
    packet::{Args, Body, Outgoing, Packet},
    server::{Service, bind},
    session::Shared,
    settings::Settings,
};
use bytes::{Buf, Bytes};
use serde_json::value::RawValue;
use std::{
    error::Error,
    fs,
    hint::black_box,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Connection, Message, Negotiated, Step, SystemEntropy, Time,
    tokio::{MaybeTls, WebSocket, accept, connect},
};
use tokio::{net::TcpListener, sync::watch};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long each figure is measured for, in rounds of so many messages. Of the rounds the one counts
/// that is slower than a quarter: others are interrupted, on a machine that has more to do.
const TIME: Duration = Duration::from_millis(600);
const ROUND: u32 = 64;

/// How many messages are under way at once over loopback.
const WINDOW: u32 = 16;

/// What the echoed messages carry.
enum Payload {
    /// A JSON text: a frame by itself, or the argument of an event.
    Text(Box<RawValue>),
    /// Bytes: a frame by itself, or the attachment of an event.
    Binary(Bytes),
}

impl Payload {
    fn all() -> Result<Vec<(&'static str, Self)>> {
        let tick = r#"{"instrument":"EURUSD","bid":1.08421,"ask":1.08423,"size":250}"#;
        let long = format!("[{}]", vec![tick; 16].join(","));
        Ok(vec![
            ("text, 62 bytes", Self::Text(RawValue::from_string(tick.into())?)),
            ("text, 1,009 bytes", Self::Text(RawValue::from_string(long)?)),
            ("binary, 64 bytes", Self::Binary(vec![7; 64].into())),
            ("binary, 1,000 bytes", Self::Binary(vec![7; 1000].into())),
        ])
    }

    fn plain(&self) -> Message<'_> {
        match self {
            Self::Text(json) => Message::Text(json.get()),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// As an event `echo` that wants an acknowledgement.
    fn event(&self, placeholder: &RawValue, id: u64) -> Outgoing {
        let (value, attachments) = match self {
            Self::Text(json) => (&**json, &[][..]),
            Self::Binary(bytes) => (placeholder, std::slice::from_ref(bytes)),
        };
        Outgoing::event("/", Some(id), "echo", Args { values: &[value], attachments })
    }
}

/// What stands in an event for its only attachment.
fn placeholder() -> Result<Box<RawValue>> {
    Ok(RawValue::from_string(r#"{"_placeholder":true,"num":0}"#.into())?)
}

fn app() -> Shared {
    Shared::new(App { token: String::new() }, Settings::default())
}

/// Measures everything, and prints it. For a runtime of one thread.
///
/// # Errors
///
/// When loopback fails, or an end says what it should not.
pub async fn run() -> Result<()> {
    println!("ns for each message echoed, both ends, there and back\n");
    println!("{:<21} {:>8} {:>10} {:>8}", "in memory", "plain", "Socket.IO", "more");
    for (name, payload) in Payload::all()? {
        row(name, in_memory_plain(&payload)?, in_memory_events(&payload)?);
    }
    println!("\n{:<21} {:>8} {:>10} {:>8}", "of that", "encode", "decode", "server");
    for (name, payload) in Payload::all()? {
        let (encode, decode, server) = parts(&payload)?;
        println!("{name:<21} {encode:>8.0} {decode:>10.0} {server:>8.0}");
    }
    println!("(an event encoded; decoded; decoded, dispatched and its acknowledgement queued)");
    println!(
        "\n{:<21} {:>8} {:>10} {:>8}",
        format!("loopback, {WINDOW} at once"),
        "plain",
        "Socket.IO",
        "polling"
    );
    for (name, payload) in Payload::all()? {
        let (plain, events) = (loopback_plain(&payload).await?, loopback_events(&payload).await?);
        let polling = polling::loopback(&payload, WINDOW).await?;
        println!("{name:<21} {plain:>8.0} {events:>10.0} {polling:>8.0}");
    }
    let payload = &Payload::all()?[0].1;
    let one = polling::loopback(payload, 1).await?;
    println!("{:<21} {:>8} {:>10} {one:>8.0}", "text, one at a time", "", "");
    Ok(())
}

fn row(name: &str, plain: f64, events: f64) {
    println!("{name:<21} {plain:>8.0} {events:>10.0} {:>8.0}", events - plain);
}

/// ns for each message.
fn timed(mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let (begun, mut rounds) = (Instant::now(), Vec::new());
    while begun.elapsed() < TIME {
        let round = Instant::now();
        for _ in 0..ROUND {
            once()?;
        }
        rounds.push(round.elapsed());
    }
    rounds.sort_unstable();
    let counts = rounds.get(rounds.len() / 4).copied().unwrap_or_default();
    Ok(counts.as_nanos() as f64 / f64::from(ROUND))
}

// In memory.

fn pair() -> Result<(Connection, Connection)> {
    let config = Config::default();
    let client = Connection::client(&config, Negotiated::default(), SystemEntropy::new()?);
    Ok((client, Connection::server(&config, Negotiated::default())))
}

/// What one end has to send arrives at the other.
fn carry(from: &mut Connection, to: &mut Connection) {
    let tx = from.sender_mut();
    while tx.has_outgoing() {
        let mut outgoing = tx.outgoing();
        let spare = to.receiver_mut().spare_mut();
        let n = outgoing.remaining().min(spare.len());
        outgoing.copy_to_slice(&mut spare[..n]);
        to.receiver_mut().commit(n);
    }
}

fn in_memory_plain(payload: &Payload) -> Result<f64> {
    let (mut client, mut server) = pair()?;
    timed(|| {
        client.sender_mut().feed(payload.plain())?;
        carry(&mut client, &mut server);
        while server.step()? == Step::Message {
            let (rx, tx) = server.split_mut();
            if let Some(message) = rx.message() {
                tx.feed(message)?;
            }
        }
        carry(&mut server, &mut client);
        while client.step()? == Step::Message {
            black_box(client.receiver().message());
        }
        Ok(())
    })
}

fn in_memory_events(payload: &Payload) -> Result<f64> {
    let (mut client, mut server) = pair()?;
    let (mut session, placeholder) = (joined()?, placeholder()?);
    let mut id = 0;
    timed(|| {
        id += 1;
        send(payload.event(&placeholder, id), &mut client)?;
        carry(&mut client, &mut server);
        while server.step()? == Step::Message {
            if let Some(message) = server.receiver().message() {
                session.receive(message, Time::ZERO).map_err(|end| end.to_string())?;
            }
        }
        session.mailbox().feed(server.sender_mut(), Opening::WEBSOCKET)?;
        carry(&mut server, &mut client);
        while client.step()? == Step::Message {
            if let Some(message) = client.receiver().message() {
                check(message, id)?;
            }
        }
        Ok(())
    })
}

/// A session that has joined the main namespace, and whose packets so far are thrown away.
fn joined() -> Result<Session> {
    let mut session = Session::new(&app(), &Settings::default(), Opening::WEBSOCKET, Time::ZERO)?;
    session.receive(Message::Text("40"), Time::ZERO).map_err(|end| end.to_string())?;
    let (_, mut server) = pair()?;
    session.mailbox().feed(server.sender_mut(), Opening::WEBSOCKET)?;
    Ok(session)
}

fn send(packet: Outgoing, client: &mut Connection) -> Result<()> {
    client.sender_mut().feed(&packet.text)?;
    for attachment in &packet.attachments {
        client.sender_mut().feed(attachment)?;
    }
    Ok(())
}

/// Looks at what a client gets, as a client would: the acknowledgement of `id`, or its attachment.
fn check(message: Message<'_>, id: u64) -> Result<()> {
    match engine::Packet::parse(Revision::V4, message)? {
        engine::Packet::Text(text) => match Packet::parse(text, 1)? {
            Packet { id: Some(got), body: Body::Ack(_), .. } if got == id => Ok(()),
            other => Err(format!("not the acknowledgement of {id}: {other:?}").into()),
        },
        other => {
            black_box(other);
            Ok(())
        }
    }
}

/// To encode an event; to decode it; and all that the server's session does with it.
fn parts(payload: &Payload) -> Result<(f64, f64, f64)> {
    let placeholder = placeholder()?;
    let encode = timed(|| {
        black_box(payload.event(black_box(&placeholder), 7));
        Ok(())
    })?;
    let event = payload.event(&placeholder, 7);
    let text = event.text.get(1..).unwrap_or_default();
    let decode = timed(|| {
        black_box(Packet::parse(black_box(text), 1)?);
        Ok(())
    })?;
    let (mut session, (_, mut server)) = (joined()?, pair()?);
    let whole = timed(|| {
        session.receive(Message::Text(&event.text), Time::ZERO).map_err(|end| end.to_string())?;
        for bytes in &event.attachments {
            session.receive(Message::Binary(bytes), Time::ZERO).map_err(|end| end.to_string())?;
        }
        session.mailbox().feed(server.sender_mut(), Opening::WEBSOCKET)?;
        let waiting = server.sender_mut().outgoing().remaining();
        server.sender_mut().outgoing().advance(waiting);
        Ok(())
    })?;
    Ok((encode, decode, whole))
}

// Over loopback.

async fn loopback_plain(payload: &Payload) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", listener.local_addr()?);
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut ws = accept(stream, &Config::default()).await?;
        while let Some(received) = ws.recv_to_reply().await? {
            received.sender.feed(received.message)?;
        }
        Ok::<_, tickwire::Error>(())
    });
    let mut client = connect(&url, &Config::default()).await?;
    let feed = |client: &mut WebSocket<MaybeTls>, _| {
        client.feed(payload.plain())?;
        Ok(())
    };
    let ns = pipelined(&mut client, feed, |_, _| Ok(true)).await?;
    client.close(None).await?;
    server.await??;
    Ok(ns)
}

async fn loopback_events(payload: &Payload) -> Result<f64> {
    let (listener, address) = bind(([127, 0, 0, 1], 0).into()).await?;
    let (running, stop) = watch::channel(());
    let log = |line: std::fmt::Arguments<'_>| eprintln!("{line}");
    let server = tokio::spawn(Service::new(app()).serve(listener, stop, log));
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let mut client = connect(&url, &Config::default()).await?;
    client.send("40").await?;
    for _ in ["open", "connected"] {
        client.recv().await?;
    }
    let placeholder = placeholder()?;
    let last = matches!(payload, Payload::Binary(_));
    let feed = |client: &mut WebSocket<MaybeTls>, id| {
        let packet = payload.event(&placeholder, id);
        client.feed(&packet.text)?;
        for attachment in &packet.attachments {
            client.feed(attachment)?;
        }
        Ok(())
    };
    let done = |message: Message<'_>, id| {
        check(message, id)?;
        Ok(!last || message.as_text().is_none())
    };
    let ns = pipelined(&mut client, feed, done).await?;
    client.close(None).await?;
    drop(running);
    server.await?;
    Ok(ns)
}

/// ns of processor time for each message, [`WINDOW`] under way at once. `feed` sends the message of a
/// number, `done` says whether with what came now that message is all back.
async fn pipelined(
    client: &mut WebSocket<MaybeTls>,
    feed: impl Fn(&mut WebSocket<MaybeTls>, u64) -> Result<()>,
    done: impl Fn(Message<'_>, u64) -> Result<bool>,
) -> Result<f64> {
    let (begun, before) = (Instant::now(), processor_time());
    let (mut sent, mut back) = (0, 0);
    while begun.elapsed() < TIME {
        for _ in 0..WINDOW {
            feed(client, sent)?;
            sent += 1;
        }
        while back < sent {
            let message = client.recv().await?.ok_or("the server closed")?;
            back += u64::from(done(message, back)?);
        }
    }
    Ok(took(begun, before).as_nanos() as f64 / back as f64)
}

/// What this thread has run since then, or how long that is ago.
fn took(begun: Instant, before: Option<Duration>) -> Duration {
    match (before, processor_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => begun.elapsed(),
    }
}

/// What this thread has run so far, where the system says that.
fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
