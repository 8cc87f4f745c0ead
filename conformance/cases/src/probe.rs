//! What is learnt of a peer before the cases run, so that a skip has its cause.

use crate::Role;
use crate::case::Case;
use crate::code::{self, PROBE_BINARY, PROBE_ORDER, PROBE_TEXT, probe_order};
use crate::judge::Kind;
use crate::judge::http::Head;
use crate::peer::{Env, Need, Peer};
use crate::session::{Session, Verdict};

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
        let left = code::probes().iter().rev().collect();
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
        Session::new(&code::probes()[0], self.role, &self.env)
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

/// The binary message, or what has become of it in a peer that sends binary back, but changes bytes
/// that are no text: the cases fail there, and need not be skipped.
fn is_probe_binary((kind, data): &(Kind, Vec<u8>)) -> bool {
    let as_text = &PROBE_BINARY[..PROBE_BINARY.len() - 1];
    data == PROBE_BINARY || *kind == Kind::Binary && data.starts_with(as_text)
}
