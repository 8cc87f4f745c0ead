//! Bybit: `{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}`, and `{"op":"ping"}`.
use super::{Asked, NO_SUCH_STREAM, changed, known, levels, names};
use crate::{
    day::Shape,
    market::{Position, Update},
};
use serde_json::{Value, json};

pub(super) fn read(message: &Value, symbols: usize) -> Asked {
    let id = message["req_id"].clone();
    let topics = || {
        names(message.get("args"), |topic| {
            let name = topic.as_str()?.strip_prefix("orderbook.")?;
            known(Shape::Bybit, name.split_once('.')?.1, symbols)
        })
    };
    match message["op"].as_str() {
        Some("subscribe") => match topics() {
            Some(topics) => Asked::Subscribe(topics, id),
            None => Asked::Unknown(NO_SUCH_STREAM, id),
        },
        Some("unsubscribe") => match topics() {
            Some(topics) => Asked::Unsubscribe(topics, id),
            None => Asked::Unknown(NO_SUCH_STREAM, id),
        },
        Some("ping") => Asked::Ping(id),
        Some("auth") => Asked::Login,
        _ => Asked::Unknown("unknown op", id),
    }
}

pub(super) fn answer(op: &str, message: &str, id: &Value, connection: u64) -> String {
    json!({
        "success": true, "ret_msg": message, "conn_id": connection.to_string(),
        "req_id": id, "op": op,
    })
    .to_string()
}

pub(super) fn update(update: &Update, since_1970: u128) -> String {
    book(update.symbol, "delta", changed(update), update.last, since_1970)
}

pub(super) fn snapshot(symbol: usize, at: Position, since_1970: u128) -> String {
    book(symbol, "snapshot", levels(at), at.number, since_1970)
}

fn book(
    symbol: usize,
    kind: &str,
    levels: Vec<[String; 2]>,
    number: u64,
    since_1970: u128,
) -> String {
    let symbol = Shape::Bybit.symbol(symbol);
    json!({
        "topic": format!("orderbook.50.{symbol}"), "type": kind, "ts": since_1970 as u64,
        "data": { "s": symbol, "b": levels, "a": [], "u": number, "seq": number },
    })
    .to_string()
}
