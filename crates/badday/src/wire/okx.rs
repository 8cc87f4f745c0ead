//! OKX: `{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}`, and the text `ping`.
use super::{Asked, NO_SUCH_STREAM, changed, known, levels, names};
use crate::{
    day::Shape,
    market::{Position, Update},
};
use serde_json::{Value, json};

pub(super) fn read(message: &Value, symbols: usize) -> Asked {
    let id = message["id"].clone();
    let instruments =
        || names(message.get("args"), |arg| known(Shape::Okx, arg["instId"].as_str()?, symbols));
    match message["op"].as_str() {
        Some("subscribe") => match instruments() {
            Some(instruments) => Asked::Subscribe(instruments, id),
            None => Asked::Unknown(NO_SUCH_STREAM, id),
        },
        Some("unsubscribe") => match instruments() {
            Some(instruments) => Asked::Unsubscribe(instruments, id),
            None => Asked::Unknown(NO_SUCH_STREAM, id),
        },
        Some("login") => Asked::Login,
        _ => Asked::Unknown("unknown op", id),
    }
}

pub(super) fn subscribed(
    symbols: &[usize],
    id: &Value,
    connection: u64,
    event: &str,
) -> Vec<String> {
    let answer = |&symbol: &usize| {
        json!({ "id": id, "event": event, "arg": arg(symbol), "connId": connection.to_string() })
            .to_string()
    };
    symbols.iter().map(answer).collect()
}

pub(super) fn update(update: &Update, since_1970: u128) -> String {
    let previous = json!(update.first - 1);
    book(update.symbol, "update", changed(update), update.last, previous, since_1970)
}

pub(super) fn keepalive(symbol: usize, at: Position, since_1970: u128) -> String {
    book(symbol, "update", Vec::new(), at.number, json!(at.number), since_1970)
}

pub(super) fn snapshot(symbol: usize, at: Position, since_1970: u128) -> String {
    book(symbol, "snapshot", levels(at), at.number, json!(-1), since_1970)
}

fn book(
    symbol: usize,
    action: &str,
    levels: Vec<[String; 2]>,
    number: u64,
    previous: Value,
    since_1970: u128,
) -> String {
    let bids: Vec<_> =
        levels.iter().map(|[price, quantity]| [price, quantity.as_str(), "0", "1"]).collect();
    let data = json!([{
        "asks": [], "bids": bids, "ts": since_1970.to_string(),
        "seqId": number, "prevSeqId": previous,
    }]);
    json!({ "arg": arg(symbol), "action": action, "data": data }).to_string()
}

fn arg(symbol: usize) -> Value {
    json!({ "channel": "books", "instId": Shape::Okx.symbol(symbol) })
}
