//! A case: what is tried, on whom, and which sentence says what must happen.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Role;
use crate::peer::{Need, Peer};
use crate::script::Build;

/// How much the text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// The text names the tested role and what it MUST do. Only these cases can fail.
    R,
    /// The text binds the sender alone: a receiver that accepts it gets a note.
    S,
    /// The text leaves a choice: a note says what was chosen.
    C,
}

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The opening handshake.
    Handshake,
    /// HTTP itself: often a matter of the stack below, and listed apart for that.
    Http,
    /// Frames, masks, fragments, control frames.
    Frames,
    /// The closing handshake.
    Close,
    /// Text that is UTF-8, or not.
    Utf8,
    /// permessage-deflate.
    Deflate,
    /// Pieces, bursts, sizes, floods.
    Delivery,
}

impl Group {
    /// All groups, in the order of reports.
    pub const ALL: [Group; 7] = [
        Group::Handshake,
        Group::Http,
        Group::Frames,
        Group::Close,
        Group::Utf8,
        Group::Deflate,
        Group::Delivery,
    ];

    /// The heading of the group.
    pub fn title(self) -> &'static str {
        match self {
            Group::Handshake => "Opening handshake",
            Group::Http => "HTTP",
            Group::Frames => "Frames",
            Group::Close => "Close",
            Group::Utf8 => "UTF-8",
            Group::Deflate => "permessage-deflate",
            Group::Delivery => "Delivery",
        }
    }
}

/// A sentence of an RFC and what follows from it. Several cases may share one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name within the suite.
    pub id: String,
    /// The group of its cases.
    pub group: Group,
    /// How much the sentence says.
    pub level: Level,
    /// Document and section.
    pub section: String,
    /// A paraphrase. At level R its subject is the tested role.
    pub sentence: String,
    /// Why the cases follow from it.
    pub reasoning: String,
    /// What is left open on purpose.
    pub not_judged: String,
}

/// One thing that is tried.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number, such as `F-012`. A number never changes its meaning.
    pub id: String,
    /// What is sent, in a few words.
    pub title: String,
    /// The ends that it tests.
    pub roles: Vec<Role>,
    /// The edition in which it came.
    pub edition: u32,
    /// The sentence.
    pub rule: &'static Rule,
    /// The rule's level unless the case has its own.
    pub level: Level,
    /// What else is to be said about this case; may be empty.
    pub note: String,
    /// What the peer has to be able to do.
    pub needs: Vec<Need>,
    pub(crate) body: Body,
}

/// What a case does.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// A vector of frames, by the end under test.
    Frames(HashMap<Role, Value>),
    /// A vector of a request.
    Request(Value),
    /// A vector of a response.
    Response(Value),
    /// A case in our own notation.
    Data(Box<Data>),
    /// Steps that code builds.
    Code(Build),
}

/// A case in our own notation, as the file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) rule: String,
    #[serde(default = "both")]
    pub(crate) roles: Vec<Role>,
    #[serde(default = "first_edition")]
    pub(crate) edition: u32,
    pub(crate) level: Option<Level>,
    #[serde(default)]
    pub(crate) note: String,
    #[serde(default)]
    pub(crate) needs: Vec<Need>,
    /// permessage-deflate with these words: `ours=9`, `theirs=9`, `ours-alone`, `theirs-alone`,
    /// where `alone` is no context takeover and `ours` is what the suite sends.
    pub(crate) deflate: Option<String>,
    /// Header lines in place of, or in addition to, those of a plain request or response. A line
    /// with a name alone (`Host:`) takes the plain one away.
    #[serde(default)]
    pub(crate) head: Vec<String>,
    /// How many short header lines stand before the others.
    #[serde(default)]
    pub(crate) fields: usize,
    /// Another first line.
    pub(crate) start: Option<String>,
    /// The body behind the head.
    #[serde(default)]
    pub(crate) body: String,
    /// The head goes out in pieces of so many bytes.
    #[serde(default)]
    pub(crate) piece: usize,
    /// With a round trip between the pieces; of two connections, by turns.
    #[serde(default)]
    pub(crate) drip: bool,
    /// Steps in the notation of `script`.
    #[serde(default)]
    pub(crate) send: Vec<String>,
    /// The steps of a second connection, all of which has to be taken. It opens at the first `turn`
    /// of the other one.
    #[serde(default)]
    pub(crate) beside: Vec<String>,
    /// `accept`, `fail 1002`, `either`, `refuse 400`, `lost`, `swallow`, `no-close 1005`.
    #[serde(default)]
    pub(crate) expect: String,
}

fn both() -> Vec<Role> {
    vec![Role::Server, Role::Client]
}

fn first_edition() -> u32 {
    1
}

impl Data {
    /// Whether the case has two connections.
    pub(crate) fn is_of_two(&self) -> bool {
        !self.beside.is_empty()
    }
}

impl Case {
    /// The group of the case.
    pub fn group(&self) -> Group {
        self.rule.group
    }

    /// Whether the case tests this end.
    pub fn tests(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The level for `peer`. A server without an extension need not read what it will not use: of
    /// offers that break the grammar one alone can fail there, and the others bind the sender.
    pub fn level_for(&self, peer: &Peer) -> Level {
        match self.rule.id == "hs.extensions" && self.id != "HS-167" && peer.deflate.is_none() {
            true => self.level.max(Level::S),
            false => self.level,
        }
    }

    /// Why the case cannot be run on `peer`.
    pub fn skipped(&self, role: Role, peer: &Peer) -> Option<String> {
        if !self.tests(role) {
            return Some(format!("it does not test a {role}"));
        }
        if self.is_of_two() && peer.connections == Some(1) {
            return Some("the peer takes one connection at a time".to_owned());
        }
        self.needs.iter().find_map(|need| peer.lacks(*need, role))
    }

    /// Whether it has two connections: see [`Session::second`](crate::Session::second).
    pub fn is_of_two(&self) -> bool {
        matches!(&self.body, Body::Data(data) if data.is_of_two())
    }
}

/// All rules, in the order of their file.
pub fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        serde_json::from_str(include_str!("../data/rules.json"))
            .expect("the embedded rules are JSON")
    })
}

pub(crate) fn rule(id: &str) -> &'static Rule {
    let found = rules().iter().find(|rule| rule.id == id);
    found.unwrap_or_else(|| panic!("no rule {id} in the embedded data"))
}
