//! `docs/PROTOCOL.md` and its picture are what `conformance/cases/data/protocol.txt` makes them. After
//! a change of the table, `PROTOCOL=write cargo test --test source protocol` writes both.
use crate::security::{read, root};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};
use wsconform_cases::{
    Role,
    protocol::{Answer, Delivered, Event, Machine, Member, Sent, table},
};

const TABLE: &str = "conformance/cases/data/protocol.txt";

/// The states of receiving in which nobody listens.
const DEAF: [&str; 7] =
    ["ended", "waits", "over", "unanswered", "unanswered cut", "unanswered reset", "not read"];

#[test]
fn the_page_and_the_picture_are_those_of_the_table() {
    for (path, made) in [("docs/PROTOCOL.md", page()), ("docs/protocol.svg", picture())] {
        if std::env::var_os("PROTOCOL").is_some_and(|what| what == "write") {
            fs::write(root().join(path), &made).unwrap();
        }
        assert!(read(path) == made, "{path} is not up to date: PROTOCOL=write writes it");
    }
}

fn find(machine: &Machine, receiving: &str, sending: &str) -> usize {
    let is = |state: &wsconform_cases::protocol::State| {
        (state.receiving, state.sending) == (receiving, sending)
    };
    machine.states.iter().position(is).unwrap()
}

fn event(machine: &Machine, name: &str) -> usize {
    machine.events.iter().position(|event| event.name == name).unwrap()
}

/// What the application gets.
fn delivered(answer: &Answer) -> String {
    match &answer.delivers {
        None => String::new(),
        Some(Delivered::Message { text: true }) => "the text".into(),
        Some(Delivered::Message { text: false }) => "the binary message".into(),
        Some(Delivered::Ping(_)) => "the Ping".into(),
        Some(Delivered::Pong(_)) => "the Pong".into(),
        Some(Delivered::Close(_)) => "the Close".into(),
    }
}

fn sent(sent: &Sent) -> String {
    match sent {
        Sent::Data(0x80, _) => "the last fragment".into(),
        Sent::Data(0x81.., _) => "message".into(),
        Sent::Data(..) => "fragment".into(),
        Sent::Ping(_) => "Ping".into(),
        Sent::Pong(_) => "Pong".into(),
        Sent::Close(None) => "Close".into(),
        Sent::Close(Some(code)) => format!("Close {code}"),
        Sent::Fin => "FIN".into(),
    }
}

/// What an event does in a state, in few words.
fn cell(machine: &Machine, state: usize, number: usize) -> String {
    let event = machine.events[number];
    let mut ways: Vec<String> = Vec::new();
    for answer in &machine.at(state, number).answers[0] {
        let mut words = Vec::new();
        if matches!(answer.delivers, Some(Delivered::Message { .. })) {
            words.push("delivered".to_owned());
        }
        let back = event.kind == "Close";
        words.extend(answer.sends.iter().filter(|one| **one != Sent::Fin).map(|one| match one {
            Sent::Close(_) if back => "Close back".to_owned(),
            _ => sent(one),
        }));
        if words.is_empty() {
            words.extend(answer.error.map(|error| format!("error: {error}")));
        }
        let (before, next) = (machine.states[state], machine.states[answer.next]);
        let (from, to) = if event.arrives() || next.receiving != before.receiving {
            (before.receiving, next.receiving)
        } else {
            (before.sending, next.sending)
        };
        let bare = |name: &'static str| name.strip_prefix("deflated ").unwrap_or(name);
        let (from, to) = (bare(from), bare(to));
        if from != to && to != "between" && words.iter().all(|word| !word.starts_with("Close")) {
            words.push(to.to_owned());
        }
        ways.push(if words.is_empty() { "·".to_owned() } else { words.join(", ") });
    }
    ways.dedup();
    ways.join(" or ")
}

/// The events, and what each does in each of these states; those that do the same in one row.
fn matrix(machine: &Machine, states: &[(&str, usize)], chosen: impl Fn(&Event) -> bool) -> String {
    let mut rows: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for (number, event) in machine.events.iter().enumerate().filter(|(_, event)| chosen(event)) {
        let cells = states.iter().map(|(_, state)| cell(machine, *state, number)).collect();
        match rows.iter_mut().find(|(before, _)| *before == cells) {
            Some((_, names)) => names.push(event.name),
            None => rows.push((cells, vec![event.name])),
        }
    }
    let heads: Vec<_> = states.iter().map(|(name, _)| *name).collect();
    let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for (cells, names) in rows {
        let _ = writeln!(text, "| {} | {} |", names.join("; "), cells.join(" | "));
    }
    text
}

fn rows(section: &str, heads: &[&str]) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in table().rows(section) {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// A conversation that meets most of the states.
const TALK: [&str; 13] = [
    "text",
    "text..",
    "Ping",
    "..more, E2",
    "..more, 86",
    "..last, 86",
    "send",
    "chunk text..",
    "Pong",
    "close",
    "binary",
    "Close",
    "FIN",
];

fn talk() -> String {
    let machine = Machine::new(Role::Server, false, |_| true);
    let mut text =
        "| | what happens | the application gets | the peer gets | then we are in | section |\n\
                    |---|---|---|---|---|---|\n"
            .to_owned();
    let mut state = 0;
    for (number, name) in TALK.iter().enumerate() {
        let this = event(&machine, name);
        let answer = &machine.at(state, this).answers[0][0];
        state = answer.next;
        let who = if machine.events[this].arrives() { "the peer" } else { "we" };
        let sends: Vec<_> = answer.sends.iter().map(sent).collect();
        let _ = writeln!(
            text,
            "| {} | {who}: {name} | {} | {} | {} | {} |",
            number + 1,
            delivered(answer),
            sends.join(", "),
            machine.states[state],
            answer.section
        );
    }
    text
}

/// An event's first member in hex, and how many more it has.
fn example(event: &Event) -> String {
    let bytes = match &event.members[0] {
        Member::Frame(frame) => {
            frame.bytes(if frame.wrong_mask { Role::Client } else { Role::Server })
        }
        Member::Nothing => return "no bytes".into(),
        Member::Call(call) => call.payload.clone(),
    };
    let shown: Vec<_> = bytes.iter().take(10).map(|byte| format!("{byte:02X}")).collect();
    let dots = if bytes.len() > 10 { " .." } else { "" };
    let more = event.members.len() - 1;
    let others = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("`{}{dots}`{others}", shown.join(" "))
}

fn page() -> String {
    let plain = Machine::new(Role::Server, false, |_| true);
    let agreed = Machine::new(Role::Server, true, |_| true);
    let receiving = |machine: &Machine, deflated: bool| -> Vec<(&'static str, usize)> {
        let rows = table().rows("receiving").iter().map(|row| row[0]);
        let chosen =
            rows.filter(|name| !DEAF.contains(name) && name.starts_with("deflated") == deflated);
        chosen.map(|name| (name, find(machine, name, "open"))).collect()
    };
    let sending: Vec<_> = table()
        .rows("sending")
        .iter()
        .map(|row| (row[0], find(&plain, "between", row[0])))
        .collect();
    let mut events =
        "| event | kind | the first of its members, from a server |\n|---|---|---|\n".to_owned();
    for event in table().events.iter().filter(|event| event.arrives()) {
        let deflated = if event.deflated { " deflated" } else { "" };
        let _ =
            writeln!(events, "| {} | {}{deflated} | {} |", event.name, event.kind, example(event));
    }
    let is_data = |event: &Event| event.arrives() && !event.name.contains("deflated");
    let goes_on = |event: &Event| ["..more", "..last"].contains(&event.kind);
    format!(
        "# The protocol on one page

What one end of an open WebSocket connection does: RFC 6455, with permessage-deflate (RFC 7692) and
UTF-8 (RFC 3629). A section without the name of an RFC belongs to RFC 6455. This page is made from
[one table](../{TABLE}), written from the RFCs and not from the
code; what they leave unsaid is among the
[questions](../conformance/cases/data/protocol.questions.md), with the answers taken.
[TESTING](TESTING.md#the-protocol) says what is held to it.

## The picture

![The states of receiving and of sending, and what leads from one to another](protocol.svg)

An end is in two states at once: one for what it receives, one for what it sends. Put a finger on
each. A frame of the peer moves the left one, and a call of the application the right one. Whatever
makes us send a Close moves the right one to `closed`: the peer's Close and an error of the peer do
so too. So that it stays readable, the picture leaves that arrow out, and some of [the
states](#the-states): those of a compressed message; `waits`, where a client awaits the server's
FIN; and `unanswered` with its two successors, where the application itself has to answer the peer's
Close.

## A conversation

As a server, without compression. The two states are written `receiving / sending`.

{talk}
## The states

What is being received:

{states}
What is being sent, and what may be sent then:

{senders}
What becomes of the stream when receiving is over:

{ends}
## What arrives

In each state of receiving, while we may send everything. `Close 1002` means: receiving fails, this
Close and the end of our stream are sent, and the next state is `ended / closed`. `Close back`
means: the peer's Close is delivered and answered by the same code, sending is `closed`, and the
table above says what becomes of the stream. `·` means that nothing happens, and the state stays. In
`closed` the answers are the same, but no Close is sent a second
time; in `broken` nothing is sent. `let go` answers as `open` does, `let go closed` as `closed`, and
`let go broken` as `broken`. In the last seven states of receiving nobody listens.

{arrives}
In a compressed message, where both ends have agreed on permessage-deflate. All other events do what
they do above:

{deflated}
## What the application calls

In each state of sending, while a message may arrive. The result of a call is in the cell, as is the
next state. Where the halves of a connection are two values, either may be dropped: the sending one,
which leads to the states `let go`, or the receiving one, which leads to `not read`. A call that
only a dropped half has cannot be made; it is `closed` here. The stream is dropped with the second
half.

{calls}
## The events

A name with `..` behind it begins a message of several frames, and one with `..` before it goes on
with it; bytes in a name are the end of its payload. The bytes are those of a server, which are not
masked; a client's are the same, masked.

{events}
## The rules

All above follows from these rows. Of the rows that fit, those of the lowest rank count; each of
them is a right answer. Whoever has sent a Close is in `closed`, or in `let go closed`, without a
word of the row; `closed`, `failed` and `cut` as the next state of receiving are resolved by the
table of what becomes of the stream. These names stand for several states or kinds:

{groups}
{rules}",
        talk = talk(),
        states = rows("receiving", &["state", "the end is here when", "section"]),
        senders = rows("sending", &["state", "when", "data", "Ping, Pong", "Close", "section"]),
        ends = rows("ends", &["receiving", "sending", "role", "we do", "then", "why", "section"]),
        arrives = matrix(&plain, &receiving(&plain, false), is_data),
        deflated = matrix(&agreed, &receiving(&agreed, true), goes_on),
        calls = matrix(&plain, &sending, |event| !event.arrives()),
        groups = rows("groups", &["name", "stands for"]),
        rules = rows(
            "rules",
            &[
                "rank",
                "event",
                "receiving",
                "sending",
                "if",
                "delivers",
                "sends",
                "error",
                "receiving",
                "sending",
                "level",
                "section"
            ]
        ),
    )
}

/// A box of the picture: where, and which states are in it.
struct Place {
    name: &'static str,
    x: i32,
    y: i32,
    holds: fn(&str) -> bool,
}

/// The first three stand in a frame: what leads from each of them to another is one arrow.
const RECEIVING: [Place; 6] = [
    Place { name: "between messages", x: 140, y: 60, holds: |state| state == "between" },
    Place { name: "in a text", x: 40, y: 170, holds: |state| state.starts_with("text") },
    Place { name: "in a binary message", x: 240, y: 170, holds: |state| state == "binary" },
    Place { name: "ended", x: 40, y: 320, holds: |state| state == "ended" },
    Place { name: "over", x: 240, y: 320, holds: |state| state == "over" },
    Place { name: "not read", x: 140, y: 400, holds: |state| state == "not read" },
];

const SENDING: [Place; 6] = [
    Place { name: "open", x: 620, y: 60, holds: |state| state == "open" },
    Place { name: "text chunks", x: 520, y: 170, holds: |state| state.starts_with("text c") },
    Place { name: "binary chunks", x: 720, y: 170, holds: |state| state == "binary chunks" },
    Place { name: "closed", x: 520, y: 320, holds: |state| state == "closed" },
    Place { name: "broken", x: 720, y: 320, holds: |state| state == "broken" },
    Place { name: "let go", x: 620, y: 400, holds: |state| state.starts_with("let go") },
];

/// What leads from one box to another, by the table; from `FRAMED`: from each box in the frame.
type Edges = BTreeMap<(usize, usize), BTreeSet<String>>;
const FRAMED: usize = 6;

fn edges(machine: &Machine, places: &[Place], receiving: bool) -> Edges {
    let mut found = Edges::new();
    let place = |name: &str| places.iter().position(|place| (place.holds)(name));
    for (at, state) in machine.states.iter().enumerate() {
        let listens = !DEAF.contains(&state.receiving);
        // Each side by itself, with the other one at its beginning.
        let drawn = match receiving {
            true => !listens || state.sending == "open",
            false => state.receiving == "between",
        };
        let events = machine.events.iter().enumerate();
        let moves = |event: &Event| event.arrives() || event.kind == "drop receiving";
        for (number, event) in events.filter(|(_, event)| drawn && moves(event) == receiving) {
            let answer = &machine.at(at, number).answers[0][0];
            let next = machine.states[answer.next];
            let (from, to) = match receiving {
                true => (place(state.receiving), place(next.receiving)),
                false if next.receiving == "between" => (place(state.sending), place(next.sending)),
                false => continue, // it fails, which the table of the calls has
            };
            let (Some(from), Some(to)) = (from, to) else { continue };
            let code = answer.sends.iter().find_map(|one| match one {
                Sent::Close(Some(code)) if receiving && event.kind != "Close" => Some(code),
                _ => None,
            });
            let label = match code {
                Some(code) => format!("all that is answered with Close {code}"),
                None => event.kind.to_owned(),
            };
            let from = if from < 3 && to > 2 { FRAMED } else { from };
            if from != to {
                found.entry((from, to)).or_default().insert(label);
            }
        }
    }
    found
}

/// Where an arrow begins or ends: the middle of the side that looks at the other box.
fn ends_of(a: (i32, i32, i32, i32), b: (i32, i32, i32, i32)) -> [(i32, i32); 2] {
    let ((ax, ay, aw, ah), (bx, by, bw, bh)) = (a, b);
    let aside = if ax + aw / 2 < bx + bw / 2 { -12 } else { 12 };
    if ay + ah <= by {
        let x = if aw > bw { bx + bw / 2 } else { ax + aw / 2 + aside };
        [(x, ay + ah), (bx + bw / 2 + if aw > bw { 0 } else { aside }, by)]
    } else if by + bh <= ay {
        [(ax + aw / 2 + aside, ay), (bx + bw / 2 + aside, by + bh)]
    } else if ax < bx {
        [(ax + aw, ay + ah / 2), (bx, by + bh / 2)]
    } else {
        [(ax, ay + ah / 2), (bx + bw, by + bh / 2)]
    }
}

fn picture() -> String {
    const BOX: (i32, i32) = (150, 46);
    let machine = Machine::new(Role::Server, false, |_| true);
    let mut text = String::from(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 660" role="img">
<title>The states of one end of a WebSocket connection</title>
<style>
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .small { font-size: 12px }
  rect { fill: #ddf4ff; stroke: #0969da } path { stroke: #57606a; fill: none }
  .frame { fill: none; stroke-dasharray: 4 4 } .number { font-weight: 600; fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } rect { fill: #0c2d4d; stroke: #58a6ff } path { stroke: #8c959f }
    .number { fill: #58a6ff }
  }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8"/></marker></defs>
"##,
    );
    let mut number = 0;
    let sides = [(&RECEIVING, true, 20, "what we receive"), (&SENDING, false, 500, "what we send")];
    for (places, receiving, left, title) in sides {
        let _ = writeln!(
            text,
            "<text class=\"title\" x=\"{left}\" y=\"24\">{title}</text>\n\
             <rect class=\"frame\" x=\"{left}\" y=\"40\" width=\"390\" height=\"196\" rx=\"8\"/>"
        );
        for Place { name, x, y, .. } in places {
            let _ = writeln!(
                text,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
                 <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                BOX.0,
                BOX.1,
                x + BOX.0 / 2,
                y + 28
            );
        }
        let at = |place: usize| match places.get(place) {
            Some(Place { x, y, .. }) => (*x, *y, BOX.0, BOX.1),
            None => (left, 40, 390, 196),
        };
        let mut y = 480;
        for ((from, to), labels) in edges(&machine, places, receiving) {
            number += 1;
            let [(ax, ay), (bx, by)] = ends_of(at(from), at(to));
            let labels = Vec::from_iter(labels);
            let mut lines = vec![format!("{number}")];
            for label in labels {
                let line = lines.last_mut().unwrap();
                if line.len() + label.len() > 52 {
                    lines.push(label);
                } else {
                    *line += &format!("{} {label}", if line.len() < 3 { ":" } else { "," });
                }
            }
            let _ = writeln!(
                text,
                "<path d=\"M{ax} {ay} {bx} {by}\" marker-end=\"url(#tip)\"/>\n\
                 <text class=\"number\" x=\"{}\" y=\"{}\">{number}</text>",
                (ax + bx) / 2 + 6,
                (ay + by) / 2 + if ay == by { -4 } else { 4 }
            );
            for (row, line) in lines.iter().enumerate() {
                let x = left + if row > 0 { 20 } else { 0 };
                let _ = writeln!(text, r#"<text class="small" x="{x}" y="{y}">{line}</text>"#);
                y += 17;
            }
        }
    }
    text + "</svg>\n"
}
