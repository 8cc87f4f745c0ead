//! Binance's diff streams: `{"method":"SUBSCRIBE","params":["btcusdt@depth"],"id":1}`.
use super::{Asked, NO_SUCH_STREAM, changed, known, levels, names};
use crate::{
    day::Shape,
    market::{Position, Update},
};
use serde_json::{Value, json};

/// The symbol of a stream's name, such as `btcusdt@depth@100ms`.
pub(super) fn stream(name: &str, symbols: usize) -> Option<usize> {
    let (symbol, kind) = name.split_once('@')?;
    let symbol = known(Shape::Binance, &symbol.to_ascii_uppercase(), symbols)?;
    kind.starts_with("depth").then_some(symbol)
}

pub(super) fn read(message: &Value, symbols: usize) -> Asked {
    let id = message["id"].clone();
    let streams = || names(message.get("params"), |name| stream(name.as_str()?, symbols));
    match message["method"].as_str() {
        Some("SUBSCRIBE") => match streams() {
            Some(streams) => Asked::Subscribe(streams, id),
            None => Asked::Unknown(NO_SUCH_STREAM, id),
        },
        Some("UNSUBSCRIBE") => match streams() {
            Some(streams) => Asked::Unsubscribe(streams, id),
            None => Asked::Unknown(NO_SUCH_STREAM, id),
        },
        Some("session.logon") => Asked::Login,
        Some("LIST_SUBSCRIPTIONS") => Asked::Ping(id),
        Some("SET_PROPERTY") => Asked::Configure(id),
        _ => Asked::Unknown("unknown method", id),
    }
}

pub(super) fn update(update: &Update, since_1970: u128, wrapped: bool) -> String {
    let symbol = Shape::Binance.symbol(update.symbol);
    let data = json!({
        "e": "depthUpdate", "E": since_1970 as u64, "s": symbol,
        "U": update.first, "u": update.last, "b": changed(update), "a": [],
    });
    if !wrapped {
        return data.to_string();
    }
    let stream = format!("{}@depth", symbol.to_ascii_lowercase());
    json!({ "stream": stream, "data": data }).to_string()
}

pub(super) fn snapshot(at: Position) -> String {
    json!({ "lastUpdateId": at.number, "bids": levels(at), "asks": [] }).to_string()
}
