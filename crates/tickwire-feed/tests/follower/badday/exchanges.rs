//! What a program says to each exchange, and how it reads the answers: the application's part.
use badday::Shape;
use serde_json::{Value, json};
use std::ops::Range;
use tickwire_feed::Say;

/// A received message.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    LoggedIn,
    /// The answer to the subscription of this index.
    Answer(usize),
    Update {
        subscription: usize,
        first: u64,
        last: u64,
        levels: Vec<Level>,
    },
    Snapshot(usize, Snapshot),
    Ending,
    Other,
}

/// A price and its quantity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Level {
    pub(crate) price: u64,
    pub(crate) quantity: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) number: u64,
    pub(crate) levels: Vec<Level>,
}

pub(crate) fn write(shape: Shape, say: Say) -> String {
    match (shape, say) {
        (_, Say::Subscribe { subscriptions, .. }) => subscribe(shape, subscriptions),
        (Shape::Okx, Say::Login) => {
            json!({ "op": "login", "args": [{ "apiKey": "k" }] }).to_string()
        }
        (_, Say::Login) => json!({ "event": "auth", "apiKey": "k" }).to_string(),
        (_, Say::Probe) => ping(shape).to_owned(),
    }
}

/// The text that an exchange answers.
pub(crate) fn ping(shape: Shape) -> &'static str {
    match shape {
        Shape::Okx => "ping",
        Shape::Bybit => r#"{"op":"ping"}"#,
        Shape::Binance => r#"{"method":"LIST_SUBSCRIPTIONS","id":0}"#,
        Shape::Coinbase => r#"{"type":"ping"}"#,
        Shape::Bitfinex => r#"{"event":"ping"}"#,
    }
}

pub(crate) fn subscribe(shape: Shape, range: Range<usize>) -> String {
    let id = range.start;
    let names: Vec<_> = range.map(|index| shape.symbol(index)).collect();
    match shape {
        Shape::Binance => {
            let streams: Vec<_> =
                names.iter().map(|name| format!("{}@depth", name.to_lowercase())).collect();
            json!({ "method": "SUBSCRIBE", "params": streams, "id": id })
        }
        Shape::Coinbase => {
            json!({ "type": "subscribe", "product_ids": names, "channels": ["full"] })
        }
        Shape::Okx => json!({ "op": "subscribe", "args": okx(&names) }),
        Shape::Bybit => {
            let topics: Vec<_> = names.iter().map(|name| format!("orderbook.50.{name}")).collect();
            json!({ "op": "subscribe", "req_id": id.to_string(), "args": topics })
        }
        Shape::Bitfinex => json!({ "event": "subscribe", "channel": "book", "symbol": names[0] }),
    }
    .to_string()
}

/// Where a subscription brings a snapshot, one has to end before the next one brings another.
pub(crate) fn unsubscribe(shape: Shape, index: usize) -> String {
    let name = shape.symbol(index);
    match shape {
        Shape::Okx => json!({ "op": "unsubscribe", "args": okx(&[name]) }),
        Shape::Bybit => json!({ "op": "unsubscribe", "args": [format!("orderbook.50.{name}")] }),
        Shape::Bitfinex => json!({ "event": "unsubscribe", "chanId": index + 1 }),
        Shape::Binance | Shape::Coinbase => unreachable!("snapshots over HTTP"),
    }
    .to_string()
}

fn okx(names: &[String]) -> Vec<Value> {
    names.iter().map(|name| json!({ "channel": "books", "instId": name })).collect()
}

/// Where to get a snapshot over HTTP.
pub(crate) fn snapshot_target(shape: Shape, index: usize) -> String {
    let name = shape.symbol(index);
    match shape {
        Shape::Binance => format!("/api/v3/depth?symbol={name}&limit=1000"),
        _ => format!("/products/{name}/book?level=3"),
    }
}

pub(crate) fn read_snapshot(body: &str) -> Option<Snapshot> {
    let body: Value = serde_json::from_str(body).ok()?;
    let number = body["lastUpdateId"].as_u64().or(body["sequence"].as_u64())?;
    Some(Snapshot { number, levels: levels(&body["bids"]) })
}

pub(crate) fn read(shape: Shape, text: &str, symbols: usize) -> Read {
    let Ok(message) = serde_json::from_str::<Value>(text) else { return Read::Other };
    let index =
        |name: &Value| (0..symbols).find(|&index| name.as_str() == Some(&shape.symbol(index)));
    let known = match shape {
        Shape::Binance => read_binance(&message, index),
        Shape::Coinbase => read_coinbase(&message, index),
        Shape::Okx => read_okx(&message, index),
        Shape::Bybit => read_bybit(&message, index),
        Shape::Bitfinex => read_bitfinex(&message),
    };
    known.unwrap_or(Read::Other)
}

fn read_binance(message: &Value, index: impl Fn(&Value) -> Option<usize>) -> Option<Read> {
    if message.get("result").is_some_and(Value::is_null) {
        return Some(Read::Answer(message["id"].as_u64()? as usize));
    }
    match message["e"].as_str()? {
        "serverShutdown" => Some(Read::Ending),
        _ => Some(Read::Update {
            subscription: index(&message["s"])?,
            first: message["U"].as_u64()?,
            last: message["u"].as_u64()?,
            levels: levels(&message["b"]),
        }),
    }
}

fn read_coinbase(message: &Value, index: impl Fn(&Value) -> Option<usize>) -> Option<Read> {
    if message["type"] == "subscriptions" {
        return Some(Read::Answer(index(&message["channels"][0]["product_ids"][0])?));
    }
    let number = message["sequence"].as_u64()?;
    let change = &message["changes"][0];
    let levels = vec![level(change[1].as_str()?, change[2].as_str()?)?];
    let subscription = index(&message["product_id"])?;
    Some(Read::Update { subscription, first: number, last: number, levels })
}

fn read_okx(message: &Value, index: impl Fn(&Value) -> Option<usize>) -> Option<Read> {
    match message["event"].as_str() {
        Some("login") => return Some(Read::LoggedIn),
        Some("subscribe") => return Some(Read::Answer(index(&message["arg"]["instId"])?)),
        Some("notice") => return Some(Read::Ending),
        Some(_) => return None,
        None => {}
    }
    let subscription = index(&message["arg"]["instId"])?;
    let data = &message["data"][0];
    let last = data["seqId"].as_u64()?;
    let levels = levels(&data["bids"]);
    if message["action"] == "snapshot" {
        return Some(Read::Snapshot(subscription, Snapshot { number: last, levels }));
    }
    let first = data["prevSeqId"].as_u64()? + 1;
    Some(Read::Update { subscription, first, last, levels })
}

fn read_bybit(message: &Value, index: impl Fn(&Value) -> Option<usize>) -> Option<Read> {
    if message["op"] == "subscribe" {
        return Some(Read::Answer(message["req_id"].as_str()?.parse().ok()?));
    }
    let data = &message["data"];
    let subscription = index(&data["s"])?;
    let number = data["u"].as_u64()?;
    let levels = levels(&data["b"]);
    if message["type"] == "snapshot" {
        return Some(Read::Snapshot(subscription, Snapshot { number, levels }));
    }
    Some(Read::Update { subscription, first: number, last: number, levels })
}

/// The number is that of the connection.
fn read_bitfinex(message: &Value) -> Option<Read> {
    match message["event"].as_str() {
        Some("auth") if message["status"] == "OK" => return Some(Read::LoggedIn),
        Some("subscribed") => return Some(Read::Answer(message["chanId"].as_u64()? as usize - 1)),
        Some(_) => return None,
        None => {}
    }
    let subscription = message[0].as_u64()? as usize - 1;
    let number = message[2].as_u64()?;
    let level = |entry: &Value| level(&entry[0].to_string(), &entry[2].to_string());
    if message[1][0].is_array() {
        let levels = message[1].as_array()?.iter().filter_map(level).collect();
        return Some(Read::Snapshot(subscription, Snapshot { number, levels }));
    }
    let levels = vec![level(&message[1])?];
    Some(Read::Update { subscription, first: number, last: number, levels })
}

fn levels(list: &Value) -> Vec<Level> {
    let entries = list.as_array().into_iter().flatten();
    entries.filter_map(|entry| level(entry[0].as_str()?, entry[1].as_str()?)).collect()
}

fn level(price: &str, quantity: &str) -> Option<Level> {
    Some(Level { price: price.parse().ok()?, quantity: quantity.to_owned() })
}
