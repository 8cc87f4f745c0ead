//! The cases: what is tried, on whom, and which sentence says what must happen.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Role;
use crate::plan::{self, Place};
use crate::probe::Peer;
use crate::session::Env;
use crate::vectors;

/// The newest edition of the cases. A case of a later edition than a file of expectations names is
/// a note to its owner, not a failure.
pub const EDITION: u32 = 4;

/// No case: the row of a report that says that the server's process has died, and of no case alone.
pub const PROCESS: &str = "PROCESS";

/// The cases that were wrong and are gone. A file of expectations may still name them.
pub const WITHDRAWN: [&str; 3] = ["HS-327", "HS-328", "HS-329"];

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
    Data(Box<plan::Data>),
    /// Steps that code builds.
    Code(plan::Build),
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

    /// How many bytes the case makes a peer hold at one time, by what it announces or what
    /// inflates, at most 64 MiB: cases that run beside each other should not add up to more.
    pub fn weight(&self, role: Role) -> u64 {
        let env = Env::new("localhost", "/", Peer::capable(), 0);
        let weight = |place| plan::of(self, role, &env, place).weight();
        let second = if self.is_of_two() { weight(Place::Second) } else { 0 };
        weight(Place::First).saturating_add(second).min(64 << 20)
    }

    /// Whether it has two connections: see [`Session::second`](crate::Session::second).
    pub fn is_of_two(&self) -> bool {
        matches!(&self.body, Body::Data(data) if data.is_of_two())
    }

    /// One page about the case: bytes, sentence, reasoning, and what is not judged.
    pub fn explain(&self) -> String {
        let mut page = format!("{}  {}\n\n", self.id, self.title);
        let roles: Vec<String> = self.roles.iter().map(Role::to_string).collect();
        let level = match self.level {
            Level::R => "R (the tested end MUST do it: it can fail)",
            Level::S => "S (the text binds the sender alone: accepting it is a note)",
            Level::C => "C (a choice: never more than a note)",
        };
        let _ = writeln!(page, "tests      {}", roles.join(", "));
        let _ = writeln!(page, "group      {}", self.group().title());
        let _ = writeln!(page, "level      {level}");
        let _ = writeln!(page, "section    {}", self.rule.section);
        let _ = writeln!(page, "edition    {}", self.edition);
        if !self.needs.is_empty() {
            let needs: Vec<String> = self
                .needs
                .iter()
                .map(|need| serde_json::to_string(need).unwrap_or_default().replace('"', ""))
                .collect();
            let _ = writeln!(page, "needs      {}", needs.join(", "));
        }
        for (heading, text) in [
            ("The sentence", &self.rule.sentence),
            ("Why", &self.rule.reasoning),
            ("This case", &self.note),
            ("Not judged", &self.rule.not_judged),
        ] {
            if !text.is_empty() {
                let _ = write!(page, "\n{heading}\n{}", wrapped(text));
            }
        }
        for &role in &self.roles {
            let _ = write!(page, "\nWhat is done to a {role}\n{}", self.steps(role));
        }
        page
    }

    /// The steps of the case against `role`: what is sent, frames in words too, and the marker that
    /// comes behind.
    pub fn steps(&self, role: Role) -> String {
        let peer = Peer::capable();
        let env = Env::new("example.com", "/", peer, 0);
        let steps = |place| plan::of(self, role, &env, place).describe();
        match self.is_of_two() {
            true => format!(
                "{}  beside it, on a connection that opens at the first turn\n{}",
                steps(Place::First),
                steps(Place::Second)
            ),
            false => steps(Place::First),
        }
    }
}

fn wrapped(text: &str) -> String {
    let mut page = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        if width + word.len() > 90 {
            page.push('\n');
            width = 0;
        }
        page.push_str(if width == 0 { "  " } else { " " });
        page.push_str(word);
        width += word.len() + 1;
    }
    page.push('\n');
    page
}

/// All cases, by number.
pub fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut cases = from_vectors();
        cases.extend(from_data());
        cases.extend(plan::code::cases());
        cases.sort_by(|a, b| a.id.cmp(&b.id));
        cases
    })
}

/// The case of this number.
pub fn find(id: &str) -> Option<&'static Case> {
    cases().iter().find(|case| case.id == id)
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

/// The vectors that are cases; the others need a limit that nobody can set from outside.
fn from_vectors() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let files = [
        (vectors::FRAMES, Role::Server),
        (vectors::REQUESTS, Role::Server),
        (vectors::CLIENTS, Role::Server),
        (vectors::RESPONSES, Role::Client),
    ];
    for (file, role) in files {
        for vector in vectors::list(file) {
            let Some(id) = vector["case"].as_str().map(str::to_owned) else { continue };
            let role = if vector["to"] == "client" { Role::Client } else { role };
            let is_frames = vector.get("to").is_some();
            if let Some(case) = cases.iter_mut().find(|case| case.id == id && is_frames) {
                case.roles.push(role);
                if let Body::Frames(by_role) = &mut case.body {
                    by_role.insert(role, vector);
                }
                continue;
            }
            let rule = rule(vector["rule"].as_str().unwrap_or_default());
            let level = serde_json::from_value(vector["level"].clone()).unwrap_or(rule.level);
            let needs = serde_json::from_value(vector["needs"].clone()).unwrap_or_default();
            let note = vector["note"].as_str().unwrap_or_default().to_owned();
            let title = vector["name"].as_str().unwrap_or_default().to_owned();
            let body = if is_frames {
                Body::Frames(HashMap::from([(role, vector)]))
            } else if role == Role::Server {
                Body::Request(vector)
            } else {
                Body::Response(vector)
            };
            cases.push(Case {
                id,
                title,
                roles: vec![role],
                edition: 1,
                rule,
                level,
                note,
                needs,
                body,
            });
        }
    }
    cases
}

fn from_data() -> Vec<Case> {
    let data: Vec<plan::Data> = serde_json::from_str(include_str!("../data/cases.json"))
        .expect("the embedded cases are JSON");
    data.into_iter()
        .map(|data| {
            let rule = rule(&data.rule);
            Case {
                id: data.id.clone(),
                title: data.title.clone(),
                roles: data.roles.clone(),
                edition: data.edition,
                rule,
                level: data.level.unwrap_or(rule.level),
                note: data.note.clone(),
                needs: data.needs.clone(),
                body: Body::Data(Box::new(data)),
            }
        })
        .collect()
}
