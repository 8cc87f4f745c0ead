//! Coinbase Exchange: `{"type":"subscribe","product_ids":["BTC-USD"],"channels":["full"]}`.
use super::{Asked, NO_SUCH_STREAM, changed, known, levels, names};
use crate::{
    day::Shape,
    market::{Position, Update},
};
use serde_json::{Value, json};

pub(super) fn read(message: &Value, symbols: usize) -> Asked {
    let products = || {
        names(message.get("product_ids"), |name| known(Shape::Coinbase, name.as_str()?, symbols))
    };
    match message["type"].as_str() {
        Some("subscribe") => match products() {
            Some(products) => Asked::Subscribe(products, Value::Null),
            None => Asked::Unknown(NO_SUCH_STREAM, Value::Null),
        },
        Some("unsubscribe") => match products() {
            Some(products) => Asked::Unsubscribe(products, Value::Null),
            None => Asked::Unknown(NO_SUCH_STREAM, Value::Null),
        },
        Some("ping") => Asked::Ping(Value::Null),
        _ => Asked::Unknown("unknown type", Value::Null),
    }
}

pub(super) fn subscribed(symbols: &[usize]) -> String {
    let products: Vec<_> = symbols.iter().map(|&symbol| Shape::Coinbase.symbol(symbol)).collect();
    let channels = json!([{ "name": "full", "product_ids": products }]);
    json!({ "type": "subscriptions", "channels": channels }).to_string()
}

pub(super) fn update(update: &Update) -> String {
    let changes: Vec<_> = changed(update)
        .into_iter()
        .map(|[price, quantity]| ["buy".into(), price, quantity])
        .collect();
    json!({
        "type": "l2update", "product_id": Shape::Coinbase.symbol(update.symbol),
        "sequence": update.last, "changes": changes,
    })
    .to_string()
}

pub(super) fn snapshot(at: Position) -> String {
    json!({ "sequence": at.number, "bids": levels(at), "asks": [] }).to_string()
}
