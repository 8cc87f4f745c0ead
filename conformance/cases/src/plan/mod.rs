//! From a case to what a session does.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::Role;
use crate::case::{Body, Case, Data};
use crate::judge::accept;
use crate::judge::deflate::{self, Parameters};
use crate::judge::frame::{Header, mask};
use crate::judge::http::Head;
use crate::judge::{Event, Kind, Reader};
use crate::peer::{Env, Peer};
use crate::script::{Expect, Keys, Step, Writer};
use crate::vectors::{head, hex, joined};
use words::Words;

mod words;

/// The key of RFC 6455 1.3: in the data it stands for the key of the case.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Stands in a response for the accept value of the client's key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How the pieces of a head follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Apart {
    Not,
    RoundTrip,
    /// A round trip, in which the other connection of the case sends one of its own.
    Turn,
}

/// What a session does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) role: Role,
    /// Our request or, to a client, our response with [`ACCEPT`] in it.
    pub(crate) head: Vec<u8>,
    /// The head goes out in pieces of so many bytes; 0: in one.
    pub(crate) head_piece: usize,
    pub(crate) head_apart: Apart,
    /// Sent together with the head.
    pub(crate) behind: Vec<u8>,
    /// Nothing comes behind the head: it is cut off.
    pub(crate) head_is_cut: bool,
    /// The parameters of permessage-deflate that are offered or answered, and that the steps are
    /// written for.
    pub(crate) deflate: Option<Parameters>,
    /// A header that a refusal must have, with this element.
    pub(crate) refusal_has: Option<(&'static str, &'static str)>,
    pub(crate) steps: Vec<Step>,
    pub(crate) expect: Expect,
    /// Whether the end of TCP is judged too.
    pub(crate) judge_tcp: bool,
    pub(crate) keys: Keys,
    /// The payload of the Ping behind all of it, and of the text: no other connection sends it.
    pub(crate) marker: Vec<u8>,
}

impl Plan {
    fn open(role: Role, env: &Env, keys: Keys, marker: Vec<u8>) -> Plan {
        Plan {
            role,
            head: plain_head(role, env, None, &[], None),
            head_piece: 0,
            head_apart: Apart::Not,
            behind: Vec::new(),
            head_is_cut: false,
            deflate: None,
            refusal_has: None,
            steps: Vec::new(),
            expect: Expect::Accept,
            judge_tcp: false,
            keys,
            marker,
        }
    }

    /// All frame bytes of the plan.
    pub(crate) fn sent(&self) -> Cow<'_, [u8]> {
        let sends = self.steps.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(bytes),
            _ => None,
        });
        let parts = std::iter::once(&self.behind).chain(sends);
        let parts: Vec<&[u8]> = parts.filter(|part| !part.is_empty()).map(Vec::as_slice).collect();
        match parts[..] {
            [all] => Cow::Borrowed(all),
            _ => Cow::Owned(parts.concat()),
        }
    }

    /// A reader of what the suite sends.
    pub(crate) fn reader(&self) -> Reader {
        let sender = self.role.other();
        let reader = Reader::new(sender);
        match &self.deflate {
            Some(parameters) => reader.with_deflate(parameters.inflater(sender)),
            None => reader,
        }
    }

    /// What a peer reads of what the suite sends.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.reader().read(&self.sent())
    }

    /// What stands behind the violation, as somebody reads it who has not noticed.
    pub(crate) fn behind_violation(&self) -> Vec<Event> {
        let sent = self.sent();
        let before = self.events().len().saturating_sub(1);
        let mut events = Vec::new();
        let mut rest = &sent[..];
        while let Some((header, start)) = Header::read(rest) {
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            let Some(payload) = rest.get(start..start.saturating_add(length)) else { break };
            let mut payload = payload.to_vec();
            if let Some(key) = header.key {
                mask(&mut payload, key, 0);
            }
            rest = &rest[start + length..];
            let code = payload.get(..2).map(|two| u16::from_be_bytes([two[0], two[1]]));
            events.push(match header.opcode {
                8 => Event::Close(code, String::new()),
                9 => Event::Ping(payload),
                _ => Event::Message(Kind::Binary, payload),
            });
        }
        // The violation itself is one frame.
        events.split_off((before + 1).min(events.len()))
    }

    /// Whether the request has what a server may refuse by itself: the page that it comes from (RFC
    /// 6455 10.2), or subprotocols of which it may know none.
    pub(crate) fn names_origin_or_subprotocol(&self) -> bool {
        let head = Head::read(&self.head).ok().flatten();
        let has = |name| head.as_ref().is_some_and(|(head, _)| head.all(name).next().is_some());
        has("Origin") || has("Sec-WebSocket-Protocol")
    }

    /// How many bytes the plan makes a peer hold: what is announced, or inflates.
    pub(crate) fn weight(&self) -> u64 {
        let announced = self.headers().into_iter().map(|header| header.length);
        let announced = announced.fold(0, u64::saturating_add);
        let messages = self.events().into_iter().map(|event| match event {
            Event::Message(_, data) => data.len() as u64,
            _ => 0,
        });
        announced.max(messages.sum())
    }

    /// Whether the last frame announces more than comes of it.
    pub(crate) fn ends_inside_a_frame(&self) -> bool {
        let sent = self.sent().len() as u64;
        let whole = self.headers().iter().fold(0u64, |sum, header| {
            sum.saturating_add(header.size()).saturating_add(header.length)
        });
        whole > sent
    }

    /// The headers of the frames, of which the last may not be all there.
    fn headers(&self) -> Vec<Header> {
        let sent = self.sent();
        let mut headers = Vec::new();
        let mut rest = &sent[..];
        while let Some((header, start)) = Header::read(rest) {
            headers.push(header);
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            rest = rest.get(start.saturating_add(length)..).unwrap_or_default();
        }
        headers
    }

    /// What a session sends behind the steps to see that they have been read.
    fn marker_in_words(&self) -> Option<String> {
        let marker = String::from_utf8_lossy(&self.marker);
        let ping = format!("a Ping with {marker:?}");
        match self.expect {
            Expect::Accept
                if self.events().iter().any(|event| matches!(event, Event::Close(..))) =>
            {
                None
            }
            Expect::Accept | Expect::Learn => Some(format!("{ping}, and a text of the same")),
            Expect::Lost => None,
            _ if self.head_is_cut => None,
            _ => Some(format!("{ping}: its Pong shows that all before it was read")),
        }
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        let mut words = Words::default();
        let escaped: String = self.head.iter().map(|&byte| char::from(byte)).collect();
        for line in escaped.split_inclusive('\n') {
            let _ = writeln!(text, "  head     {}", line.escape_debug());
        }
        if self.head_piece > 0 {
            let pause = match self.head_apart {
                Apart::Not => "",
                Apart::RoundTrip => ", a round trip apart",
                Apart::Turn => ", by turns",
            };
            let _ = writeln!(text, "  pieces   of {} bytes{pause}", self.head_piece);
        }
        if !self.behind.is_empty() {
            let _ = writeln!(text, "  send     {}", shortened(&self.behind));
            text += &words.of(&self.behind);
        }
        for step in &self.steps {
            let _ = match step {
                Step::Send(bytes) if bytes.is_empty() => Ok(()),
                Step::Send(bytes) => {
                    write!(text, "  send     {}\n{}", shortened(bytes), words.of(bytes))
                }
                Step::Pause(wait) => writeln!(text, "  pause    {wait}"),
                Step::AwaitPong(payload) => {
                    writeln!(text, "  await    the Pong with {}", shortened(payload))
                }
                Step::AwaitMessages(count) => writeln!(text, "  await    {count} messages in all"),
                Step::Shutdown => writeln!(text, "  end      of our half of the stream"),
                Step::Reset => writeln!(text, "  reset    of the connection"),
                Step::Turn => writeln!(text, "  turn     of the other connection"),
            };
        }
        if let Some(marker) = self.marker_in_words() {
            let _ = writeln!(text, "  marker   {marker}");
        }
        let expect = match &self.expect {
            Expect::Accept => "all of it is taken".to_owned(),
            Expect::Fail(codes) => format!("the connection fails, best with {codes:?}"),
            Expect::Either => "a note of what happens".to_owned(),
            Expect::Swallow => "nothing behind it is answered".to_owned(),
            Expect::NoClose(code) => format!("no Close with {code}"),
            Expect::Lost => "nothing comes of what is incomplete".to_owned(),
            Expect::Refuse(statuses) if statuses.is_empty() => "no connection opens".to_owned(),
            Expect::Refuse(statuses) => format!("no connection opens, best with {statuses:?}"),
            Expect::Learn => "nothing: it is a probe".to_owned(),
        };
        let _ = writeln!(text, "  expect   {expect}");
        text
    }
}

/// The heads that a stream begins with, and what comes behind them. A head without an end is all of
/// it.
pub(crate) fn heads(stream: &[u8]) -> (&[u8], &[u8]) {
    let mut length = 0;
    loop {
        let rest = &stream[length..];
        match rest.windows(4).position(|four| four == b"\r\n\r\n") {
            // Behind a 1xx comes another.
            Some(end) if length == 0 || rest.starts_with(b"HTTP/") => length += end + 4,
            _ if length == 0 => return (stream, &[]),
            _ => return stream.split_at(length),
        }
    }
}

/// What went one way: a line for each line of a head, and for each frame.
pub(crate) fn exchanged(stream: &[u8]) -> String {
    let (heads, frames) = heads(stream);
    let mut text = String::new();
    let escaped: String = heads.iter().map(|&byte| char::from(byte)).collect();
    for line in escaped.split_inclusive('\n') {
        let line = line.strip_suffix("\r\n").unwrap_or(line);
        if !line.is_empty() {
            let _ = writeln!(text, "  {}", line.escape_debug());
        }
    }
    for line in Words::default().of(frames).lines() {
        let _ = writeln!(text, "  {}", line.trim_start());
    }
    text
}

/// In hexadecimal.
pub(crate) fn in_full(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In hexadecimal, without the middle of many bytes.
pub(crate) fn shortened(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=200 => in_full(bytes),
        length => {
            let end = &bytes[length - 32..];
            format!("{}..{} ({length} bytes)", in_full(&bytes[..128]), in_full(end))
        }
    }
}

/// Which of the connections of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Second,
}

impl Case {
    /// How many bytes the case makes a peer hold at one time, by what it announces or what
    /// inflates, at most 64 MiB: cases that run beside each other should not add up to more.
    pub fn weight(&self, role: Role) -> u64 {
        let env = Env::new("localhost", "/", Peer::capable(), 0);
        let weight = |place| of(self, role, &env, place).weight();
        let second = if self.is_of_two() { weight(Place::Second) } else { 0 };
        weight(Place::First).saturating_add(second).min(64 << 20)
    }
}

pub(crate) fn of(case: &Case, role: Role, env: &Env, place: Place) -> Plan {
    let mut number =
        case.id.bytes().fold(env.seed(), |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    if place == Place::Second {
        number = !number;
    }
    let mut drawn = Keys::new(number.rotate_left(32));
    let marker = format!("wsconform {} {:08x}", case.id, drawn.number() as u32).into_bytes();
    let mut plan = Plan::open(role, env, Keys::new(number), marker);
    match &case.body {
        Body::Frames(by_role) => {
            if let Some(vector) = by_role.get(&role) {
                of_frames(&mut plan, vector);
            }
        }
        Body::Request(vector) => of_request(&mut plan, vector, env),
        Body::Response(vector) => of_response(&mut plan, vector),
        Body::Data(data) => of_data(&mut plan, data, env, place),
        Body::Code(build) => {
            let mut writer = Writer::new(role.other(), plan.keys.clone());
            plan.expect = build(&mut writer);
            plan.steps = writer.steps;
            plan.keys = writer.keys;
        }
    }
    if case.id.starts_with("PROBE") {
        plan.expect = Expect::Learn;
        let offer = match case.id.as_str() {
            "PROBE-2" => Some(Parameters::default()),
            "PROBE-3" => Some(Parameters::WITH_ANY_WINDOW),
            _ => None,
        };
        if let Some(offer) = offer {
            plan.head = plain_head(role, env, None, &[], Some(&header(&offer)));
        }
    }
    if role == Role::Server {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&drawn.number().to_be_bytes());
        bytes[8..].copy_from_slice(&drawn.number().to_be_bytes());
        // A case of a wrong form of the key may have no padding, or half of it.
        let start = KEY.trim_end_matches('=');
        let key = accept::base64(&bytes);
        plan.head = replaced(&plan.head, start, key.trim_end_matches('='));
    }
    plan.judge_tcp = case.rule.id == "close.tcp";
    if case.rule.id == "hs.version" {
        plan.refusal_has = Some(("Sec-WebSocket-Version", "13"));
    }
    plan
}

fn of_frames(plan: &mut Plan, vector: &Value) {
    plan.steps = vec![Step::Send(hex(&joined(&vector["in"])).unwrap_or_default())];
    let events = vector["events"].as_array().cloned().unwrap_or_default();
    let last = events.last().cloned().unwrap_or_default();
    if vector["rule"] == "length.64" {
        plan.expect = Expect::Swallow;
        return;
    }
    if last[0] == "fail" {
        let code = last[1].as_u64().unwrap_or(1002) as u16;
        let also = if code == 1007 { vec![1007, 1002] } else { vec![code] };
        plan.expect = Expect::Fail(also);
        return;
    }
    let mut reader = plan.reader();
    let read = reader.read(&plan.sent());
    if last[0] == "lost" && !reader.is_between_messages() {
        if let Some(Event::Ping(payload)) = read.into_iter().rfind(is_ping) {
            plan.steps.push(Step::AwaitPong(payload));
        }
        plan.steps.push(Step::Shutdown);
        plan.expect = Expect::Lost;
    }
}

fn is_ping(event: &Event) -> bool {
    matches!(event, Event::Ping(_))
}

fn of_request(plan: &mut Plan, vector: &Value, env: &Env) {
    let text: String = head(&vector["request"]).iter().map(|&byte| char::from(byte)).collect();
    let captured = vector.get("note").is_some();
    let mut first = true;
    let mut lines = Vec::new();
    for line in text.split("\r\n") {
        let mut line = line.to_owned();
        if first && !line.is_empty() {
            first = false;
            if let [method, target, version] = line.split(' ').collect::<Vec<&str>>()[..] {
                let target = match target.split_once("://") {
                    _ if captured || matches!(target, "/" | "/chat") => env.resource().to_owned(),
                    Some((scheme, rest)) => format!("{scheme}://{}", absolute(rest, env)),
                    None => target.to_owned(),
                };
                line = format!("{method} {target} {version}");
            }
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("host")
            && (captured || matches!(value.trim(), "example.com" | "server.example.com"))
        {
            line = line.replacen(value.trim(), env.host(), 1);
        }
        lines.push(line);
    }
    let text = lines.join("\r\n");
    plan.head = text.chars().map(|c| c as u8).collect();
    plan.head_is_cut = !text.contains("\r\n\r\n");
    plan.behind = hex(&joined(&vector["behind"])).unwrap_or_default();
    let status = vector["status"].as_u64().unwrap_or(101) as u16;
    if vector["choice"] == true {
        plan.expect = Expect::Either;
    } else if status != 101 {
        let also = vector["also"].as_array().into_iter().flatten();
        let also = also.filter_map(|status| status.as_u64().map(|status| status as u16));
        plan.expect = Expect::Refuse(std::iter::once(status).chain(also).collect());
    }
    finish_vector(plan);
}

/// What stands behind `://` in a target: example.com is the server under test, as are its default
/// ports and both paths. Another host or port stays.
fn absolute(rest: &str, env: &Env) -> String {
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (name, port) = with_port(authority);
    let (our_name, our_port) = with_port(env.host());
    let path = if matches!(path, "/" | "/chat") { env.resource() } else { path };
    let name = match name {
        "example.com" => our_name.to_owned(),
        "EXAMPLE.com" => our_name.to_ascii_uppercase(),
        other => return format!("{other}{port}{path}"),
    };
    let port = match port {
        "" | ":80" | ":443" if !our_port.is_empty() => our_port,
        other => other,
    };
    format!("{name}{port}{path}")
}

/// A host, and its port with the colon before it.
fn with_port(authority: &str) -> (&str, &str) {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
        _ => (authority, ""),
    }
}

fn of_response(plan: &mut Plan, vector: &Value) {
    plan.head = head(&vector["response"]);
    let text: String = plan.head.iter().map(|&byte| char::from(byte)).collect();
    plan.head_is_cut =
        !text.contains("\r\n\r\n") && !text.contains("\n\r\n") && !text.contains("\n\n");
    plan.behind = hex(&joined(&vector["behind"])).unwrap_or_default();
    if vector["accepted"] == false {
        plan.expect = Expect::Refuse(Vec::new());
    }
    finish_vector(plan);
}

/// Bytes behind a head that end inside a frame.
fn finish_vector(plan: &mut Plan) {
    if plan.head_is_cut {
        plan.steps.push(Step::Shutdown);
    }
    let mut reader = plan.reader();
    let events = reader.read(&plan.behind);
    if plan.expect != Expect::Accept {
        return;
    }
    if let Some(Event::Violation(violation)) = events.last() {
        plan.expect = Expect::Fail(vec![violation.code]);
    } else if !events.iter().any(|event| matches!(event, Event::Close(..)))
        && !reader.is_between_messages()
    {
        plan.steps.push(Step::Shutdown);
        plan.expect = Expect::Lost;
    }
}

fn of_data(plan: &mut Plan, data: &Data, env: &Env, place: Place) {
    let mut extension = None;
    if let Some(words) = &data.deflate {
        let mut parameters = agreement(words, plan.role);
        if plan.role == Role::Server && env.peer.wants_any_window {
            parameters.client_max_window_bits.get_or_insert(None);
        }
        extension = Some(header(&parameters));
        plan.deflate = Some(parameters);
    }
    let start = data.start.as_ref().map(|line| line.replace("{resource}", env.resource()));
    plan.head = plain_head(plan.role, env, start.as_deref(), &data.head, extension.as_deref());
    if let Some(first) = plan.head.iter().position(|&byte| byte == b'\n') {
        plan.head.splice(first + 1..first + 1, b"a: b\r\n".repeat(data.fields));
    }
    plan.head.extend(data.body.bytes());
    plan.head_piece = data.piece;
    plan.head_apart = match data.is_of_two() {
        _ if !data.drip => Apart::Not,
        true => Apart::Turn,
        false => Apart::RoundTrip,
    };
    let mut writer = Writer::new(plan.role.other(), plan.keys.clone());
    let lines = if place == Place::First { &data.send } else { &data.beside };
    for line in lines {
        if let Err(error) = writer.line(line) {
            panic!("case {}: {error}", data.id);
        }
    }
    plan.steps = writer.steps;
    plan.keys = writer.keys;
    let mut words = data.expect.split(' ');
    let kind = words.next().filter(|_| place == Place::First).unwrap_or_default();
    let numbers: Vec<u16> = words.filter_map(|word| word.parse().ok()).collect();
    plan.expect = match kind {
        "" | "accept" => Expect::Accept,
        "fail" => Expect::Fail(numbers),
        "either" => Expect::Either,
        "lost" => Expect::Lost,
        "swallow" => Expect::Swallow,
        "no-close" => Expect::NoClose(numbers.first().copied().unwrap_or_default()),
        "refuse" => Expect::Refuse(numbers),
        other => panic!("case {}: no expectation {other}", data.id),
    };
}

/// The parameters of `ours=9 theirs-alone`, if the tested end is `role`.
fn agreement(words: &str, role: Role) -> Parameters {
    let mut parameters = Parameters::default();
    for word in words.split_whitespace() {
        let (who, what) = word.split_once(['=', '-']).unwrap_or((word, ""));
        let is_client = (who == "ours") == (role == Role::Server);
        match (is_client, what) {
            (true, "alone") => parameters.client_no_context_takeover = true,
            (false, "alone") => parameters.server_no_context_takeover = true,
            (true, bits) => parameters.client_max_window_bits = Some(bits.parse().ok()),
            (false, bits) => parameters.server_max_window_bits = bits.parse().ok(),
        }
    }
    parameters
}

fn header(parameters: &Parameters) -> String {
    let mut text = deflate::NAME.to_owned();
    if parameters.server_no_context_takeover {
        text += "; server_no_context_takeover";
    }
    if parameters.client_no_context_takeover {
        text += "; client_no_context_takeover";
    }
    if let Some(bits) = parameters.server_max_window_bits {
        let _ = write!(text, "; server_max_window_bits={bits}");
    }
    match parameters.client_max_window_bits {
        Some(Some(bits)) => {
            let _ = write!(text, "; client_max_window_bits={bits}");
        }
        Some(None) => text += "; client_max_window_bits",
        None => {}
    }
    text
}

/// The response with another answer of permessage-deflate.
pub(crate) fn with_answer(head: &[u8], wanted: &Parameters, answer: &Parameters) -> Vec<u8> {
    let line = |parameters| format!("Sec-WebSocket-Extensions: {}\r\n", header(parameters));
    replaced(head, &line(wanted), &line(answer))
}

/// The head, of which each byte is a character, with another text in the place of `from`.
fn replaced(head: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text: String = head.iter().map(|&byte| char::from(byte)).collect();
    text.replace(from, to).chars().map(|c| c as u8).collect()
}

/// A correct request or response, changed by `lines`.
fn plain_head(
    role: Role,
    env: &Env,
    start: Option<&str>,
    lines: &[String],
    extension: Option<&str>,
) -> Vec<u8> {
    let (first, plain) = match role {
        Role::Server => (
            format!("GET {} HTTP/1.1", env.resource()),
            vec![
                format!("Host: {}", env.host()),
                "Upgrade: websocket".to_owned(),
                "Connection: Upgrade".to_owned(),
                format!("Sec-WebSocket-Key: {KEY}"),
                "Sec-WebSocket-Version: 13".to_owned(),
            ],
        ),
        Role::Client => (
            "HTTP/1.1 101 Switching Protocols".to_owned(),
            vec![
                "Upgrade: websocket".to_owned(),
                "Connection: Upgrade".to_owned(),
                format!("Sec-WebSocket-Accept: {ACCEPT}"),
            ],
        ),
    };
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    // A line of the same name takes the place of the plain one; with `+` in front it is added.
    let replaced = |line: &String| {
        let name_of = name(line);
        lines.iter().any(|other| !other.starts_with('+') && name(other) == name_of)
    };
    let mut head = vec![start.unwrap_or(&first).to_owned()];
    head.extend(plain.into_iter().filter(|line| !replaced(line)));
    let added = lines.iter().filter(|line| !line.ends_with(':'));
    head.extend(added.map(|line| line.trim_start_matches('+').replace("{host}", env.host())));
    head.extend(extension.map(|value| format!("Sec-WebSocket-Extensions: {value}")));
    let text = head.join("\r\n") + "\r\n\r\n";
    text.chars().map(|c| c as u8).collect()
}

/// The request with these fields behind its own, without those that it has itself. A head without an
/// end stays as it is.
pub(crate) fn with_fields(head: &[u8], fields: &[(String, String)]) -> Vec<u8> {
    let start = head.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let Some(end) = head[start..].windows(4).position(|four| four == b"\r\n\r\n") else {
        return head.to_vec();
    };
    let (before, behind) = head.split_at(start + end + 2);
    let text = String::from_utf8_lossy(before).to_ascii_lowercase();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
    let mut all = before.to_vec();
    for (name, value) in fields {
        if !names.iter().any(|other| other.trim().eq_ignore_ascii_case(name)) {
            all.extend(format!("{name}: {value}\r\n").bytes());
        }
    }
    all.extend(behind);
    all
}

/// The response with the accept value for this key.
pub(crate) fn with_accept(head: &[u8], key: &str) -> Vec<u8> {
    let text: String = head.iter().map(|&byte| char::from(byte)).collect();
    let accept = crate::judge::accept::accept(key);
    // A case of a wrong value may be the right one with its case flipped.
    let flip = |text: &str| -> String {
        let flip = |c: char| match c.is_ascii_lowercase() {
            true => c.to_ascii_uppercase(),
            false => c.to_ascii_lowercase(),
        };
        text.chars().map(flip).collect()
    };
    let text = text.replace(&flip(ACCEPT), &flip(&accept));
    let text = text.replace(ACCEPT, &accept);
    let text = text.replace(ACCEPT.trim_end_matches('='), accept.trim_end_matches('='));
    text.replace(KEY, key).chars().map(|c| c as u8).collect()
}
