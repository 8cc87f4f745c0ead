//! `docs/PROTOCOL.md` and its picture are what `conformance/cases/data/protocol.txt` makes them. After
//! a change of the table, `PROTOCOL=write cargo test --test source protocol` writes both.
use crate::{
    cells::shown,
    security::{read, root},
};
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

/// A state, in the machine of one end.
#[derive(Clone, Copy)]
struct Column<'a> {
    name: &'a str,
    role: Role,
    machine: &'a Machine,
    state: usize,
}

impl<'a> Column<'a> {
    fn at(self, name: &'a str, receiving: &str, sending: &str) -> Self {
        Self { name, state: find(self.machine, receiving, sending), ..self }
    }

    /// Each state of receiving in which something is read, in a compressed message or not.
    fn listening(self, deflated: bool) -> Vec<Self> {
        let names = table().rows("receiving").iter().map(|row| row[0]);
        let chosen =
            names.filter(|name| !DEAF.contains(name) && name.starts_with("deflated") == deflated);
        chosen.map(|name| self.at(name, name, "open")).collect()
    }
}

/// What an event does in a state. Members that are answered in another way have their first byte.
fn cell(column: Column<'_>, number: usize) -> String {
    let Column { role, machine, state, .. } = column;
    if machine.at(state, number).out_of_place {
        return "-".into();
    }
    let mut ways: Vec<(String, BTreeSet<String>)> = Vec::new();
    for (member, answers) in
        machine.events[number].members.iter().zip(&machine.at(state, number).answers)
    {
        let each = answers.iter().map(|answer| shown(role, machine, state, member, answer));
        let mut each = Vec::from_iter(each);
        each.dedup();
        let way = each.join(" or ");
        let first = match member {
            Member::Frame(frame) => format!("{:02X}", frame.first),
            Member::Nothing | Member::Call(_) => String::new(),
        };
        match ways.iter_mut().find(|(before, _)| *before == way) {
            Some((_, firsts)) => firsts.insert(first),
            None => {
                ways.push((way, BTreeSet::from([first])));
                true
            }
        };
    }
    if let [(way, _)] = &ways[..] {
        return way.clone();
    }
    assert!(machine.events[number].arrives(), "the page has no words for what differs in a call");
    let ways = ways
        .into_iter()
        .map(|(way, firsts)| format!("{}: {way}", Vec::from_iter(firsts).join(", ")));
    Vec::from_iter(ways).join("; ")
}

/// The events, and what each does in each of these states; those that do the same in one row.
fn matrix(columns: &[Column<'_>], chosen: impl Fn(&Event) -> bool) -> String {
    let mut rows: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    let events = columns[0].machine.events.iter().enumerate();
    for (number, event) in events.filter(|(_, event)| chosen(event)) {
        let cells = columns.iter().map(|column| cell(*column, number)).collect();
        let name = match is_frame(event) && columns[0].name == DEAF[0] {
            true => "any frame",
            false => event.name,
        };
        match rows.iter_mut().find(|(before, _)| *before == cells) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => rows.push((cells, vec![name])),
        }
    }
    let heads: Vec<_> = columns.iter().map(|column| column.name).collect();
    let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for (cells, names) in rows {
        let _ = writeln!(text, "| {} | {} |", names.join("; "), cells.join(" | "));
    }
    text
}

fn is_frame(event: &Event) -> bool {
    event.arrives() && !["FIN", "half FIN", "reset"].contains(&event.kind)
}

/// The states of the characters of a text, by the next byte.
fn characters() -> String {
    const CLASSES: [&str; 13] = [
        "",
        "00-7F",
        "80-8F",
        "90-9F",
        "A0-BF",
        "C2-DF",
        "E0",
        "E1-EC, EE, EF",
        "ED",
        "F0",
        "F1-F3",
        "F4",
        "C0, C1, F5-FF",
    ];
    let mut text = format!("| {} |\n|{}\n", CLASSES.join(" | "), "---|".repeat(CLASSES.len()));
    for row in table().rows("characters") {
        let cells = row.iter().map(|cell| match *cell {
            "-" => "no UTF-8".to_owned(),
            next if next.starts_with('-') => format!("text{next}"),
            next => next.to_owned(),
        });
        let _ = writeln!(text, "| {} |", Vec::from_iter(cells).join(" | "));
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
    let [plain, agreed] = [false, true].map(|agreed| Machine::new(Role::Server, agreed, |_| true));
    let client = Machine::new(Role::Client, false, |_| true);
    let plain = Column { name: "", role: Role::Server, machine: &plain, state: 0 };
    let agreed = Column { machine: &agreed, ..plain };
    let client = Column { role: Role::Client, machine: &client, ..plain };
    let begins = [
        agreed.at("between", "between", "open"),
        plain.at("between, not agreed", "between", "open"),
        agreed.at("in a message", "text", "open"),
    ];
    let deaf = DEAF.map(|name| {
        let of = if ["waits", "unanswered reset"].contains(&name) { client } else { plain };
        let over = ["ended", "waits", "over"].contains(&name);
        of.at(name, name, if over { "closed" } else { "open" })
    });
    let is_as_in_the_calls = |this: &Event| {
        deaf.iter().all(|column| {
            let over = column.machine.states[column.state].sending == "closed";
            let like = plain.at("", "between", if over { "let go broken" } else { "open" });
            let number = event(column.machine, this.name);
            cell(*column, number) == cell(like, number)
        })
    };
    let sending = table().rows("sending").iter().map(|row| row[0]);
    let sending: Vec<_> = sending.map(|name| plain.at(name, "between", name)).collect();
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

Whatever makes us send a Close moves sending to `closed`, or from `let go` to `let go closed`: the
peer's Close, an error of the peer, or a call of ours. From then on we send no data and no second
Close (5.5.1); Pings are still answered, and may be sent, until receiving is over (5.5.2).

What an event does in each state of receiving, while we may send everything. In `closed` our Close
is left out, and all else is the same; in `broken` nothing is sent, and the table above has what
becomes of the stream. `let go` answers as `open` does, `let go closed` as `closed`, and `let go
broken` as `broken`. [The events](#the-events) are below, with their bytes. A cell has all that
happens, and at its end the next state of receiving, of sending, or of both, where it is another:

- `·`: nothing happens, and the state stays;
- `delivered`: the application gets the message, and we are in `between`;
- `Pong back`: the application gets the Ping, and the peer a Pong with the same payload;
- `Close 1002`: receiving fails. We send this Close and FIN, and are in `ended / closed`. The error
  has its name in [the rules](#the-rules);
- `Close back`: the application gets the Close, and the peer one with the same code, or without one.
  Then we are in `closed`; a server also sends FIN and is in `ended`, and a client is in `waits`;
- `FIN`: we end our side of the stream; `dropped`: we drop all of it;
- `or`: each of the two is a right answer; `80:` before an answer: to a frame with this first byte.

The close code of the connection is that of the peer's Close, 1005 if that has none, and 1006 if
none came (7.1.5).

{arrives}
A compressed message begins with a frame that has RSV1 set, once both ends have agreed on
permessage-deflate:

{begins}
In a compressed message. All other events do what they do above, and what begins a message is `Close
1002` here too. `-` is no event: in the midst of a block its bytes mean something else.

{deflated}
Where nobody listens, as a server, and in `waits` and `unanswered reset` as a client. Sending is
`closed` in the first three of these states; there, the calls that are not in this table do what the
next one has for `let go broken`. In the others sending is `open`, and they do what it has for that:

{deaf}
## What the application calls

In each state of sending, while a message may arrive; `our Close` has the code of the call. A call
that returns an error sends nothing, but for `fail`, which ends the connection. Where the halves of
a connection are two values, either may be dropped: the sending one, which leads to the states `let
go`, or the receiving one, which leads to `not read`. A call that only a dropped half has cannot be
made; it is `closed` here. The stream is dropped with the second half.

{calls}
## The events

A frame (5.2) begins with two bytes. The first is the sum of FIN (80), RSV1 (40), RSV2 (20), RSV3
(10) and the opcode. The second is the sum of 80, if the payload is masked, and of its length, if
that is at most 125; 126 stands for a length in the next two bytes, 127 for one in the next eight,
the high byte first. Then come the four bytes of the key, if there is one, and the payload, of which
each byte is XORed with one of the key, in turn (5.3). Clients mask, servers do not.

| opcode | with FIN | without FIN | with RSV1 |
|---|---|---|---|
| 0 | ..last | ..more | RSV1 not on a first frame |
| 1 | text | text.. | deflated text, deflated text.. |
| 2 | binary | binary.. | deflated binary, deflated binary.. |
| 3 to 7 | reserved data opcode | reserved data opcode | |
| 8 | Close | control frame, not final | RSV1 not on a first frame |
| 9 | Ping | control frame, not final | RSV1 not on a first frame |
| A | Pong | control frame, not final | RSV1 not on a first frame |
| B to F | reserved control opcode | reserved control opcode | |

With RSV2 or RSV3 it is the event of that name. If a frame breaks two rules, either may be named,
but one about its header comes before one about its payload. `Close, ours to answer` is each Close
to an end that leaves the answer to the application.

A text is followed byte by byte (3629 4): each row is a state, each column has the next byte, and a
text begins in the first row. In the name of an event, a byte stands for all of its column. A frame
with other bytes, a first one too, leads where they lead one after another; if they are no UTF-8, or
the message ends in another state than `text`, that is `Close 1007`:

{characters}
In a compressed message these are the bytes to which it inflates, with 00 00 FF FF put behind its
last frame (7692 7.2.2). A fragment may end inside a block of DEFLATE: it counts for the bytes that
have inflated so far, and only the last frame has to complete the data. Most fragments below are
whole blocks; those whose names end with `block` are those of 7692 7.2.3.

A name with `..` behind it begins a message of several frames, and one with `..` before it goes on
with it; bytes in a name are the end of its payload. Where `the write fails`, the stream refuses
what would answer the frame. The bytes are those of a server, which are not masked; a client's are
the same, masked.

{events}
## The rules

All above follows from these rows. The level is the word of the RFC for this answer of this end;
`open` says that it has none, as where it forbids a sender something without a word on the receiver.
Of the rows that fit, those of the lowest rank count; each of them is a right answer. Whoever has
sent a Close is in `closed`, or in `let go closed`, without a word of the row; `closed`, `failed`
and `cut` as the next state of receiving are resolved by the table of what becomes of the stream.
These names stand for several states or kinds:

{groups}
{rules}",
        talk = talk(),
        states = rows("receiving", &["state", "the end is here when", "section"]),
        senders = rows("sending", &["state", "when", "data", "Ping, Pong", "Close", "section"]),
        ends = rows("ends", &["receiving", "sending", "role", "we do", "then", "why", "section"]),
        arrives = matrix(&plain.listening(false), is_data),
        deflated = matrix(&agreed.listening(true), goes_on),
        calls = matrix(&sending, |event| !event.arrives()),
        begins = matrix(&begins, |event| event.name.starts_with("deflated")),
        deaf = matrix(&deaf, |event| event.arrives() || !is_as_in_the_calls(event)),
        characters = characters(),
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
