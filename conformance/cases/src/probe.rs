//! What is learnt of a peer before the cases run, so that a skip has its cause.

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::case::{Case, Need};
use crate::judge::Kind;
use crate::judge::deflate::Parameters;
use crate::judge::http::Head;
use crate::plan;
use crate::session::{BEHIND, Env, Session, Verdict};

/// What a peer can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// It opened a connection. If not, no case makes sense.
    pub opens: bool,
    /// The kind in which a text comes back; `None` if it doesn't.
    pub echo_text: Option<Kind>,
    /// The kind in which a binary message comes back.
    pub echo_binary: Option<Kind>,
    /// How many messages it sends by itself when a connection opens.
    pub greeting: usize,
    /// It sends messages by itself later, too.
    #[serde(default)]
    pub speaks: bool,
    /// The code with which it answers a Close of 4321, if there is one.
    pub closes_with: Option<u16>,
    /// The parameters of permessage-deflate: a server's answer to an offer of all, a client's
    /// offer.
    pub deflate: Option<Parameters>,
    /// A server that agrees only with offers of `client_max_window_bits` (RFC 7692 7.1.2.2).
    #[serde(default)]
    pub wants_any_window: bool,
    /// It ends each plain connection.
    #[serde(default)]
    pub leaves: bool,
    /// How many connections it was seen to take at one time, if that was tried.
    #[serde(default)]
    pub connections: Option<usize>,
    /// The subprotocols that a client offers.
    pub subprotocols: Vec<String>,
    /// The longest message that came back, in bytes.
    pub largest: u64,
    /// The Sec-WebSocket-Key of a tested client in the probe.
    pub key: Option<String>,
    /// What kept the first session of the probe from its end.
    pub fault: Option<String>,
}

impl Peer {
    /// A peer that can do everything: for the pages that explain the cases.
    pub fn capable() -> Peer {
        Peer {
            opens: true,
            echo_text: Some(Kind::Text),
            echo_binary: Some(Kind::Binary),
            greeting: 0,
            speaks: false,
            closes_with: Some(BEHIND),
            deflate: Some(Parameters {
                client_max_window_bits: Some(None),
                ..Parameters::default()
            }),
            wants_any_window: false,
            leaves: false,
            connections: None,
            subprotocols: Vec::new(),
            largest: 16 << 20,
            key: None,
            fault: None,
        }
    }

    /// Whether text and binary messages come back.
    pub fn echoes(&self) -> bool {
        self.echo_text.is_some() && self.echo_binary.is_some()
    }

    /// What comes back cannot be compared with what was sent.
    fn echoes_in_another_order(&mut self) {
        self.echo_text = None;
        self.echo_binary = None;
        let fault = "what it sends back comes in another order".to_owned();
        self.fault.get_or_insert(fault);
    }

    /// Why it cannot have a case with this need.
    pub fn lacks(&self, need: Need, role: Role) -> Option<String> {
        let offers = if role == Role::Server { "agrees on" } else { "offers" };
        let lacking = |has: bool, what: String| (!has).then_some(what);
        match need {
            // A peer with a lower limit is skipped when it shows it: it may also be one that cuts
            // a long message instead.
            Need::Echo | Need::Message64K | Need::Message1M | Need::Message16M => {
                let fault = self.fault.as_ref().map(|fault| format!(" ({fault})"));
                let cause = format!("the peer does not echo{}", fault.unwrap_or_default());
                lacking(self.echoes(), cause)
            }
            Need::Deflate => lacking(
                self.deflate.is_some(),
                format!("no {role} that {offers} permessage-deflate"),
            ),
            Need::NoDeflate => {
                lacking(self.deflate.is_none(), "the peer offers permessage-deflate".into())
            }
        }
    }
}

/// The sessions of the probe, one after the other. None of them fails: they are run to learn.
///
/// ```
/// use wsconform_cases::{Env, Peer, Probe, Role};
///
/// let mut probe = Probe::new(Role::Server, "localhost:9001", "/", 0);
/// while let Some(mut session) = probe.next_session() {
///     // Drive the session as any other, over a new connection; here the peer is not there.
///     session.ended(wsconform_cases::End::Reset);
///     probe.learn(&session);
/// }
/// assert!(!probe.peer().opens);
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    role: Role,
    env: Env,
    left: Vec<&'static Case>,
}

impl Probe {
    /// A probe of a `role` at this authority and request target.
    pub fn new(role: Role, host: &str, resource: &str, seed: u64) -> Probe {
        let left = plan::code::probes().iter().rev().collect();
        Probe { role, env: Env::new(host, resource, Peer::default(), seed), left }
    }

    /// The same with [these fields](Env::with_fields) in its requests.
    #[must_use]
    pub fn with_fields(mut self, fields: &[(String, String)]) -> Probe {
        self.env = self.env.with_fields(fields);
        self
    }

    /// The next session to run, over a connection of its own; `None` when all is known. A peer
    /// that doesn't answer the first is asked no more.
    pub fn next_session(&mut self) -> Option<Session> {
        while let Some(case) = self.left.pop() {
            let is_agreed = case.id == "PROBE-3" && self.env.peer.deflate.is_some();
            let fits = case.tests(self.role) && case.needs.iter().all(|need| self.has(*need));
            if fits && !is_agreed {
                return Some(Session::new(case, self.role, &self.env));
            }
        }
        None
    }

    /// The first session again: whether the peer is still there.
    pub fn opening(&self) -> Session {
        Session::new(&plan::code::probes()[0], self.role, &self.env)
    }

    fn has(&self, need: Need) -> bool {
        let peer = &self.env.peer;
        peer.lacks(need, self.role).is_none() && need.size() <= peer.largest
    }

    /// Takes what a session has shown.
    pub fn learn(&mut self, session: &Session) {
        let seen = session.observed();
        let peer = &mut self.env.peer;
        match session.case().id.as_str() {
            "PROBE-1" => {
                peer.opens = seen.opened;
                if let Verdict::Note { why } = session.verdict() {
                    peer.fault = Some(why.clone());
                }
                if !peer.opens {
                    self.left.clear();
                }
                let text = seen.messages.iter().position(|message| message.1 == PROBE_TEXT);
                let binary = seen.messages.iter().position(is_probe_binary);
                peer.echo_text = text.map(|place| seen.messages[place].0);
                peer.echo_binary = binary.map(|place| seen.messages[place].0);
                if peer.echo_binary.is_none()
                    && let Some(code) = seen.close
                {
                    let code = code.map_or_else(String::new, |code| format!(" {code}"));
                    peer.fault = Some(format!("Close{code} behind a binary message"));
                }
                peer.greeting = text.into_iter().chain(binary).min().unwrap_or(0);
                if text.zip(binary).is_some_and(|(text, binary)| text < binary) {
                    peer.echoes_in_another_order();
                }
                peer.key = seen.key.clone();
                if self.role == Role::Client {
                    peer.deflate = seen.offer;
                    peer.subprotocols = seen.subprotocols.clone();
                }
            }
            "PROBE-2" => {
                peer.deflate = seen.agreed;
                let answers = |head: &Head| head.all("Sec-WebSocket-Extensions").next().is_some();
                peer.wants_any_window = !seen.head.as_ref().is_some_and(answers);
                peer.leaves = seen.close.is_some() || seen.opened && seen.end.is_some();
            }
            "PROBE-3" => {
                peer.deflate = seen.agreed;
                peer.wants_any_window &= seen.agreed.is_some();
            }
            "PROBE-7" => {
                peer.closes_with = seen.close.flatten();
                let number = |message: &(Kind, Vec<u8>)| {
                    (0..PROBE_ORDER).find(|&number| message.1 == probe_order(number).as_bytes())
                };
                let numbers: Vec<_> = seen.messages.iter().filter_map(number).collect();
                peer.speaks = seen.messages.len() > peer.greeting + numbers.len();
                if peer.speaks {
                    peer.greeting = 0;
                }
                if !numbers.is_sorted() {
                    peer.echoes_in_another_order();
                }
            }
            _ => {
                let sizes = seen.messages.iter().map(|message| message.1.len() as u64);
                peer.largest = peer.largest.max(sizes.max().unwrap_or(0));
            }
        }
    }

    /// Takes how many connections the peer was seen to take at one time.
    pub fn learn_connections(&mut self, count: usize) {
        self.env.peer.connections = Some(count);
    }

    /// What is known so far.
    pub fn peer(&self) -> &Peer {
        &self.env.peer
    }

    /// The environment for the cases.
    pub fn env(&self) -> &Env {
        &self.env
    }
}

pub(crate) const PROBE_TEXT: &[u8] = b"wsconform asks: do you echo a text?";
pub(crate) const PROBE_BINARY: &[u8] = b"wsconform asks: do you echo binary? \xff";

/// The binary message, or what has become of it in a peer that sends binary back, but changes bytes
/// that are no text: the cases fail there, and need not be skipped.
fn is_probe_binary((kind, data): &(Kind, Vec<u8>)) -> bool {
    let as_text = &PROBE_BINARY[..PROBE_BINARY.len() - 1];
    data == PROBE_BINARY || *kind == Kind::Binary && data.starts_with(as_text)
}

/// How many messages are looked at for their order.
pub(crate) const PROBE_ORDER: usize = 16;

pub(crate) fn probe_order(number: usize) -> String {
    format!("wsconform asks: in which order? {number}")
}
