//! Bitfinex, with its flag SEQ_ALL: `{"event":"subscribe","channel":"book","symbol":"tBTCUSD"}`.
use super::{Asked, NO_SUCH_STREAM, known, levels};
use crate::{
    day::Shape,
    market::{self, Position, Update},
};
use serde_json::{Value, json};

pub(super) fn read(message: &Value, symbols: usize) -> Asked {
    match message["event"].as_str() {
        Some("subscribe") => {
            let symbol = message["symbol"].as_str();
            match symbol.and_then(|name| known(Shape::Bitfinex, name, symbols)) {
                Some(symbol) => Asked::Subscribe(vec![symbol], Value::Null),
                None => Asked::Unknown(NO_SUCH_STREAM, Value::Null),
            }
        }
        Some("unsubscribe") => match message["chanId"].as_u64() {
            Some(channel) if (1..=symbols as u64).contains(&channel) => {
                Asked::Unsubscribe(vec![channel as usize - 1], Value::Null)
            }
            _ => Asked::Unknown(NO_SUCH_STREAM, Value::Null),
        },
        Some("auth") => Asked::Login,
        Some("ping") => Asked::Ping(message["cid"].clone()),
        Some("conf") => Asked::Configure(Value::Null),
        _ => Asked::Unknown("unknown event", Value::Null),
    }
}

const fn channel(symbol: usize) -> usize {
    symbol + 1
}

pub(super) fn subscribed(symbol: usize) -> String {
    json!({
        "event": "subscribed", "channel": "book", "chanId": channel(symbol),
        "symbol": Shape::Bitfinex.symbol(symbol),
    })
    .to_string()
}

pub(super) fn unsubscribed(symbol: usize) -> String {
    json!({ "event": "unsubscribed", "status": "OK", "chanId": channel(symbol) }).to_string()
}

/// Prices and amounts are numbers here.
pub(super) fn update(update: &Update, sent: u64) -> String {
    let price = market::price(update.last);
    let amount = market::quantity(update.count, update.last);
    format!("[{},[{price},1,{amount}],{sent}]", channel(update.symbol))
}

pub(super) fn snapshot(symbol: usize, at: Position, sent: u64) -> String {
    let levels: Vec<_> =
        levels(at).iter().map(|[price, amount]| format!("[{price},1,{amount}]")).collect();
    format!("[{},[{}],{sent}]", channel(symbol), levels.join(","))
}
