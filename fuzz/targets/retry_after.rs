//! Retry-After (RFC 9110 §10.2.3), in seconds or as a date beside the response's own, against a
//! plain reading of both; and what `Backoff` makes of it and of everything else that it is told,
//! against a model.
#![no_main]
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use tickwire::{
    CloseCode, Config, Entropy, Error,
    handshake::client::{Handshake, Request},
};
use tickwire_fuzz::head::trim;
use tickwire_parts::Backoff;

#[derive(Arbitrary, Debug)]
struct Input {
    seed: u64,
    first: Span,
    max: Span,
    max_retry_after: Span,
    attempts: Option<u8>,
    ops: Vec<Op>,
}

/// Seconds as a rule, at times anything.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Span {
    Seconds(u8),
    Millis(u16),
    Any(u64, u32),
}

#[derive(Arbitrary, Debug)]
enum Op {
    Next,
    Useful,
    Lived(Span),
    Closed(u16),
    Refused(u16, Option<Span>),
    /// The same through a response: two header values.
    Response {
        status: u16,
        retry_after: Value,
        date: Option<Value>,
    },
}

#[derive(Arbitrary, Debug)]
enum Value {
    Bytes(Vec<u8>),
    Number(u64),
    Date {
        weekday: u8,
        day: u8,
        month: u8,
        year: u16,
        hour: u8,
        minute: u8,
        second: u8,
        spoilt: Option<(u8, u8)>,
    },
}

impl Span {
    fn get(self) -> Duration {
        match self {
            Self::Seconds(n) => Duration::from_secs(u64::from(n)),
            Self::Millis(n) => Duration::from_millis(u64::from(n)),
            Self::Any(seconds, nanos) => Duration::new(seconds, nanos % 1_000_000_000),
        }
    }
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        match self {
            // What no header can hold is for the target `response`.
            Self::Bytes(bytes) => {
                let fine = |b: &&u8| !matches!(b, 0..=8 | 10..=31 | 127);
                bytes.iter().filter(fine).take(60).copied().collect()
            }
            Self::Number(n) => n.to_string().into_bytes(),
            Self::Date { weekday, day, month, year, hour, minute, second, spoilt } => {
                let mut date = format!(
                    "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                    DAYS[usize::from(weekday % 7)],
                    day % 34,
                    MONTHS[usize::from(month % 12)],
                    // Around the limits, as a rule.
                    if year % 2 == 0 { 1960 + year / 2 % 180 } else { year % 10_000 },
                    hour % 25,
                    minute % 62,
                    second % 63,
                )
                .into_bytes();
                if let Some((at, byte)) = spoilt
                    && !matches!(byte, 0..=31 | 127)
                {
                    let at = usize::from(*at) % date.len();
                    date[at] = *byte;
                }
                date
            }
        }
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

struct Sevens;

impl Entropy for Sevens {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill(7);
    }
}

/// What the documentation of `Backoff` promises, as bounds.
struct Model {
    first: Duration,
    max: Duration,
    max_retry_after: Duration,
    limit: Option<u32>,
    attempts: u32,
}

impl Model {
    /// From and to which the next delay may be; `None` if there is none.
    fn next(&mut self) -> Option<(Duration, Duration)> {
        if self.limit.is_some_and(|limit| self.attempts >= limit) {
            return None;
        }
        let bounds = if self.attempts == 0 {
            (Duration::ZERO, self.first.min(self.max))
        } else {
            let mut most = self.first.max(Duration::from_millis(100));
            for _ in 0..self.attempts.min(40) {
                most = most.saturating_mul(2);
            }
            let most = if self.attempts > 31 { most.max(self.max) } else { most }.min(self.max);
            (most / 2, most)
        };
        self.attempts += 1;
        Some(bounds)
    }

    /// Both ends moved up to where a server asks for.
    fn at_least(bounds: (Duration, Duration), asked: (Duration, Duration)) -> (Duration, Duration) {
        (bounds.0.max(asked.0), bounds.1.max(asked.1))
    }
}

fuzz_target!(|input: Input| {
    let [first, max, max_retry_after] =
        [input.first, input.max, input.max_retry_after].map(Span::get);
    let limit = input.attempts.map(u32::from);
    let mut backoff = Backoff::seeded(input.seed);
    backoff.first_delay = first;
    backoff.max_delay = max;
    backoff.max_retry_after = max_retry_after;
    backoff.max_attempts = limit;
    let mut twin = backoff.clone();
    let mut model = Model { first, max, max_retry_after, limit, attempts: 0 };
    for op in input.ops.iter().take(100) {
        let got = apply(&mut backoff, op);
        assert_eq!(got, apply(&mut twin, op), "the same seed, another delay");
        let want = expect(&mut model, op);
        match (got, want) {
            (None, None) => {}
            (Some(got), Some((least, most))) => {
                assert!(least <= got && got <= most, "{got:?} is not in {least:?}..={most:?}");
            }
            (got, want) => panic!("{got:?}, wanted {want:?}"),
        }
        assert_eq!(backoff.attempts(), model.attempts);
    }
});

fn apply(backoff: &mut Backoff, op: &Op) -> Option<Duration> {
    match op {
        Op::Next => backoff.next(),
        Op::Useful => {
            backoff.reset();
            None
        }
        Op::Lived(lived) => {
            backoff.connected_for(lived.get());
            None
        }
        Op::Closed(code) => backoff.after_close(*code),
        Op::Refused(status, after) => backoff.after_refusal(*status, after.map(Span::get)),
        Op::Response { status, retry_after, date } => {
            let (status, after) = respond(*status, retry_after, date.as_ref());
            let direct = backoff.clone().after_refusal(status, after);
            let refusal = refused(status, retry_after, date.as_ref());
            let got = backoff.after_error(Error::Refused(Box::new(refusal)).retry_delay());
            assert_eq!(got, direct);
            got
        }
    }
}

fn expect(model: &mut Model, op: &Op) -> Option<(Duration, Duration)> {
    match op {
        Op::Next => model.next(),
        Op::Useful => {
            model.attempts = 0;
            None
        }
        Op::Lived(lived) => {
            if lived.get() >= model.max {
                model.attempts = 0;
            }
            None
        }
        Op::Closed(code) => {
            if CloseCode::new(*code).is_some_and(|code| !code.is_retryable()) {
                return None;
            }
            let due = model.next()?;
            let within = |n| Duration::from_secs(n).min(model.max);
            Some(match code {
                1012 => Model::at_least(due, (within(5), within(30))),
                1013 => Model::at_least(due, (model.max / 2, model.max)),
                _ => due,
            })
        }
        Op::Refused(status, after) => after_refusal(model, *status, after.map(Span::get)),
        Op::Response { status, retry_after, date } => {
            let (status, after) = respond(*status, retry_after, date.as_ref());
            after_refusal(model, status, after)
        }
    }
}

fn after_refusal(
    model: &mut Model,
    status: u16,
    after: Option<Duration>,
) -> Option<(Duration, Duration)> {
    use tickwire::handshake::HandshakeError;
    if !(HandshakeError::Refused { status }).is_retryable() {
        return None;
    }
    let (least, most) = model.next()?;
    let more = after.unwrap_or_default().min(model.max_retry_after);
    Some((least.saturating_add(more), most.saturating_add(more)))
}

/// A status that refuses, and what the plain reading makes of the values.
fn respond(status: u16, retry_after: &Value, date: Option<&Value>) -> (u16, Option<Duration>) {
    let status = 400 + status % 200;
    let value = retry_after.bytes();
    let value = trim(&value);
    let after = if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        // RFC 9111 §1.2.2: more than there can be is as much as there can be.
        let text = std::str::from_utf8(value).expect("digits");
        Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
    } else {
        let from = date.and_then(|date| seconds(trim(&date.bytes())));
        let to = seconds(value);
        from.zip(to).map(|(from, to)| Duration::from_secs(to.saturating_sub(from)))
    };
    (status, after)
}

/// The same through a client, which gives its refusal.
fn refused(
    status: u16,
    retry_after: &Value,
    date: Option<&Value>,
) -> tickwire::handshake::client::Refusal {
    let mut wire = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n").into_bytes();
    wire.extend(b"Retry-After: ");
    wire.extend(retry_after.bytes());
    if let Some(date) = date {
        wire.extend(b"\r\nDate: ");
        wire.extend(date.bytes());
    }
    wire.extend(b"\r\n\r\n");
    let request = Request::new("ws://example.com/").expect("a URL");
    let mut client = Handshake::new(&request, &Config::default(), Sevens);
    let sent = client.outgoing().len();
    client.advance(sent);
    let spare = client.reading.spare_mut();
    spare[..wire.len()].copy_from_slice(&wire);
    client.reading.commit(wire.len());
    let verdict = client.step();
    client.into_refusal().unwrap_or_else(|| panic!("{verdict:?}"))
}

/// Counts days one by one.
fn seconds(date: &[u8]) -> Option<u64> {
    if date.len() != 29 {
        return None;
    }
    // Which day of the week it says is not looked at.
    let date = std::str::from_utf8(&date[3..]).ok()?;
    let fields: Vec<&str> = date.split(' ').collect();
    let &[",", day, month, year, time, "GMT"] = &fields[..] else { return None };
    let clock: Vec<&str> = time.split(':').collect();
    let &[hour, minute, second] = &clock[..] else { return None };
    let number = |text: &str, len: usize| {
        let fine = text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
        fine.then(|| text.parse::<u64>().expect("digits"))
    };
    let (day, year) = (number(day, 2)?, number(year, 4)?);
    let month = MONTHS.iter().position(|name| *name == month)?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    if year < 1970 || day == 0 || day > 31 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let lens =
        |year| [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let months: u64 = lens(year)[..month].iter().sum();
    Some((years + months + day - 1) * 86_400 + hour * 3600 + minute * 60 + second)
}
