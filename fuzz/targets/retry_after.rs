//! The seconds of Retry-After (RFC 9110 §10.2.3) against a plain reading; and what `Backoff` makes
//! of it and of everything else that it is told, against a model.
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
    /// The same through a response: a header value.
    Response(u16, Value),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Bytes(Vec<u8>),
    Number(u64),
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
        }
    }
}

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
        Op::Response(status, retry_after) => {
            let (status, after) = respond(*status, retry_after);
            let direct = backoff.clone().after_refusal(status, after);
            let refusal = refused(status, retry_after);
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
        Op::Response(status, retry_after) => {
            let (status, after) = respond(*status, retry_after);
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
fn respond(status: u16, retry_after: &Value) -> (u16, Option<Duration>) {
    let status = 400 + status % 200;
    let value = retry_after.bytes();
    let value = trim(&value);
    let after = if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        // RFC 9111 §1.2.2: more than there can be is as much as there can be.
        let text = std::str::from_utf8(value).expect("digits");
        Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
    } else {
        None
    };
    (status, after)
}

/// The same through a client, which gives its refusal.
fn refused(status: u16, retry_after: &Value) -> tickwire::handshake::client::Refusal {
    let mut wire = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n").into_bytes();
    wire.extend(b"Retry-After: ");
    wire.extend(retry_after.bytes());
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
