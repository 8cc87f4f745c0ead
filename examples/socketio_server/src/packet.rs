//! Socket.IO's packets, which travel inside Engine.IO messages:
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<ack id>][<json>]
//! 2["hello",1]
//! 51-/admin,7["file",{"_placeholder":true,"num":0}]
//! ```
//!
//! Parsing is total: whatever a peer sends is a [`Packet`] or [`Malformed`]. The JSON is checked
//! and cut into arguments, but no tree is made of it: an argument that is passed on leaves as the
//! text it came as. Binary values stand in it as placeholders for the attachments that follow the
//! packet; collecting those is the session's.
use crate::engine::{Malformed, Revision};
use bytes::Bytes;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Value, json, value::RawValue};
use std::{
    borrow::Cow,
    fmt::{self, Write},
};

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

/// What a packet of a client says.
#[derive(Debug)]
pub enum Body<'a> {
    /// Wants to join the namespace, and shows this object.
    Connect(Option<&'a RawValue>),
    /// Leaves the namespace.
    Disconnect,
    /// An event: its name and its arguments.
    Event(Cow<'a, str>, Vec<&'a RawValue>),
    /// The acknowledgement of an event; has an id.
    Ack(Vec<&'a RawValue>),
}

impl<'a> Packet<'a> {
    /// Parses a client's packet with at most so many attachments.
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
        harmless(json, attachments)?;
        let body = match (kind, id) {
            ('0', None) if json.is_empty() => Body::Connect(None),
            ('0', None) => Body::Connect(Some(object(json)?)),
            ('1', None) if json.is_empty() => Body::Disconnect,
            ('2' | '5', _) => event(array(json)?)?,
            ('3' | '6', Some(_)) => Body::Ack(array(json)?),
            ('0' | '1' | '3' | '6', _) => return Err(Malformed("packet's parts")),
            _ => return Err(Malformed("packet type")),
        };
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

// Valid JSON may still harm whoever gets it next.

/// Checks the depth of the JSON, and that each placeholder in it has its attachment.
fn harmless(json: &str, attachments: usize) -> Result<(), Malformed> {
    // A count of brackets is fast, and a bound on the depth.
    let brackets = json.bytes().filter(|b| matches!(b, b'[' | b'{')).count();
    if attachments == 0 && brackets <= MAX_DEPTH {
        return Ok(());
    }
    let walk = Walk { attachments, depth: 0 };
    // JavaScript may escape half of a surrogate pair, which serde_json does not decode. No such
    // escape is part of a key that matters here, nor is U+3xxx.
    let decodable = json.replace("\\ud", "\\u3").replace("\\uD", "\\u3");
    let walked = walk.deserialize(&mut serde_json::Deserializer::from_str(&decodable));
    walked.map(drop).map_err(|_| Malformed("JSON, its depth, or a placeholder"))
}

/// Visits a value and all within, without keeping them.
#[derive(Clone, Copy)]
struct Walk {
    attachments: usize,
    depth: usize,
}

/// What a value means as a part of a placeholder.
enum Seen {
    True,
    Number(u64),
    Other,
}

impl Walk {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth {
            MAX_DEPTH => Err(E::custom("nested too deeply")),
            depth => Ok(Self { depth: depth + 1, ..self }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Seen, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Other })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Seen, E> {
        Ok(Seen::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Seen, A::Error> {
        let inside = self.deeper()?;
        while values.next_element_seed(inside)?.is_some() {}
        Ok(Seen::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Seen, A::Error> {
        let inside = self.deeper()?;
        let (mut marked, mut num) = (None, None);
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inside)?;
            match &*key {
                "_placeholder" => marked = Some(matches!(value, Seen::True)),
                "num" => num = Some(value),
                _ => {}
            }
        }
        // Clients differ in what they take for a placeholder: one wants `true`, another anything
        // beside a `num`. Whatever one of them would take has to have its attachment.
        match (marked, num) {
            (_, Some(Seen::Number(num))) if num < self.attachments as u64 => Ok(Seen::Other),
            (Some(true), _) | (Some(_), Some(_)) if self.attachments > 0 => {
                Err(de::Error::custom("placeholder without an attachment"))
            }
            _ => Ok(Seen::Other),
        }
    }
}

/// The arguments of an event or of an acknowledgement: JSON texts, and the attachments that the
/// placeholders in them mean.
///
/// ```
/// # use socketio_server::packet::Args;
/// let args = Args::from("Hey!").and(serde_json::json!({"ms": "jane"})).and_bytes(vec![4, 3]);
/// assert_eq!(args.get::<String>(0).as_deref(), Some("Hey!"));
/// assert_eq!(args.bytes(2).map(|bytes| &bytes[..]), Some(&[4, 3][..]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args<'a> {
    values: Vec<Cow<'a, str>>,
    attachments: Vec<Bytes>,
}

impl<'a> Args<'a> {
    /// What a client sent. It may go on to others, for it has all its attachments.
    pub(crate) fn received(values: Vec<&'a RawValue>, attachments: Vec<Bytes>) -> Self {
        let values = values.into_iter().map(|value| value.get().into()).collect();
        Self { values, attachments }
    }

    /// The one argument that this JSON is.
    pub(crate) fn json(text: &'a str) -> Self {
        Self { values: vec![text.into()], attachments: Vec::new() }
    }

    /// One argument more, as JSON.
    #[must_use]
    pub fn and(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into().to_string().into());
        self
    }

    /// One argument more, as bytes.
    #[must_use]
    pub fn and_bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        let num = self.attachments.len();
        self.attachments.push(bytes.into());
        self.and(json!({ "_placeholder": true, "num": num }))
    }

    /// The argument with this index, if there is one and it is a `T`. Bytes are none, but where
    /// they stand in an object or an array there is their placeholder.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Option<T> {
        serde_json::from_str(self.values.get(index)?).ok()
    }

    /// The argument with this index, if there is one and it is bytes.
    pub fn bytes(&self, index: usize) -> Option<&Bytes> {
        const MAX_LEN: usize = 100; // far more than a placeholder has
        let text = self.values.get(index).filter(|text| text.len() <= MAX_LEN)?;
        let placeholder: Value = serde_json::from_str(text).ok()?;
        placeholder.get("_placeholder")?.as_bool()?.then_some(())?;
        self.attachments.get(usize::try_from(placeholder.get("num")?.as_u64()?).ok()?)
    }

    /// Without the first so many.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        self.values.drain(..count.min(self.values.len()));
        self
    }
}

impl<T: Into<Value>> From<T> for Args<'_> {
    fn from(value: T) -> Self {
        Self::default().and(value)
    }
}

/// The JSON, with commas between.
impl fmt::Display for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.values.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{value}")?;
        }
        Ok(())
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
    /// A client has joined, as the socket of this id.
    pub fn connected(revision: Revision, namespace: &str, sid: &str) -> Self {
        match revision {
            Revision::V3 => Self::new('0', namespace, ""), // clients use the session's id
            Revision::V4 => Self::new('0', namespace, json!({ "sid": sid })),
        }
    }

    /// A client may not join.
    pub fn refused(revision: Revision, namespace: &str, message: &str) -> Self {
        match revision {
            Revision::V3 => Self::new('4', namespace, json!(message)),
            Revision::V4 => Self::new('4', namespace, json!({ "message": message })),
        }
    }

    /// A client is put out of a namespace.
    pub fn disconnected(namespace: &str) -> Self {
        Self::new('1', namespace, "")
    }

    /// An event; with an id it wants an acknowledgement.
    pub fn event(namespace: &str, id: Option<u64>, name: &str, mut args: Args<'_>) -> Self {
        args.values.insert(0, json!(name).to_string().into());
        Self::with(('2', '5'), namespace, id, args)
    }

    /// The acknowledgement of the event with this id.
    pub fn ack(namespace: &str, id: u64, args: Args<'_>) -> Self {
        Self::with(('3', '6'), namespace, Some(id), args)
    }

    /// Of the first type if it has no attachments, and otherwise of the second.
    fn with(kinds: (char, char), namespace: &str, id: Option<u64>, args: Args<'_>) -> Self {
        let (kind, count) = match args.attachments.len() {
            0 => (kinds.0, None),
            count => (kinds.1, Some(count)),
        };
        let text = text(kind, count, namespace, id, format_args!("[{args}]"));
        Self { text, attachments: args.attachments }
    }

    fn new(kind: char, namespace: &str, json: impl fmt::Display) -> Self {
        Self { text: text(kind, None, namespace, None, json), attachments: Vec::new() }
    }
}

fn text(
    kind: char,
    attachments: Option<usize>,
    namespace: &str,
    id: Option<u64>,
    json: impl fmt::Display,
) -> String {
    let mut text = String::with_capacity(128);
    text.extend(['4', kind]);
    // Writing to a `String` does not fail.
    if let Some(count) = attachments {
        let _ = write!(text, "{count}-");
    }
    if namespace != MAIN {
        text.extend([namespace, ","]);
    }
    if let Some(id) = id {
        let _ = write!(text, "{id}");
    }
    let _ = write!(text, "{json}");
    text
}
