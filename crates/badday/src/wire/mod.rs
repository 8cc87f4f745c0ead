//! The messages of each exchange, as far as a feed needs them.
mod binance;
mod bitfinex;
mod bybit;
mod coinbase;
mod okx;

use crate::{
    day::Shape,
    market::{self, Position, Update},
};
use serde_json::{Value, json};

/// What a client asks by a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// Asks for the data of these symbols. The answer repeats the value.
    Subscribe(Vec<usize>, Value),
    Unsubscribe(Vec<usize>, Value),
    Login,
    Ping(Value),
    /// Settings, which are all accepted.
    Configure(Value),
    /// A request that is not known: the error's text, and what the answer repeats.
    Unknown(&'static str, Value),
}

/// What a connection adds to its messages.
pub(crate) struct Voice {
    pub(crate) shape: Shape,
    /// The connection's number.
    pub(crate) connection: u64,
    /// How many messages the connection has sent, where the exchange counts them.
    pub(crate) sent: u64,
    /// Whether each message names its stream, as those of Binance's `/stream` do.
    pub(crate) wrapped: bool,
}

impl Voice {
    /// Reads a client's text. Symbols are those below `symbols`.
    pub(crate) fn read(&self, text: &str, symbols: usize) -> Asked {
        if self.shape == Shape::Okx && text == "ping" {
            return Asked::Ping(Value::Null);
        }
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return Asked::Unknown("no JSON", Value::Null);
        };
        match self.shape {
            Shape::Binance => binance::read(&message, symbols),
            Shape::Coinbase => coinbase::read(&message, symbols),
            Shape::Okx => okx::read(&message, symbols),
            Shape::Bybit => bybit::read(&message, symbols),
            Shape::Bitfinex => bitfinex::read(&message, symbols),
        }
    }

    pub(crate) fn greeting(&self) -> Option<String> {
        let welcome = json!({ "event": "info", "version": 2, "platform": { "status": 1 } });
        (self.shape == Shape::Bitfinex).then(|| welcome.to_string())
    }

    /// The answers to a subscription, without snapshots.
    pub(crate) fn subscribed(&self, symbols: &[usize], id: &Value) -> Vec<String> {
        match self.shape {
            Shape::Binance => vec![json!({ "result": null, "id": id }).to_string()],
            Shape::Coinbase => vec![coinbase::subscribed(symbols)],
            Shape::Okx => okx::subscribed(symbols, id, self.connection, "subscribe"),
            Shape::Bybit => vec![bybit::answer("subscribe", "", id, self.connection)],
            Shape::Bitfinex => symbols.iter().map(|&symbol| bitfinex::subscribed(symbol)).collect(),
        }
    }

    pub(crate) fn unsubscribed(&self, symbols: &[usize], id: &Value) -> Vec<String> {
        match self.shape {
            Shape::Binance | Shape::Coinbase => self.subscribed(&[], id),
            Shape::Okx => okx::subscribed(symbols, id, self.connection, "unsubscribe"),
            Shape::Bybit => vec![bybit::answer("unsubscribe", "", id, self.connection)],
            Shape::Bitfinex => {
                symbols.iter().map(|&symbol| bitfinex::unsubscribed(symbol)).collect()
            }
        }
    }

    pub(crate) fn logged_in(&self) -> String {
        match self.shape {
            Shape::Okx => r#"{"event":"login","code":"0","msg":""}"#.into(),
            Shape::Bybit => bybit::answer("auth", "", &Value::Null, self.connection),
            Shape::Binance | Shape::Coinbase | Shape::Bitfinex => {
                r#"{"event":"auth","status":"OK","chanId":0}"#.into()
            }
        }
    }

    pub(crate) fn pong(&self, id: &Value) -> String {
        match self.shape {
            Shape::Okx => "pong".into(),
            Shape::Bybit => bybit::answer("ping", "pong", id, self.connection),
            Shape::Binance => json!({ "result": [], "id": id }).to_string(),
            Shape::Coinbase => json!({ "type": "pong" }).to_string(),
            Shape::Bitfinex => json!({ "event": "pong", "cid": id }).to_string(),
        }
    }

    pub(crate) fn configured(&self, id: &Value) -> String {
        match self.shape {
            Shape::Bitfinex => r#"{"event":"conf","status":"OK"}"#.into(),
            _ => json!({ "result": null, "id": id }).to_string(),
        }
    }

    pub(crate) fn error(&self, what: &str, id: &Value) -> String {
        match self.shape {
            Shape::Binance => json!({ "error": { "code": 2, "msg": what }, "id": id }),
            Shape::Coinbase => json!({ "type": "error", "message": what }),
            Shape::Okx => json!({ "id": id, "event": "error", "code": "60012", "msg": what }),
            Shape::Bybit => json!({ "success": false, "ret_msg": what, "req_id": id }),
            Shape::Bitfinex => json!({ "event": "error", "msg": what, "code": 10_300 }),
        }
        .to_string()
    }

    pub(crate) fn announcement(&self, since_1970: u128) -> String {
        match self.shape {
            Shape::Binance => json!({ "e": "serverShutdown", "E": since_1970 as u64 }),
            Shape::Okx => json!({ "event": "notice", "code": "64008", "msg": "please reconnect" }),
            Shape::Bitfinex => {
                json!({ "event": "info", "code": 20_051, "msg": "please reconnect" })
            }
            Shape::Coinbase | Shape::Bybit => {
                json!({ "type": "info", "message": "please reconnect" })
            }
        }
        .to_string()
    }

    /// What says that a symbol's last number is still the last, if the exchange says so.
    pub(crate) fn keepalive(
        &self,
        symbol: usize,
        at: Position,
        since_1970: u128,
    ) -> Option<String> {
        (self.shape == Shape::Okx).then(|| okx::keepalive(symbol, at, since_1970))
    }

    pub(crate) fn update(&mut self, update: &Update, since_1970: u128) -> String {
        match self.shape {
            Shape::Binance => binance::update(update, since_1970, self.wrapped),
            Shape::Coinbase => coinbase::update(update),
            Shape::Okx => okx::update(update, since_1970),
            Shape::Bybit => bybit::update(update, since_1970),
            Shape::Bitfinex => {
                self.sent += 1;
                bitfinex::update(update, self.sent)
            }
        }
    }

    /// The snapshot that answers a subscription; with exchanges that have it over HTTP, the body.
    pub(crate) fn snapshot(&mut self, symbol: usize, at: Position, since_1970: u128) -> String {
        match self.shape {
            Shape::Binance => binance::snapshot(at),
            Shape::Coinbase => coinbase::snapshot(at),
            Shape::Okx => okx::snapshot(symbol, at, since_1970),
            Shape::Bybit => bybit::snapshot(symbol, at, since_1970),
            Shape::Bitfinex => {
                self.sent += 1;
                bitfinex::snapshot(symbol, at, self.sent)
            }
        }
    }
}

/// The symbol whose snapshot is asked for by this target, if it is one.
pub(crate) fn snapshot_of(shape: Shape, target: &str, symbols: usize) -> Option<usize> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let name = match shape {
        Shape::Binance if path.ends_with("/depth") => {
            query.split('&').find_map(|pair| pair.strip_prefix("symbol="))?
        }
        Shape::Coinbase => path.strip_prefix("/products/")?.strip_suffix("/book")?,
        _ => return None,
    };
    known(shape, name, symbols)
}

/// The streams that a target names, and whether each message is to name its stream.
pub(crate) fn streams_of(shape: Shape, target: &str, symbols: usize) -> (Vec<usize>, bool) {
    if shape != Shape::Binance {
        return (Vec::new(), false);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let wrapped = path == "/stream";
    let names = match wrapped {
        true => query.split('&').find_map(|pair| pair.strip_prefix("streams=")).unwrap_or(""),
        false => path.strip_prefix("/ws/").unwrap_or(""),
    };
    let streams = names.split('/').filter_map(|name| binance::stream(name, symbols)).collect();
    (streams, wrapped)
}

fn known(shape: Shape, name: &str, symbols: usize) -> Option<usize> {
    (0..symbols).find(|&symbol| shape.symbol(symbol) == name)
}

/// The levels as pairs of strings: those that an update sets.
fn changed(update: &Update) -> Vec<[String; 2]> {
    // Older numbers of the update have no level any more.
    let first = update.first.max(update.last.saturating_sub(market::LEVELS - 1));
    (first..=update.last).map(|number| level(update.count, number)).collect()
}

fn levels(at: Position) -> Vec<[String; 2]> {
    market::book(at.number).map(|(_, number)| level(at.count, number)).collect()
}

fn level(count: u32, number: u64) -> [String; 2] {
    [market::price(number).to_string(), market::quantity(count, number)]
}

/// The names in a list that are known; `None` if one is not, or there is no list.
fn names(list: Option<&Value>, find: impl Fn(&Value) -> Option<usize>) -> Option<Vec<usize>> {
    list?.as_array()?.iter().map(find).collect()
}

const NO_SUCH_STREAM: &str = "unknown stream or symbol";
