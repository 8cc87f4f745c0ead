//! Socket.IO's packets, which travel inside Engine.IO messages:
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<ack id>][<json>]      2["hello",1]
//!                                                             51-/admin,7["file",{"_placeholder":true,"num":0}]
//! ```
//!
//! Parsing is total: whatever a peer sends is a [`Packet`] or [`Malformed`]. The JSON is checked and
//! cut into arguments, but no tree is made of it: an argument that is passed on leaves as the text
//! it came as. Binary values stand in it as placeholders for the attachments that follow the packet;
//! collecting those is the session's.
use crate::engine::{Malformed, Revision};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt::Write};

/// The namespace that packets without one are for.
pub const MAIN: &str = "/";

/// How deeply arrays and objects may be nested. Others may have to parse what is passed on to them,
/// and not all parsers bear any depth.
pub const MAX_DEPTH: usize = 100;

/// Names that the libraries use for events of their own.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A packet, borrowed from the text it was parsed from.
#[derive(Debug)]
pub struct Packet<'a> {
    /// [`MAIN`] unless another was named.
    pub namespace: &'a str,
    /// Asks for an acknowledgement, or is one.
    pub id: Option<u64>,
    /// How many binary messages follow.
    pub attachments: usize,
    /// What it is.
    pub body: Body<'a>,
}

/// What a packet says.
#[derive(Debug)]
pub enum Body<'a> {
    /// Wants to join the namespace, or has joined: an object.
    Connect(Option<&'a RawValue>),
    /// Leaves the namespace.
    Disconnect,
    /// An event: its name and its arguments.
    Event(Cow<'a, str>, Vec<&'a RawValue>),
    /// The acknowledgement of an event; has an id.
    Ack(Vec<&'a RawValue>),
    /// May not join the namespace: an object that says why.
    ConnectError(&'a RawValue),
}

impl<'a> Packet<'a> {
    /// Parses a packet with at most so many attachments.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for everything that is not exactly a packet.
    pub fn parse(text: &'a str, max_attachments: usize) -> Result<Self, Malformed> {
        let mut characters = text.chars();
        let kind = characters.next().ok_or(Malformed("empty packet"))?;
        let rest = characters.as_str();
        let (attachments, rest) = match kind {
            '5' | '6' => announced(rest, max_attachments)?,
            _ => (0, rest),
        };
        let (namespace, rest) = match rest.split_once(',') {
            Some(split) if rest.starts_with('/') => split,
            None if rest.starts_with('/') => (rest, ""),
            _ => (MAIN, rest),
        };
        let (id, json) = match digits(rest) {
            ("", json) => (None, json),
            (id, json) => (Some(id.parse().map_err(|_| Malformed("ack id"))?), json),
        };
        if openings(json) > MAX_DEPTH && depth(json) > MAX_DEPTH {
            return Err(Malformed("nested too deeply"));
        }
        let body = match (kind, id) {
            ('0', None) if json.is_empty() => Body::Connect(None),
            ('0', None) => Body::Connect(Some(object(json)?)),
            ('1', None) if json.is_empty() => Body::Disconnect,
            ('2' | '5', _) => event(array(json)?)?,
            ('3' | '6', Some(_)) => Body::Ack(array(json)?),
            ('4', None) => Body::ConnectError(object(json)?),
            ('0' | '1' | '3' | '4' | '6', _) => return Err(Malformed("packet's parts")),
            _ => return Err(Malformed("packet type")),
        };
        if attachments > 0 && !placeholders_fit(json, attachments) {
            return Err(Malformed("placeholder without an attachment"));
        }
        Ok(Self { namespace, id, attachments, body })
    }
}

/// `3-` of `3-["file",..]`.
fn announced(rest: &str, max: usize) -> Result<(usize, &str), Malformed> {
    let (count, rest) = digits(rest);
    let rest = rest.strip_prefix('-').ok_or(Malformed("count of attachments"))?;
    match count.parse() {
        Ok(0) | Err(_) => Err(Malformed("count of attachments")),
        Ok(count) if count > max => Err(Malformed("too many attachments")),
        Ok(count) => Ok((count, rest)),
    }
}

/// The decimal digits in front, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or(("", text))
}

fn object(json: &str) -> Result<&RawValue, Malformed> {
    let raw: &RawValue = serde_json::from_str(json).map_err(|_| Malformed("JSON"))?;
    if raw.get().starts_with('{') { Ok(raw) } else { Err(Malformed("not an object")) }
}

fn array(json: &str) -> Result<Vec<&RawValue>, Malformed> {
    serde_json::from_str(json).map_err(|_| Malformed("JSON, or not an array"))
}

/// An array whose first value is the event's name: a string, or a number.
fn event(mut values: Vec<&RawValue>) -> Result<Body<'_>, Malformed> {
    if values.is_empty() {
        return Err(Malformed("event without a name"));
    }
    let first = values.remove(0).get();
    let name = match first.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(name) if !name.contains('\\') => Cow::Borrowed(name),
        Some(_) => Cow::Owned(serde_json::from_str(first).map_err(|_| Malformed("event's name"))?),
        None if first.starts_with(|c: char| c.is_ascii_digit() || c == '-') => first.into(),
        None => return Err(Malformed("event's name")),
    };
    if RESERVED.contains(&&*name) {
        return Err(Malformed("reserved event name"));
    }
    Ok(Body::Event(name, values))
}

// What is valid JSON need not be harmless to who gets it next.

/// How many brackets there are that may open something: as deep at most. Many bytes at a time.
fn openings(json: &str) -> usize {
    json.bytes().filter(|b| matches!(b, b'[' | b'{')).count()
}

/// How deeply arrays and objects are nested, at most; of what is no JSON, any number.
fn depth(json: &str) -> usize {
    let bytes = json.as_bytes();
    let (mut at, mut depth, mut deepest) = (0, 0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_string(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Where the string ends whose content begins at `at`.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// What an object tells about itself, as far as it was read.
#[derive(Default)]
struct Object {
    /// The key whose value comes next; `None` where a key does.
    key: Option<Key>,
    /// The value of `_placeholder`, if it has that: whether it is `true`.
    marked: Option<bool>,
    /// The value of `num`, if it has that: the number.
    num: Option<Option<usize>>,
}

#[derive(Clone, Copy)]
enum Key {
    Placeholder,
    Num,
    Other,
}

impl Object {
    /// A key, or the value of one.
    fn token(&mut self, token: &str) {
        match self.key {
            None => self.key = Some(Key::of(token)),
            Some(Key::Placeholder) => self.marked = Some(token == "true"),
            Some(Key::Num) => self.num = Some(token.parse().ok()),
            Some(Key::Other) => {}
        }
    }

    /// Clients differ in what they take for a placeholder: one wants `true`, another anything
    /// beside a `num`. Whatever one of them would take has to have its attachment.
    fn fits(&self, attachments: usize) -> bool {
        match (self.marked, self.num) {
            (_, Some(Some(num))) if num < attachments => true,
            (Some(true), _) | (Some(_), Some(_)) => false,
            (Some(false), None) | (None, _) => true,
        }
    }
}

impl Key {
    /// `token` with its quotes.
    fn of(token: &str) -> Self {
        let unescaped = token.contains('\\').then(|| serde_json::from_str::<String>(token).ok());
        match unescaped.flatten().as_deref().unwrap_or(token.trim_matches('"')) {
            "_placeholder" => Self::Placeholder,
            "num" => Self::Num,
            _ => Self::Other,
        }
    }
}

/// Whether there is an attachment for every placeholder in `json`, which is valid.
fn placeholders_fit(json: &str, attachments: usize) -> bool {
    let bytes = json.as_bytes();
    let mut open: Vec<Option<Object>> = Vec::new(); // `None` for arrays
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let from = at;
        at += 1;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b':' => continue,
            b',' => {
                if let Some(Some(object)) = open.last_mut() {
                    object.key = None;
                }
                continue;
            }
            b']' | b'}' => {
                if open.pop().flatten().is_some_and(|object| !object.fits(attachments)) {
                    return false;
                }
                continue;
            }
            b'"' => at = after_string(bytes, at),
            b'[' | b'{' => {}
            _ => {
                let ends = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
                let rest = bytes.get(at..).unwrap_or_default();
                at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        if let Some(Some(object)) = open.last_mut() {
            object.token(json.get(from..at).unwrap_or_default());
        }
        match byte {
            b'[' => open.push(None),
            b'{' => open.push(Some(Object::default())),
            _ => {}
        }
    }
    true
}

/// The arguments of an event or of an acknowledgement: JSON texts, and the attachments that the
/// placeholders in them mean.
///
/// What a peer sent may go on to another only together with all its attachments: then its
/// placeholders mean the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Args<'a> {
    /// A JSON text each.
    pub values: &'a [&'a RawValue],
    /// In the order of the placeholders' numbers.
    pub attachments: &'a [Bytes],
}

impl<'a> Args<'a> {
    /// Arguments without attachments.
    pub fn of(values: &'a [&'a RawValue]) -> Self {
        Self { values, attachments: &[] }
    }

    /// The first, if it is a string, and the others.
    pub fn split_str(self) -> Option<(String, Self)> {
        let (first, values) = self.values.split_first()?;
        let first = serde_json::from_str(first.get()).ok()?;
        Some((first, Self { values, ..self }))
    }
}

/// A packet to be sent: the text of an Engine.IO message, and its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Begins with Engine.IO's `4`.
    pub text: String,
    /// A binary message each, right behind the text.
    pub attachments: Vec<Bytes>,
}

impl Outgoing {
    /// A client asks to join; `auth` is what the namespace wants to know.
    pub fn connect(namespace: &str, auth: Option<&RawValue>) -> Self {
        let mut text = begin('0', '0', 0, namespace, None);
        text.push_str(auth.map_or("", RawValue::get));
        Self { text, attachments: Vec::new() }
    }

    /// A client has joined, as the socket of this id.
    pub fn connected(revision: Revision, namespace: &str, sid: &str) -> Self {
        let mut text = begin('0', '0', 0, namespace, None);
        if revision == Revision::V4 {
            let _ = write!(text, r#"{{"sid":"{sid}"}}"#); // others make it from the session's
        }
        Self { text, attachments: Vec::new() }
    }

    /// A client may not join.
    pub fn refused(revision: Revision, namespace: &str, message: &str) -> Self {
        let mut text = begin('4', '4', 0, namespace, None);
        let message = serde_json::Value::from(message);
        let _ = match revision {
            Revision::V3 => write!(text, "{message}"),
            Revision::V4 => write!(text, r#"{{"message":{message}}}"#),
        };
        Self { text, attachments: Vec::new() }
    }

    /// An event; with an id it wants an acknowledgement.
    pub fn event(namespace: &str, id: Option<u64>, name: &str, args: Args<'_>) -> Self {
        let mut text = begin('2', '5', args.attachments.len(), namespace, id);
        let _ = write!(text, "[{}", serde_json::Value::from(name));
        for value in args.values {
            text.push(',');
            text.push_str(value.get());
        }
        text.push(']');
        Self { text, attachments: args.attachments.to_vec() }
    }

    /// The acknowledgement of the event with this id.
    pub fn ack(namespace: &str, id: u64, args: Args<'_>) -> Self {
        let mut text = begin('3', '6', args.attachments.len(), namespace, Some(id));
        text.push('[');
        for (i, value) in args.values.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(value.get());
        }
        text.push(']');
        Self { text, attachments: args.attachments.to_vec() }
    }
}

/// All but the JSON. `binary` is the type of a packet with attachments.
fn begin(
    plain: char,
    binary: char,
    attachments: usize,
    namespace: &str,
    id: Option<u64>,
) -> String {
    let mut text = String::with_capacity(128);
    text.push('4');
    if attachments == 0 {
        text.push(plain);
    } else {
        text.push(binary);
        let _ = write!(text, "{attachments}-");
    }
    if namespace != MAIN {
        text.push_str(namespace);
        text.push(',');
    }
    if let Some(id) = id {
        let _ = write!(text, "{id}");
    }
    text
}
