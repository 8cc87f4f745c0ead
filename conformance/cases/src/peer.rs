//! A peer: what it can do, and where it is.

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::judge::Kind;
use crate::judge::deflate::Parameters;

/// The code of a Close behind a violation: nobody fails a connection with it.
pub(crate) const BEHIND: u16 = 4321;

/// What a peer has to be able to do for a case to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// It sends each message back.
    Echo,
    /// It agrees on permessage-deflate.
    Deflate,
    /// The tested client does not offer permessage-deflate.
    NoDeflate,
    /// It takes messages of 64 KiB.
    Message64K,
    /// It takes messages of 1 MiB.
    Message1M,
    /// It takes messages of 16 MiB.
    Message16M,
}

impl Need {
    /// The size of message that is needed, in bytes.
    pub(crate) fn size(self) -> u64 {
        match self {
            Need::Message64K => 64 << 10,
            Need::Message1M => 1 << 20,
            Need::Message16M => 16 << 20,
            Need::Echo | Need::Deflate | Need::NoDeflate => 0,
        }
    }
}

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
    pub(crate) fn echoes_in_another_order(&mut self) {
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

/// Where the peer is, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    host: String,
    resource: String,
    pub(crate) peer: Peer,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) is_strict: bool,
    seed: u64,
}

impl Env {
    /// `host` is the value of Host (`localhost:9001`), `resource` the request target (`/`); both
    /// are unused for a tested client. The masking keys depend on `seed` and the case alone.
    pub fn new(host: &str, resource: &str, peer: Peer, seed: u64) -> Env {
        Env {
            host: host.to_owned(),
            resource: resource.to_owned(),
            peer,
            fields: Vec::new(),
            is_strict: false,
            seed,
        }
    }

    /// With `true`, cases of level S fail too, where a peer takes what no peer may send.
    #[must_use]
    pub fn strict(mut self, is_strict: bool) -> Env {
        self.is_strict = is_strict;
        self
    }

    /// Sends these fields in each request to a tested server, behind those of the case and unless
    /// the case has one of that name: for a server that wants a token or a subprotocol. They are
    /// secrets, so what a session shows has been sent is without them.
    #[must_use]
    pub fn with_fields(mut self, fields: &[(String, String)]) -> Env {
        self.fields = fields.to_vec();
        self
    }

    /// What is known of the peer.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}
