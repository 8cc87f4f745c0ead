//! Days in words, for `--list` and `--explain`.
use crate::day::{Certificate, Day, Event, Fault, Limit, Requests, RetryAfter, Shape};
use std::{fmt, time::Duration};

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(code, "") => write!(f, "Close {code}"),
            Self::Close(code, reason) => write!(f, "Close {code} \"{reason}\""),
            Self::Cut => write!(f, "TCP ends, without a Close"),
            Self::Reset => write!(f, "TCP is reset"),
            Self::Silent => write!(f, "connections fall silent, without FIN or RST"),
            Self::Frozen(lasts) => write!(f, "the server stands still for {lasts:?}"),
            Self::Down(lasts) => write!(f, "nobody listens for {lasts:?}"),
            Self::Refuse { what, status, retry_after, lasts } => {
                let what = match what {
                    Requests::All => "requests",
                    Requests::Snapshots => "requests for snapshots",
                };
                write!(f, "{what} get {status} for {lasts:?}")?;
                match retry_after {
                    RetryAfter::None => Ok(()),
                    RetryAfter::Seconds(seconds) => write!(f, ", Retry-After {seconds}"),
                    RetryAfter::Date(seconds) => {
                        write!(f, ", Retry-After with the date in {seconds} s")
                    }
                }
            }
            Self::Certificate { shown, lasts } => {
                let what = match shown {
                    Certificate::Valid => "is good",
                    Certificate::Lapsed => "has lapsed",
                    Certificate::OtherName => "is for another host",
                    Certificate::OtherAuthority => "is of an unknown authority",
                };
                write!(f, "the certificate {what}, for {lasts:?}")
            }
            Self::WrongSubprotocol(lasts) => {
                write!(f, "upgrades name a subprotocol that nobody asked for, for {lasts:?}")
            }
            Self::ShortLived { code, life, lasts } => {
                match code {
                    Some(code) => write!(f, "connections get Close {code}")?,
                    None => write!(f, "connections are cut")?,
                }
                write!(f, " {life:?} after they opened, for {lasts:?}")
            }
            Self::Mute(Duration::ZERO) => {
                write!(f, "the first symbol's data stops on open connections")
            }
            Self::Mute(lasts) => {
                write!(f, "the first symbol's data stops on all connections, for {lasts:?}")
            }
            Self::BadText => write!(f, "a text that is not UTF-8"),
            Self::Quiet(lasts) => write!(f, "the market is quiet for {lasts:?}"),
            Self::Jump(numbers) => write!(f, "the numbers jump by {numbers}"),
            Self::Delist => write!(f, "the last symbol is delisted"),
            Self::Lose(updates) => write!(f, "updates of the first symbol get lost: {updates}"),
            Self::Anew => write!(f, "the numbers begin anew"),
            Self::Stale(lasts) => write!(f, "snapshots are not renewed for {lasts:?}"),
            Self::KeyRefused(lasts) => write!(f, "logins get Close 1008 for {lasts:?}"),
            Self::Announce(after) => {
                write!(f, "connections are announced to end after {after:?}, and do, by Close 1001")
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "at address {address}: {} ({})", self.fault, self.thread),
            None => write!(f, "{} ({})", self.fault, self.thread),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} within {:?}", self.most, self.within)
    }
}

impl Shape {
    const fn subscription(self) -> &'static str {
        match self {
            Self::Binance => r#"{"method":"SUBSCRIBE","params":["btcusdt@depth"],"id":1}"#,
            Self::Coinbase => {
                r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["full"]}"#
            }
            Self::Okx => r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#,
            Self::Bybit => r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#,
            Self::Bitfinex => r#"{"event":"subscribe","channel":"book","symbol":"tBTCUSD"}"#,
        }
    }

    const fn snapshot(self) -> &'static str {
        match self {
            Self::Binance => "GET /api/v3/depth?symbol=BTCUSDT, lastUpdateId",
            Self::Coinbase => "GET /products/BTC-USD/book, sequence",
            Self::Okx => "each subscription brings one, seqId",
            Self::Bybit => "each subscription brings one, u",
            Self::Bitfinex => "each subscription brings one, the last field",
        }
    }
}

/// All that `--explain` says.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.rules;
        let symbols: Vec<_> = (0..self.symbols).map(|index| self.shape.symbol(index)).collect();
        writeln!(f, "{}: {}", self.name, self.title)?;
        writeln!(f, "\nA good client: {}.", self.advice)?;
        writeln!(f, "It is blind for at most {:?} after each event.", self.blind)?;
        writeln!(f, "\nsymbols    {}", symbols.join(" "))?;
        writeln!(f, "subscribe  {}", self.shape.subscription())?;
        if self.login {
            writeln!(f, "           after {{\"event\":\"auth\",\"apiKey\":\"any\"}}")?;
        }
        writeln!(f, "snapshots  {}", self.shape.snapshot())?;
        writeln!(f, "addresses  {}", self.addresses)?;
        writeln!(f, "messages   {} on a connection", rules.messages)?;
        writeln!(f, "dials      {}", rules.dials)?;
        writeln!(f, "snapshots  {}, over HTTP", rules.snapshots)?;
        let wish = |f: &mut fmt::Formatter<'_>, what: &str, time: Option<Duration>| match time {
            Some(time) => writeln!(f, "{what} {time:?}"),
            None => Ok(()),
        };
        wish(f, "a text     at least each", rules.quiet)?;
        wish(f, "a Pong     at least each", rules.ping.map(|(every, within)| every + within))?;
        wish(f, "subscribe  within", rules.subscribe)?;
        wish(f, "life       at most", self.life)?;
        writeln!(f, "banned     at {} strikes in five minutes", rules.strikes)?;
        writeln!(f, "\nat speed 1:")?;
        let (starts, end) = self.schedule(1);
        for (at, event) in starts.iter().zip(&self.events) {
            writeln!(f, "{:>8.0} s  {event}", at.as_secs_f64())?;
        }
        write!(f, "{:>8.0} s  the end", end.as_secs_f64())
    }
}
