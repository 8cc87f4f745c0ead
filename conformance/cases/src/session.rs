//! One connection of one case, as a state machine without I/O and without a clock.
//!
//! ```text
//! loop {
//!     match session.next_action() {
//!         Send(bytes)    write all of them, then ask again; read meanwhile if the write blocks
//!         Pause(wait)    read for that long (`received`), then ask again
//!         Receive(wait)  read once: `received`, `ended`, or after that time `timed_out`
//!         Shutdown       end the writing half, then ask again
//!         Reset          end the connection by a reset, then ask again
//!         Turn           go on with the other session of the case, if it has two (`second`)
//!         Done           `verdict` is final; drop the connection
//!     }
//! }
//! ```
//!
//! To test a server, connect for each session; to test a client, accept its connection. The first
//! action fits the role. A failed write is `ended(End::Reset)`, after what can still be read.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::case::{Case, Group, Level};
use crate::code;
use crate::judge::deflate::{self, Parameters};
use crate::judge::frame::{Frame, Header};
use crate::judge::http::{self, Extension, Head};
use crate::judge::{Event, Kind, Reader, Violation, accept};
use crate::marker::{OURS, marker_at};
use crate::peer::{BEHIND, Env, Peer};
use crate::plan::{self, Apart, Place, Plan};
use crate::script::{Expect, Step};
use crate::wait::Wait;

/// The Closes of a peer that has had enough: in order, going away, by its policy (so many messages),
/// for a restart, or to be tried again later.
const LEAVES: [u16; 5] = [1000, 1001, 1008, 1012, 1013];

/// What a program does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes, with Nagle's algorithm off, then ask again.
    Send(Vec<u8>),
    /// Go on reading for this time, then ask again.
    Pause(Wait),
    /// Read once, for at most this time, then ask again.
    Receive(Wait),
    /// End the writing half of the stream, then ask again.
    Shutdown,
    /// End the connection by a reset, as the death of a program does, then ask again.
    Reset,
    /// Go on with the other session of the case ([`Session::second`]) if that is not over, then ask
    /// again.
    Turn,
    /// The verdict is there.
    Done,
}

/// How the peer ended the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order.
    Fin,
    /// By a reset, or a failed write.
    Reset,
}

/// What a case says of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Verdict {
    /// The peer does what the sentence says.
    Pass,
    /// It doesn't, and the sentence names its role: only at level R.
    Fail {
        /// What happened.
        why: String,
        /// The sentence's document and section.
        section: String,
        /// The bytes, as far as they matter.
        evidence: String,
    },
    /// It makes a choice that should be known.
    Note {
        /// What happened.
        why: String,
    },
    /// It fails beside other cases, and not each time alone: the peer, the network or the suite is
    /// unsteady, and nobody can mend what does not come again.
    Unsteady {
        /// What happened.
        why: String,
    },
    /// The case does not fit the peer.
    Skip {
        /// Why not.
        cause: String,
    },
    /// The case fits, and yet says nothing: no connection opened, nobody was there any more, or the
    /// run ended before a failure came again.
    Untested {
        /// What happened.
        why: String,
    },
    /// The session isn't over.
    Waiting,
}

/// What a session has seen of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The opening handshake succeeded.
    pub opened: bool,
    /// The head that the peer sent.
    pub head: Option<Head>,
    /// The key of a tested client.
    pub key: Option<String>,
    /// What a tested client offers of permessage-deflate, in its first offer.
    pub offer: Option<Parameters>,
    /// What is agreed of permessage-deflate.
    pub agreed: Option<Parameters>,
    /// The subprotocols that a client offers, or the one that a server has taken.
    pub subprotocols: Vec<String>,
    /// The messages so far.
    pub messages: Vec<(Kind, Vec<u8>)>,
    /// The payloads of the Pongs so far.
    pub pongs: Vec<Vec<u8>>,
    /// The Close: its code, if it has one.
    pub close: Option<Option<u16>>,
    /// How the stream ended.
    pub end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer's head is to come.
    Head,
    /// The steps of the plan.
    Steps,
    /// The markers are to come back.
    Marker,
    /// Our half of the stream has ended inside a frame: the peer's end shows that it has read all.
    Inside,
    /// The violation has passed: does the peer fail the connection after all?
    Late,
    /// Our Close is out: does the peer answer it?
    SecondChance,
    /// The peer's Close is there. What it sends until the end of TCP counts too.
    TcpEnd,
    Done,
}

/// How a session ends.
enum Outcome {
    Good,
    Bad {
        why: String,
        section: String,
    },
    /// What no good peer does, whatever the case is about.
    Wrong {
        why: String,
        section: String,
    },
    Note(String),
    Skip(String),
    Untested(String),
}

/// One connection of one case.
#[derive(Clone, Debug)]
pub struct Session {
    case: &'static Case,
    role: Role,
    peer: Peer,
    fields: Vec<(String, String)>,
    is_strict: bool,
    plan: Plan,
    phase: Phase,
    actions: VecDeque<Action>,
    steps: VecDeque<Step>,
    reader: Reader,
    /// Bytes of the peer's head that isn't complete.
    head: Vec<u8>,
    /// The peer has ended the connection with a code that accuses nobody.
    has_left: bool,
    /// How many messages and control frames the steps have.
    events: usize,
    /// The answer has a parameter that the client did not ask for, and may not know.
    is_doubtful: bool,
    /// What the peer may still send: without a limit, a peer that never ends takes all memory.
    room: usize,
    expected: Vec<(Kind, Vec<u8>)>,
    /// The payloads of the Pings that the case sends.
    pings: Vec<Vec<u8>>,
    last_ping: Option<Vec<u8>>,
    expects_close: Option<Option<u16>>,
    /// The reason of our Close.
    reason: String,
    /// What stands behind the violation and must not be answered.
    behind: Vec<Event>,
    /// The last frame announces more than comes of it.
    ends_inside: bool,
    marker: Vec<u8>,
    /// How the stream that we send stands.
    sending: Sending,
    /// The peer's last Ping, which is to be answered.
    asked: Option<Vec<u8>>,
    is_of_another: bool,
    /// The session of the case's other connection, once that is over.
    second: Option<Box<Session>>,
    seen: Observed,
    verdict: Verdict,
    remarks: Vec<String>,
    sent: Record,
    received: Record,
}

/// Where the stream of frames that we send stands.
#[derive(Clone, Debug, Default)]
struct Sending {
    /// Bytes of a header that isn't complete.
    header: Vec<u8>,
    /// What is left of the payload.
    left: u64,
    /// A Close or the end of our half is out.
    is_over: bool,
}

impl Sending {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= skipped as u64;
            bytes = &bytes[skipped..];
            let [first, rest @ ..] = bytes else { return };
            self.header.push(*first);
            bytes = rest;
            if let Some((header, _)) = Header::read(&self.header) {
                self.is_over |= header.opcode == 8;
                self.left = header.length;
                self.header.clear();
            }
        }
    }

    /// Whether another frame can follow.
    fn takes_a_frame(&self) -> bool {
        self.header.is_empty() && self.left == 0 && !self.is_over
    }
}

/// The start of what went one way, and how much it was.
#[derive(Clone, Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    total: usize,
}

impl Record {
    fn add(&mut self, bytes: &[u8]) {
        self.total += bytes.len();
        let room = 4096usize.saturating_sub(self.bytes.len());
        self.bytes.extend(&bytes[..room.min(bytes.len())]);
    }

    fn hex(&self) -> String {
        let mut text = plan::in_full(&self.bytes);
        if self.total > self.bytes.len() {
            text += &format!(" of {}", self.total);
        }
        text
    }

    fn in_words(&self) -> String {
        let mut text = plan::exchanged(&self.bytes);
        if self.total > self.bytes.len() {
            text += &format!("  .. {} bytes in all\n", self.total);
        }
        text
    }
}

/// The Ping behind an answer that a client need not take.
const TAKEN: &[u8] = b"do you take these parameters?";

/// So many bytes of control frames behind its Close, and we read no further.
const ENOUGH_BEHIND: usize = 64 << 10;

/// The longest head, with the interim responses before it.
const LONGEST_HEAD: usize = 1 << 20;

/// What a peer may send, or make us hold, beside twice what is expected of it.
const ROOM: usize = 1 << 20;

/// What a message, a Ping or a Pong costs beside its bytes.
const EVENT: usize = 64;

/// A peer whose bytes come faster than they are read is read in such pieces.
const PIECE: usize = 64 << 10;

impl Session {
    /// A session of `case` against a peer of this role.
    pub fn new(case: &'static Case, role: Role, env: &Env) -> Session {
        Session::of(case, role, env, Place::First)
    }

    /// The session of the case's second connection, if it has two. That connection opens at the
    /// first [`Action::Turn`] of this one; then whoever comes to a `Turn`, or is over, lets the other
    /// go on.
    pub fn second(&self, env: &Env) -> Option<Session> {
        let is_open = self.phase != Phase::Done && self.case.is_of_two();
        is_open.then(|| Session::of(self.case, self.role, env, Place::Second))
    }

    /// Takes what the second session has shown: the case fails if either fails.
    pub fn join(&mut self, second: Session) {
        self.phase = Phase::Done;
        if matches!(self.verdict, Verdict::Pass | Verdict::Waiting) {
            self.verdict = second.verdict.clone();
            if let Verdict::Fail { why, .. } | Verdict::Untested { why } | Verdict::Note { why } =
                &mut self.verdict
            {
                *why = format!("on the second connection: {why}");
            }
        }
        self.is_of_another |= second.is_of_another;
        self.remarks.extend(second.remarks.iter().cloned());
        self.second = Some(Box::new(second));
        let evidence = self.evidence();
        if let Verdict::Fail { evidence: before, .. } = &mut self.verdict {
            *before = evidence;
        }
    }

    fn of(case: &'static Case, role: Role, env: &Env, place: Place) -> Session {
        let mut plan = plan::of(case, role, env, place);
        let marker = plan.marker.clone();
        let events = plan.events();
        let behind = match case.rule.id.as_str() {
            "failed" => plan.behind_violation(),
            _ => Vec::new(),
        };
        let ends_inside = plan.ends_inside_a_frame();
        let mut session = Session {
            case,
            role,
            peer: env.peer.clone(),
            fields: env.fields.clone(),
            is_strict: env.is_strict,
            phase: Phase::Head,
            actions: VecDeque::new(),
            steps: std::mem::take(&mut plan.steps).into(),
            reader: Reader::new(role),
            head: Vec::new(),
            has_left: false,
            events: events.len(),
            is_doubtful: false,
            room: ROOM,
            expected: Vec::new(),
            pings: Vec::new(),
            last_ping: None,
            expects_close: None,
            reason: String::new(),
            behind,
            ends_inside,
            marker,
            sending: Sending::default(),
            asked: None,
            is_of_another: false,
            second: None,
            seen: Observed::default(),
            verdict: Verdict::Waiting,
            remarks: Vec::new(),
            sent: Record::default(),
            received: Record::default(),
            plan,
        };
        for event in events {
            match event {
                Event::Message(kind, data) => session.expected.push((kind, data)),
                Event::Ping(payload) => {
                    session.pings.push(payload.clone());
                    session.last_ping = Some(payload);
                }
                Event::Close(code, reason) => {
                    session.expects_close = Some(code);
                    session.reason = reason;
                }
                Event::Pong(_) | Event::Violation(_) => {}
            }
        }
        let echo: usize = session.expected.iter().map(|message| message.1.len() + EVENT).sum();
        session.room = ROOM + 2 * echo;
        session.reader = Reader::new(role).with_limit(session.room);
        if let Some(cause) = case.skipped(role, &env.peer) {
            session.conclude(Outcome::Skip(cause));
        } else if role == Role::Server {
            let head = session.plan.head.clone();
            session.send_head(&head);
            if session.plan.head_is_cut {
                session.actions.push_back(Action::Shutdown);
            }
        }
        session
    }

    /// The case.
    pub fn case(&self) -> &'static Case {
        self.case
    }

    /// The level of the case for this peer.
    pub fn level(&self) -> Level {
        self.case.level_for(&self.peer)
    }

    /// The role of the tested peer.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What has been seen of the peer.
    pub fn observed(&self) -> &Observed {
        &self.seen
    }

    /// The verdict; [`Verdict::Waiting`] until the session is over.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether the server has too much to do for another connection, as it says.
    pub fn is_refused_for_now(&self) -> bool {
        let status = self.seen.head.as_ref().and_then(Head::status).map(|(_, status)| status);
        let is_refused = !self.seen.opened && matches!(status, Some(429 | 503));
        is_refused || self.second.as_ref().is_some_and(|second| second.is_refused_for_now())
    }

    /// Whether it has failed by what only another connection has sent: that needs no second proof.
    pub fn is_of_another(&self) -> bool {
        self.is_of_another
    }

    /// What else was seen and is no verdict, such as another close code.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// What was sent, in hexadecimal: at most the first 4 KiB.
    pub fn sent_hex(&self) -> String {
        self.sent.hex()
    }

    /// What was received, in hexadecimal: at most the first 4 KiB.
    pub fn received_hex(&self) -> String {
        self.received.hex()
    }

    /// A session that shows whether the peer leaves by itself, if it has failed by leaving with a
    /// Close that does not say that anything was wrong: over another connection, with as many plain
    /// texts, for as long.
    pub fn control(&self, env: &Env, lasted: Duration) -> Option<Session> {
        if !self.has_left || !matches!(self.verdict, Verdict::Fail { .. }) {
            return None;
        }
        let mut control = Session::new(code::control(), self.role, env);
        // The markers too.
        for _ in 0..self.events + 2 {
            let text = control.frame(0x81, b"wsconform asks: do you stay?");
            control.steps.push_back(Step::Send(text));
        }
        control.steps.push_back(Step::Pause(Wait::LATE.longer(lasted)));
        Some(control)
    }

    /// Takes what the [`control`](Session::control) has shown: a peer that leaves it too cannot be
    /// tested in this way.
    pub fn is_controlled_by(&mut self, control: &Session) {
        let seen = control.observed();
        let leaves = seen.opened && (seen.close.is_some() || seen.end.is_some());
        if let Verdict::Fail { why, .. } = &self.verdict
            && leaves
        {
            let why = format!("the peer leaves as many plain texts, too: {why}");
            self.verdict = Verdict::Untested { why };
        }
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Action {
        loop {
            if let Some(action) = self.actions.pop_front() {
                if action == Action::Shutdown {
                    self.sending.is_over = true;
                }
                return action;
            }
            self.answer_ping();
            match self.phase {
                _ if !self.actions.is_empty() => {}
                Phase::Late if matches!(self.plan.expect, Expect::NoClose(_)) => {
                    self.conclude(Outcome::Good);
                }
                Phase::Late => {
                    let close = self.frame(0x88, &BEHIND.to_be_bytes());
                    self.send(close);
                    self.phase = Phase::SecondChance;
                }
                Phase::Head | Phase::SecondChance | Phase::TcpEnd => {
                    return Action::Receive(Wait::ANSWER);
                }
                Phase::Steps => {
                    if let Some(action) = self.next_step() {
                        return action;
                    }
                }
                Phase::Marker | Phase::Inside => {
                    self.judge_markers();
                    if self.actions.is_empty() && self.phase != Phase::Done {
                        return Action::Receive(Wait::ANSWER);
                    }
                }
                Phase::Done => return Action::Done,
            }
        }
    }

    /// Bytes from the peer, in any pieces. A peer that sends far more than what is expected of it
    /// has not answered: the session ends as at [`timed_out`](Session::timed_out).
    pub fn received(&mut self, bytes: &[u8]) {
        self.received.add(bytes);
        for piece in bytes.chunks(PIECE) {
            match self.phase {
                Phase::Done => return,
                Phase::Head => self.read_head(piece),
                _ => self.read(piece),
            }
            self.takes_room(piece.len());
        }
    }

    fn read_head(&mut self, bytes: &[u8]) {
        // What was there before has no end of a head.
        let new = self.head.len().saturating_sub(3);
        self.head.extend(bytes);
        if self.head[new..].windows(4).any(|four| four == b"\r\n\r\n") {
            self.read_heads();
        }
        if self.phase == Phase::Head && self.received.total > LONGEST_HEAD {
            self.floods();
        }
    }

    /// A head, and the interim responses before it.
    fn read_heads(&mut self) {
        let bytes = std::mem::take(&mut self.head);
        let mut rest = &bytes[..];
        while self.phase == Phase::Head {
            match Head::read(rest) {
                Ok(None) => {
                    self.head = rest.to_vec();
                    return;
                }
                Ok(Some((head, length))) => {
                    rest = &rest[length..];
                    self.opening(head, rest);
                }
                Err(violation) => self.bad_head(violation),
            }
        }
    }

    /// The peer has sent so many bytes, or made us hold them.
    fn takes_room(&mut self, bytes: usize) {
        self.room = self.room.saturating_sub(bytes);
        if self.room == 0 {
            self.floods();
        }
    }

    fn floods(&mut self) {
        let open = self.phase != Phase::Head;
        let place = if open { "" } else { " to the opening handshake" };
        let what = format!("no answer{place} in {} bytes from the peer", self.received.total);
        self.no_answer(false, what);
    }

    /// The peer has ended its half of the stream, or all of it.
    pub fn ended(&mut self, end: End) {
        self.seen.end.get_or_insert(end);
        self.silence(true);
    }

    /// Nothing came in the time of [`Action::Receive`].
    pub fn timed_out(&mut self) {
        self.silence(false);
    }

    /// The program gives it no more time, though something still comes. Of a peer that answers, but
    /// takes too long for all of it, that says nothing; another one has not answered.
    pub fn ran_out_of_time(&mut self) {
        let answered = |ping: &Vec<u8>| self.seen.pongs.contains(ping);
        let echoes = !self.expected.is_empty() && self.echoed().first() == self.wanted().first();
        let is_answering = echoes || self.pings.iter().any(answered);
        match self.plan.expect {
            Expect::Either | Expect::Learn => self.timed_out(),
            _ if is_answering => {
                let why = "it takes too long: the peer answers, and has not answered all";
                self.conclude(Outcome::Untested(why.to_owned()));
            }
            _ => self.timed_out(),
        }
    }

    /// Sends frames.
    fn send(&mut self, bytes: Vec<u8>) {
        self.sent.add(&bytes);
        self.sending.take(&bytes);
        self.actions.push_back(Action::Send(bytes));
    }

    /// The head and what comes with it, in the pieces of the plan.
    fn send_head(&mut self, head: &[u8]) {
        self.sent.add(head);
        self.sent.add(&self.plan.behind);
        self.sending.take(&self.plan.behind);
        let mut bytes = plan::with_fields(head, &self.fields);
        bytes.extend(&self.plan.behind);
        let piece = match self.plan.head_piece {
            0 => bytes.len().max(1),
            piece => piece,
        };
        for (place, bytes) in bytes.chunks(piece).enumerate() {
            if place > 0 && self.plan.head_apart != Apart::Not {
                self.actions.push_back(Action::Pause(Wait::round_trips(1)));
            }
            if place > 0 && self.plan.head_apart == Apart::Turn {
                self.actions.push_back(Action::Turn);
            }
            self.actions.push_back(Action::Send(bytes.to_vec()));
        }
    }

    /// The last Ping needs an answer (RFC 6455 5.5.2, 5.5.3), once a frame can follow.
    fn answer_ping(&mut self) {
        let is_open = self.phase != Phase::Done && self.seen.opened && self.seen.close.is_none();
        if is_open
            && self.sending.takes_a_frame()
            && let Some(payload) = self.asked.take()
        {
            let pong = self.frame(0x8a, &payload);
            self.send(pong);
        }
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        Frame::new(self.role.other(), first, payload, self.plan.keys.key()).bytes()
    }

    fn next_step(&mut self) -> Option<Action> {
        match self.steps.front() {
            Some(Step::AwaitPong(payload)) if !self.seen.pongs.contains(payload) => {
                Some(Action::Receive(Wait::ANSWER))
            }
            Some(Step::AwaitMessages(count))
                if self.peer.echoes() && self.echoed().len() < *count =>
            {
                Some(Action::Receive(Wait::ANSWER))
            }
            Some(_) => match self.steps.pop_front()? {
                Step::Send(bytes) if bytes.is_empty() => None,
                Step::Send(bytes) => {
                    self.sent.add(&bytes);
                    self.sending.take(&bytes);
                    Some(Action::Send(bytes))
                }
                Step::Pause(wait) => Some(Action::Pause(wait)),
                Step::Shutdown => {
                    self.sending.is_over = true;
                    Some(Action::Shutdown)
                }
                Step::Reset => {
                    self.conclude(Outcome::Good);
                    Some(Action::Reset)
                }
                Step::Turn => Some(Action::Turn),
                Step::AwaitPong(_) | Step::AwaitMessages(_) => None,
            },
            None => {
                self.phase = Phase::Marker;
                self.send_markers();
                None
            }
        }
    }

    /// The messages without those that the peer sends by itself.
    fn echoed(&self) -> Cow<'_, [(Kind, Vec<u8>)]> {
        let messages = &self.seen.messages;
        if !self.peer.speaks {
            return Cow::Borrowed(messages.get(self.peer.greeting..).unwrap_or_default());
        }
        let wanted = self.wanted();
        let is_ours =
            |message: &&(Kind, Vec<u8>)| message.1 == self.marker || wanted.contains(message);
        Cow::Owned(messages.iter().filter(is_ours).cloned().collect())
    }

    fn send_markers(&mut self) {
        let marker = self.marker.clone();
        let ping = self.frame(0x89, &marker);
        match self.plan.expect {
            Expect::Fail(_)
            | Expect::Refuse(_)
            | Expect::Either
            | Expect::Swallow
            | Expect::NoClose(_)
                if !self.plan.head_is_cut =>
            {
                self.send(ping);
                let fails = matches!(self.plan.expect, Expect::Fail(_) | Expect::Refuse(_));
                if self.ends_inside && !fails {
                    self.actions.push_back(Action::Pause(Wait::LATE));
                    self.actions.push_back(Action::Shutdown);
                    self.phase = Phase::Inside;
                } else if self.awaits_messages() {
                    let text = self.frame(0x81, &marker);
                    self.send(text);
                }
            }
            Expect::Accept if self.expects_close.is_none() => {
                // The Ping goes out when the last one is answered: a peer may leave out all but
                // the latest (RFC 6455 5.5.3).
                if self.last_ping.is_none() {
                    self.send(ping);
                }
                if self.peer.echoes() {
                    let text = self.frame(0x81, &marker);
                    self.send(text);
                }
            }
            // No Ping: a peer that leaves at one would seem to leave by itself.
            Expect::Learn if self.case.id == "PROBE-8" => self.conclude(Outcome::Good),
            Expect::Learn if self.expects_close.is_none() => {
                let text = self.frame(0x81, &marker);
                self.send(ping);
                self.send(text);
            }
            _ => {}
        }
    }

    /// Looks whether what was expected is there.
    fn judge_markers(&mut self) {
        let pong = self.seen.pongs.contains(&self.marker);
        match self.plan.expect.clone() {
            Expect::Fail(_) | Expect::NoClose(_) if pong => {
                self.actions.push_back(Action::Pause(Wait::LATE));
                self.phase = Phase::Late;
            }
            Expect::Refuse(_) if pong => self.bad("the connection is open: a Ping is answered"),
            Expect::Swallow if pong => self.bad("a Ping inside of the payload is answered"),
            Expect::Either if pong && (!self.awaits_messages() || self.marker_came()) => {
                self.took_a_flood();
            }
            Expect::Accept if self.expects_close.is_some() => {}
            Expect::Accept => self.judge_accepted(pong),
            Expect::Learn if self.expects_close.is_none() => {
                let echo = self.seen.messages.iter().any(|message| message.1 == self.marker);
                // Before the first answer nobody knows.
                let may_echo = !self.peer.opens || self.peer.echoes();
                if pong && (echo || !may_echo) {
                    self.conclude(Outcome::Good);
                }
            }
            _ => {}
        }
    }

    /// Whether messages have to come back of what is a choice otherwise.
    fn awaits_messages(&self) -> bool {
        let has_messages = !self.expected.is_empty() && !self.ends_inside;
        self.plan.expect == Expect::Either && self.peer.echoes() && has_messages
    }

    fn marker_came(&self) -> bool {
        self.seen.messages.iter().any(|message| message.1 == self.marker)
    }

    /// How much is taken is a choice. What comes back of it has to be that.
    fn took_a_flood(&mut self) {
        let echoed = self.echoed();
        let came = echoed.iter().take_while(|message| message.1 != self.marker);
        let got: Vec<_> = came.cloned().collect();
        let wanted = self.wanted();
        if self.awaits_messages() && got != wanted {
            let why = difference(&got, &wanted);
            match wanted.starts_with(&got) {
                true => self.conclude(Outcome::Note(why)),
                false => self.wrong(&why),
            }
            return;
        }
        self.conclude(Outcome::Note("the peer takes it and goes on".to_owned()));
    }

    /// What has to come back.
    fn wanted(&self) -> Vec<(Kind, Vec<u8>)> {
        self.expected.iter().map(|message| self.as_echo(message)).collect()
    }

    fn judge_accepted(&mut self, pong: bool) {
        if let Some(ping) = &self.last_ping
            && self.seen.pongs.contains(ping)
        {
            self.last_ping = None;
            let marker = self.marker.clone();
            let bytes = self.frame(0x89, &marker);
            self.send(bytes);
            return;
        }
        let echoes = self.peer.echoes();
        let echoed = self.echoed();
        let marker = echoed.iter().position(|message| message.1 == self.marker);
        if echoes && let Some(place) = marker {
            let wanted = self.wanted();
            let got = &echoed[..place];
            if got != wanted {
                let why = difference(got, &wanted);
                // A limit is a choice, and another message than the one that was sent is none.
                let rule = self.case.rule.id.as_str();
                let is_whole = matches!(rule, "deliver" | "fragments" | "frames.legal");
                match wanted.starts_with(got) {
                    true => self.not_taken(&why),
                    false if is_whole => self.wrong(&why),
                    false => self.bad(&why),
                }
                return;
            }
        }
        if pong && self.last_ping.is_none() && (!echoes || marker.is_some()) {
            if self.case.rule.id == "mask.fresh" && self.keys_repeat() {
                self.bad("the same masking key in two frames");
                return;
            }
            self.conclude(Outcome::Good);
        }
    }

    fn keys_repeat(&self) -> bool {
        let keys: Vec<_> = self.reader.frames().iter().map(|header| header.key).collect();
        (1..keys.len()).any(|place| keys[..place].contains(&keys[place]))
    }

    /// The message as the peer echoes it: some send a text back as binary.
    fn as_echo(&self, (kind, data): &(Kind, Vec<u8>)) -> (Kind, Vec<u8>) {
        let echo = match kind {
            Kind::Text => self.peer.echo_text,
            Kind::Binary => self.peer.echo_binary,
        };
        (echo.unwrap_or(*kind), data.clone())
    }

    fn read(&mut self, bytes: &[u8]) {
        for event in self.reader.read(bytes) {
            let (data, section) = match &event {
                Event::Message(_, data) => (&data[..], "RFC 6455 6.2"),
                Event::Pong(data) => (&data[..], "RFC 6455 5.5.3"),
                Event::Close(_, reason) => (reason.as_bytes(), "RFC 6455 5.5.1"),
                Event::Ping(_) | Event::Violation(_) => (&[][..], ""),
            };
            if let Some(stranger) = self.of_another(data) {
                self.is_of_another = true;
                let why = format!("what another connection has sent comes back: {stranger:?}");
                self.conclude(Outcome::Wrong { why, section: section.to_owned() });
                return;
            }
            match event {
                Event::Message(kind, data) => self.message(kind, data),
                Event::Pong(payload) => {
                    if self.behind.contains(&Event::Ping(payload.clone())) {
                        self.bad("a Ping behind the violation is answered");
                        return;
                    }
                    self.seen.pongs.push(payload);
                    self.takes_room(EVENT);
                }
                Event::Ping(payload) => {
                    self.asked = Some(payload);
                    self.takes_room(EVENT);
                }
                Event::Close(code, _) => {
                    self.seen.close = Some(code);
                    self.behind_close();
                    self.closed(code);
                }
                Event::Violation(violation) => self.violation(violation),
            }
            if self.phase == Phase::Done {
                return;
            }
        }
        if self.seen.close.is_some() {
            self.behind_close();
        }
    }

    /// A marker of another connection, or what the probe has sent, if `data` holds any.
    fn of_another(&self, data: &[u8]) -> Option<String> {
        let is_start = |place: &usize| data[*place..].starts_with(OURS);
        let places = (0..data.len()).filter(|place| data[*place] == OURS[0]);
        places.filter(is_start).find_map(|place| {
            let rest = &data[place..];
            let marker = marker_at(rest).filter(|marker| *marker != &self.marker[..])?;
            let sent = self.pings.iter().chain(self.expected.iter().map(|message| &message.1));
            let sent = sent.map(Vec::as_slice).chain([self.reason.as_bytes()]);
            let is_ours = sent.into_iter().any(|sent| holds(sent, marker));
            let is_told = self.plan.expect == Expect::Learn || is_ours;
            (!is_told).then(|| String::from_utf8_lossy(marker).into_owned())
        })
    }

    /// After its Close an endpoint sends no data.
    fn behind_close(&mut self) {
        let mut rest = self.reader.behind();
        while let Some((header, start)) = Header::read(rest) {
            if !header.is_control() {
                let what = "a data frame behind its own Close".to_owned();
                self.violation(Violation { section: "RFC 6455 5.5.1", what, code: 1002 });
                return;
            }
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            rest = rest.get(start.saturating_add(length)..).unwrap_or_default();
        }
        if self.phase == Phase::TcpEnd && self.reader.behind().len() > ENOUGH_BEHIND {
            self.conclude(Outcome::Good);
        }
    }

    fn message(&mut self, kind: Kind, data: Vec<u8>) {
        let size = data.len() + EVENT;
        self.seen.messages.push((kind, data));
        let place = self.seen.messages.len().saturating_sub(self.peer.greeting);
        let refuses = matches!(self.plan.expect, Expect::Fail(_) | Expect::Lost | Expect::Swallow);
        // Of a peer that speaks by itself nobody knows what its message comes of.
        let tells = self.peer.echoes() && !self.peer.speaks;
        if refuses
            && tells
            && place > self.expected.len()
            && let Some(message) = self.seen.messages.last()
        {
            self.remarks.push(format!("the message: {}", shown(message)));
            self.bad("a message comes of it");
        }
        self.takes_room(size);
    }

    /// The peer sends what no peer may send.
    fn violation(&mut self, violation: Violation) {
        let Violation { section, what, code } = &violation;
        if *code == 1009 {
            let what = format!("{what} of {} bytes in place of an answer", self.reader.limit());
            self.no_answer(false, what);
            return;
        }
        let why = format!("what the {} itself sends breaks {section}: {what}", self.role);
        match self.plan.expect {
            // Before a handshake that has to fail, bytes need not be frames.
            Expect::Refuse(_) => {}
            Expect::Learn => self.conclude(Outcome::Note(why)),
            // Nothing that was sent to it is wrong, so it repeats nothing.
            Expect::Accept => {
                self.conclude(Outcome::Wrong { why, section: violation.section.to_owned() });
            }
            _ => self.conclude(Outcome::Bad { why, section: violation.section.to_owned() }),
        }
    }

    /// A client fails the connection if it does not support what the answer stands for (RFC 7692 7).
    fn is_not_taken(&mut self) -> bool {
        let is_refused = self.is_doubtful && !self.seen.pongs.iter().any(|pong| pong == TAKEN);
        if is_refused {
            let cause = "the client does not support these parameters (RFC 7692 7)".to_owned();
            self.conclude(Outcome::Skip(cause));
        }
        is_refused
    }

    /// A Close has come.
    fn closed(&mut self, code: Option<u16>) {
        if self.is_not_taken() {
            return;
        }
        let named = code.map_or("without a code".to_owned(), |code| code.to_string());
        match self.plan.expect.clone() {
            Expect::Fail(codes) => self.failed(&codes, code),
            Expect::Either if self.has_ended_inside() => self.waits_for_the_rest(),
            Expect::Either => {
                self.conclude(Outcome::Note(format!("the peer answers with Close {named}")));
            }
            Expect::Accept if self.expects_close.is_some() && self.steps_are_done() => {
                self.close_answered(code);
            }
            Expect::Accept => {
                self.has_left = code.is_some_and(|code| LEAVES.contains(&code));
                self.not_taken(&format!("the peer ends the connection: Close {named}"));
            }
            Expect::Lost
            | Expect::Swallow
            | Expect::NoClose(_)
            | Expect::Refuse(_)
            | Expect::Learn => {
                self.conclude(Outcome::Good);
            }
        }
    }

    fn steps_are_done(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Send(bytes) if !bytes.is_empty()))
    }

    fn failed(&mut self, codes: &[u16], code: Option<u16>) {
        if self.phase == Phase::SecondChance {
            // A peer that answers our Close, as it does in the probe, has not failed the connection.
            let answer = self.peer.closes_with.filter(|code| !codes.contains(code));
            if code == Some(BEHIND) || code == answer {
                self.bad("the violation passes: the Ping behind it is answered");
                return;
            }
        }
        if matches!(self.phase, Phase::Late | Phase::SecondChance) {
            self.remarks.push("the connection fails later than the Ping behind it".to_owned());
        }
        let is_answer = |event: &Event| matches!(event, Event::Close(ours, _) if *ours == code);
        if self.behind.iter().any(is_answer) {
            self.bad("a Close behind the violation is answered");
            return;
        }
        if code.is_none_or(|code| !codes.contains(&code)) {
            let code = code.map_or("no code".to_owned(), |code| code.to_string());
            self.remarks.push(format!("the Close has {code}; {codes:?} fits better"));
        }
        if self.behind.is_empty() {
            self.conclude(Outcome::Good);
        } else {
            // What stands behind the violation may still come back.
            if self.phase != Phase::SecondChance {
                let close = self.frame(0x88, &BEHIND.to_be_bytes());
                self.send(close);
            }
            self.reads_on();
        }
    }

    fn close_answered(&mut self, code: Option<u16>) {
        let wanted = self.wanted();
        let got = self.echoed();
        if self.peer.echoes() && *got != wanted {
            if !wanted.starts_with(&got) {
                let why = difference(&got, &wanted);
                self.bad(&why);
                return;
            }
            self.remarks.push("messages before the Close do not come back".to_owned());
        }
        if let Some(ours) = self.expects_close
            && ours != code
        {
            let remark = format!("our Close with {ours:?} is answered with {code:?}");
            if self.case.rule.id == "close.echo" {
                self.bad(&remark);
                return;
            }
            self.remarks.push(remark);
        }
        self.reads_on();
    }

    /// Both Closes are out. A client waits for the server to end TCP (RFC 6455 7.1.1).
    fn reads_on(&mut self) {
        self.phase = Phase::TcpEnd;
        if self.role == Role::Client {
            self.actions.push_back(Action::Shutdown);
        }
    }

    /// The stream has ended, or nothing came in time.
    fn silence(&mut self, ended: bool) {
        let end = match self.seen.end {
            Some(End::Reset) => "a reset",
            _ => "the end of the stream",
        };
        let open = self.phase != Phase::Head;
        let what = match (ended, open) {
            // The record of an alert, of any version since SSL 3.0.
            (_, false) if self.head.starts_with(&[0x15, 3]) => {
                "an alert of TLS in place of an answer: try wss".to_owned()
            }
            (true, _) => format!("{end} in place of an answer"),
            (false, true) => match self.stray_pong() {
                Some(pong) => format!("the Pong {pong:?}, and no other answer"),
                None => "no answer, and the connection stays open".to_owned(),
            },
            (false, false) => "no answer to the opening handshake".to_owned(),
        };
        self.no_answer(ended, what);
    }

    fn no_answer(&mut self, ended: bool, what: String) {
        if self.phase == Phase::Done || self.is_not_taken() {
            return;
        }
        let open = self.phase != Phase::Head;
        match (self.plan.expect.clone(), ended) {
            (Expect::Accept, false) if self.phase == Phase::TcpEnd && self.judges_tcp() => {
                self.bad("both Closes have passed, and the stream stays open");
            }
            _ if self.phase == Phase::TcpEnd => self.conclude(Outcome::Good),
            (Expect::Fail(_), true) if open => {
                if self.phase == Phase::SecondChance {
                    self.bad("the violation passes: the Ping behind it is answered");
                } else {
                    self.remarks.push("no Close before the end of the stream".to_owned());
                    self.conclude(Outcome::Good);
                }
            }
            (Expect::Fail(_), false) if self.phase == Phase::SecondChance => {
                self.bad("the violation passes: the Ping behind it is answered");
            }
            (Expect::Swallow | Expect::NoClose(_), _) if open => self.conclude(Outcome::Good),
            (Expect::Refuse(_) | Expect::Lost, _) => {
                if !ended {
                    self.remarks.push(what);
                }
                self.conclude(Outcome::Good);
            }
            (Expect::Learn, _) => self.conclude(Outcome::Note(what)),
            (Expect::Either, _) if self.has_ended_inside() => self.waits_for_the_rest(),
            (Expect::Either, _) => self.conclude(Outcome::Note(what)),
            _ if !open => self.not_opened(&what),
            _ => self.not_taken(&what),
        }
    }

    fn stray_pong(&self) -> Option<String> {
        let is_stray = |pong: &&Vec<u8>| !self.pings.contains(pong) && **pong != self.marker;
        self.seen.pongs.iter().find(is_stray).map(|pong| plan::shortened(pong))
    }

    fn judges_tcp(&self) -> bool {
        self.plan.judge_tcp && self.role == Role::Server
    }

    fn has_ended_inside(&self) -> bool {
        self.phase == Phase::Inside && self.actions.is_empty()
    }

    fn waits_for_the_rest(&mut self) {
        self.conclude(Outcome::Note("the peer waits for the rest".to_owned()));
    }

    /// What is legal is not taken. A size above what came back in the probe is a limit.
    fn not_taken(&mut self, why: &str) {
        let needed = self.case.needs.iter().map(|need| need.size());
        let sent = self.expected.iter().map(|message| message.1.len() as u64);
        // The probe begins with 1 KiB.
        let size = needed.chain(sent.filter(|&size| size > 1 << 10)).max().unwrap_or(0);
        let largest = self.peer.largest;
        if size > largest {
            let cause = format!("the longest message that came back has {largest} bytes");
            self.conclude(Outcome::Skip(cause));
        } else if self.case.rule.id == "http.chunks" {
            let what = match self.peer.echoes() {
                true => "the text behind the body does not come back",
                false => "the Ping behind the body is not answered",
            };
            self.bad(&format!("{what}: {why}"));
        } else {
            self.bad(why);
        }
    }

    fn bad(&mut self, why: &str) {
        let section = self.case.rule.section.clone();
        self.conclude(Outcome::Bad { why: why.to_owned(), section });
    }

    fn wrong(&mut self, why: &str) {
        let section = self.case.rule.section.clone();
        self.conclude(Outcome::Wrong { why: why.to_owned(), section });
    }

    fn conclude(&mut self, outcome: Outcome) {
        if self.phase == Phase::Done {
            return;
        }
        self.verdict = match outcome {
            Outcome::Good => Verdict::Pass,
            Outcome::Note(why) => Verdict::Note { why },
            Outcome::Skip(cause) => Verdict::Skip { cause },
            Outcome::Untested(why) => Verdict::Untested { why },
            Outcome::Bad { why, section } if self.can_fail() => {
                Verdict::Fail { why, section, evidence: self.evidence() }
            }
            Outcome::Wrong { why, section } => {
                Verdict::Fail { why, section, evidence: self.evidence() }
            }
            Outcome::Bad { why, section } => Verdict::Note { why: format!("{why} ({section})") },
        };
        self.actions.clear();
        // A peer that is still there is left in good order.
        let is_there = self.seen.opened && self.seen.close.is_none() && self.seen.end.is_none();
        if is_there && self.phase == Phase::Marker {
            let close = self.frame(0x88, &1000u16.to_be_bytes());
            self.send(close);
        }
        self.phase = Phase::Done;
    }

    fn can_fail(&self) -> bool {
        match self.level() {
            Level::R => true,
            Level::S => self.is_strict,
            Level::C => false,
        }
    }

    /// The heads and frames that went both ways, a line each, as far as the first 4 KiB tell them.
    pub fn in_words(&self) -> String {
        let [sent, received] = [&self.sent, &self.received].map(Record::in_words);
        let second = self.second.as_ref().map(|second| second.in_words());
        let second = second.map(|words| format!("the second connection\n{words}"));
        format!("sent\n{sent}received\n{received}{}", second.unwrap_or_default())
    }

    /// What a failure has for evidence: the same, and the bytes behind the heads.
    pub fn evidence(&self) -> String {
        let [sent, received] = [&self.sent, &self.received].map(|record| {
            let (_, frames) = plan::heads(&record.bytes);
            plan::shortened(frames)
        });
        format!("{}bytes of frames\n  sent {sent}\n  received {received}", self.in_words())
    }

    fn bad_head(&mut self, violation: Violation) {
        match self.plan.expect {
            Expect::Refuse(_) if self.role == Role::Server => self.conclude(Outcome::Good),
            Expect::Learn => self.conclude(Outcome::Note(violation.what)),
            // A case about something else has nothing to say.
            _ if !matches!(self.case.group(), Group::Handshake | Group::Http) => {
                self.conclude(Outcome::Untested(format!("no connection: {}", violation.what)));
            }
            _ => self.conclude(Outcome::Bad {
                why: violation.what,
                section: violation.section.to_owned(),
            }),
        }
    }

    fn opening(&mut self, head: Head, rest: &[u8]) {
        self.seen.head = Some(head.clone());
        match self.role {
            Role::Server => self.response(head, rest),
            Role::Client => self.request(head, rest),
        }
    }

    /// A tested server's response.
    fn response(&mut self, head: Head, rest: &[u8]) {
        let Some((_, status)) = head.status() else {
            self.bad_head(Violation {
                section: "RFC 9112 4",
                what: format!("no status line: {:?}", head.start),
                code: 0,
            });
            return;
        };
        if (100..200).contains(&status) && status != 101 {
            return;
        }
        // With Upgrade: h2c a server may go on in HTTP/2.
        let elsewhere =
            !head.lists("Upgrade", "websocket") && matches!(self.plan.expect, Expect::Refuse(_));
        if status != 101 || elsewhere {
            self.refused(&head, status);
            return;
        }
        self.seen.opened = true;
        let request = plan::with_fields(&self.plan.head, &self.fields);
        let mut violations = server_violations(&head, &request);
        if self.case.rule.id == "http.101" {
            violations.extend(http_violations(&head));
        }
        if let Expect::Refuse(_) = self.plan.expect {
            self.bad("the server upgrades");
            return;
        }
        if !self.takes(violations) {
            return;
        }
        if let Some(name) = other_extension(&head) {
            // What its frames mean is not known here.
            match self.case.rule.id.as_str() {
                "hs.extensions.answer" => self.bad(&format!("the server agrees on {name}")),
                _ => self.conclude(Outcome::Note(format!("the server agrees on {name}"))),
            }
            return;
        }
        self.seen.subprotocols = head.list("Sec-WebSocket-Protocol").map(str::to_owned).collect();
        self.seen.agreed = agreed(&head);
        if let Some(wanted) = self.plan.deflate {
            let cause = match self.seen.agreed {
                None => "the server does not agree on these parameters",
                Some(agreed) if !self.fits(&wanted, &agreed) => {
                    "it needs a history or a window that the server's answer rules out"
                }
                Some(_) => "",
            };
            if !cause.is_empty() {
                self.conclude(Outcome::Skip(cause.to_owned()));
                return;
            }
        }
        self.open(rest);
    }

    fn refused(&mut self, head: &Head, status: u16) {
        match self.plan.expect.clone() {
            Expect::Refuse(statuses) => {
                if !statuses.contains(&status) {
                    self.remarks.push(format!("status {status}; {statuses:?} fits better"));
                }
                if let Some((name, element)) = self.plan.refusal_has
                    && !head.lists(name, element)
                {
                    self.bad(&format!("status {status} without {name}: {element}"));
                    return;
                }
                self.conclude(Outcome::Good);
            }
            Expect::Learn | Expect::Either => {
                self.conclude(Outcome::Note(format!("the server refuses with status {status}")));
            }
            _ => self.not_opened(&format!("the server refuses with status {status}")),
        }
    }

    /// The opening handshake fails where it should succeed. It was well in the probe, so a case
    /// about something else has nothing to say.
    fn not_opened(&mut self, why: &str) {
        match self.case.group() {
            _ if self.may_be_refused() => self.conclude(Outcome::Note(why.to_owned())),
            Group::Handshake | Group::Http => self.bad(why),
            _ if self.offers_more() => {
                let head = Head::read(&self.plan.head).ok().flatten();
                let offer = head
                    .and_then(|(head, _)| head.one("Sec-WebSocket-Extensions").map(str::to_owned));
                let why = format!("{why}: it is offered {:?}", offer.unwrap_or_default());
                self.conclude(Outcome::Note(why));
            }
            _ => self.conclude(Outcome::Untested(format!("no connection: {why}"))),
        }
    }

    /// Whether it offers a server other parameters of permessage-deflate than the probe has.
    fn offers_more(&self) -> bool {
        let plain = match self.peer.wants_any_window {
            true => Parameters::WITH_ANY_WINDOW,
            false => Parameters::default(),
        };
        self.role == Role::Server && self.plan.deflate.is_some_and(|offer| offer != plain)
    }

    /// The sentence is about the answer, or the body, and a server may refuse for reasons of its own.
    /// The end of the stream is a refusal too, and so is silence.
    fn may_be_refused(&self) -> bool {
        let rule = self.case.rule.id.as_str();
        rule.ends_with(".answer")
            || matches!(rule, "hs.open" | "pmd.decline" | "http.chunks")
            || self.plan.names_origin_or_subprotocol()
    }

    /// A tested client's request.
    fn request(&mut self, head: Head, rest: &[u8]) {
        let mut violations = client_violations(&head);
        if !rest.is_empty() {
            violations.push(Violation {
                section: "RFC 6455 4.1",
                what: "bytes behind the request, before the response".to_owned(),
                code: 0,
            });
        }
        let key = head.one("Sec-WebSocket-Key").unwrap_or_default().to_owned();
        if self.case.id != "PROBE-1" && self.peer.key.as_ref() == Some(&key) {
            violations.push(Violation {
                section: "RFC 6455 4.1",
                what: "the same Sec-WebSocket-Key as in another connection".to_owned(),
                code: 0,
            });
        }
        if !self.takes(violations) {
            return;
        }
        if self.case.rule.id == "hc.host" {
            let host = head.one("Host").unwrap_or_default();
            let port = host.rsplit_once(':').map_or("", |(_, port)| port);
            if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
                self.conclude(Outcome::Note(format!("Host is {host:?}, without a port")));
                return;
            }
        }
        self.seen.key = Some(key.clone());
        self.seen.subprotocols = head.list("Sec-WebSocket-Protocol").map(str::to_owned).collect();
        self.seen.offer = offers(&head).into_iter().find_map(|o| Parameters::read(&o, false).ok());
        if let Some(wanted) = self.plan.deflate {
            let offers = offers(&head);
            let offers = offers.iter().filter_map(|offer| Parameters::read(offer, false).ok());
            let mut answers = offers.map(|offer| (offer, offer.answer(&wanted)));
            let fits = |(offer, answer): &(Parameters, Parameters)| {
                offer.permits(answer).is_ok() && self.fits(&wanted, answer)
            };
            let Some((offer, answer)) = answers.find(fits) else {
                let cause = "it needs what no offer of the client allows".to_owned();
                self.conclude(Outcome::Skip(cause));
                return;
            };
            self.plan.head = plan::with_answer(&self.plan.head, &wanted, &answer);
            if offer.asks_less_than(&answer) {
                let ping = self.frame(0x89, TAKEN);
                self.steps.push_front(Step::AwaitPong(TAKEN.to_vec()));
                self.steps.push_front(Step::Send(ping));
                self.is_doubtful = true;
            }
        }
        let response = Head::read(&self.plan.head).ok().flatten();
        self.seen.agreed = response.and_then(|(head, _)| agreed(&head));
        self.seen.opened = true;
        let head = plan::with_accept(&self.plan.head, &key);
        self.send_head(&head);
        self.open(&[]);
    }

    /// Whether the steps, which were written for `wanted`, mean the same if `agreed` is agreed.
    fn fits(&self, wanted: &Parameters, agreed: &Parameters) -> bool {
        let sender = self.role.other();
        let [wanted, agreed] = [wanted, agreed].map(|parameters| parameters.inflater(sender));
        let events = |inflater| {
            let mut reader = Reader::new(sender).with_deflate(inflater);
            let sends = self.steps.iter().filter_map(|step| match step {
                Step::Send(bytes) => Some(bytes),
                _ => None,
            });
            sends.flat_map(|bytes| reader.read(bytes)).collect::<Vec<_>>()
        };
        wanted == agreed || events(wanted) == events(agreed)
    }

    /// Whether the session goes on with these violations of the peer's head.
    fn takes(&mut self, violations: Vec<Violation>) -> bool {
        let group = self.case.group();
        for violation in violations {
            // No client can use that, and no MUST has the server as its subject: see D-494.
            if violation.what.ends_with("client_max_window_bits without a value") {
                let Violation { what, section, .. } = violation;
                self.conclude(Outcome::Note(format!("{what} ({section})")));
                return false;
            }
            if matches!(group, Group::Handshake | Group::Http) || violation.section.contains("7692")
            {
                let section = violation.section.to_owned();
                self.conclude(Outcome::Bad { why: violation.what, section });
                return false;
            }
            self.remarks.push(format!("{} ({})", violation.what, violation.section));
        }
        true
    }

    fn open(&mut self, rest: &[u8]) {
        if let Some(agreed) = self.seen.agreed {
            let reader = Reader::new(self.role).with_limit(self.reader.limit());
            self.reader = reader.with_deflate(agreed.inflater(self.role));
        }
        self.phase = Phase::Steps;
        self.read(rest);
    }
}

fn holds(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}

fn shown((kind, data): &(Kind, Vec<u8>)) -> String {
    format!("{kind:?} {}", plan::shortened(data))
}

fn difference(got: &[(Kind, Vec<u8>)], wanted: &[(Kind, Vec<u8>)]) -> String {
    let place = got.iter().zip(wanted).take_while(|(got, wanted)| got == wanted).count();
    match (got.get(place), wanted.get(place)) {
        (None, Some(wanted)) => format!("message {place} does not come back: {}", shown(wanted)),
        (Some(got), None) => format!("a message too many comes back: {}", shown(got)),
        (Some(got), Some(wanted)) => {
            format!("message {place} comes back as {}, not {}", shown(got), shown(wanted))
        }
        (None, None) => "the messages differ".to_owned(),
    }
}

/// The parameters of permessage-deflate in a response.
fn agreed(response: &Head) -> Option<Parameters> {
    let list = http::extensions(response.one("Sec-WebSocket-Extensions")?).ok()?;
    let answer = list.iter().find(|one| one.name.eq_ignore_ascii_case(deflate::NAME))?;
    Parameters::read(answer, true).ok()
}

/// An extension in a response that is none of ours.
fn other_extension(response: &Head) -> Option<String> {
    let lists = response.all("Sec-WebSocket-Extensions");
    let mut all = lists.filter_map(|line| http::extensions(line).ok()).flatten();
    all.find(|one| one.name != deflate::NAME).map(|one| one.name)
}

fn offers(head: &Head) -> Vec<Extension> {
    let lines = head.all("Sec-WebSocket-Extensions");
    let all = lines.filter_map(|line| http::extensions(line).ok()).flatten();
    all.filter(|one| one.name.eq_ignore_ascii_case(deflate::NAME)).collect()
}

/// What is wrong with a 101 to our request.
fn server_violations(head: &Head, request: &[u8]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |section, what: &str| {
        found.push(Violation { section, what: what.to_owned(), code: 0 });
    };
    if head.status().is_none_or(|(version, _)| version != "HTTP/1.1") {
        wrong("RFC 6455 4.2.2", "a 101 of another version than HTTP/1.1");
    }
    if !head.lists("Upgrade", "websocket") {
        wrong("RFC 6455 4.2.2", "a 101 without Upgrade: websocket");
    }
    if !head.lists("Connection", "upgrade") {
        wrong("RFC 6455 4.2.2", "a 101 without Connection: Upgrade");
    }
    let Ok(Some((request, _))) = Head::read(request) else { return found };
    let key = request.one("Sec-WebSocket-Key").unwrap_or_default();
    if head.one("Sec-WebSocket-Accept") != Some(accept::accept(key).as_str()) {
        wrong("RFC 6455 4.2.2", "a 101 whose Sec-WebSocket-Accept is not that of the key");
    }
    let protocols: Vec<&str> = head.all("Sec-WebSocket-Protocol").collect();
    if protocols.len() > 1 {
        wrong("RFC 6455 11.3.4", "two lines of Sec-WebSocket-Protocol");
    }
    if let Some(protocol) = protocols.first()
        && !request.list("Sec-WebSocket-Protocol").any(|offered| offered == *protocol)
    {
        wrong("RFC 6455 4.2.2", "a subprotocol that was not offered");
    }
    let lists = request.all("Sec-WebSocket-Extensions");
    let lists = lists.filter_map(|line| http::extensions(line).ok()).flatten();
    let known: Vec<String> = lists.map(|extension| extension.name).collect();
    let mut names = Vec::new();
    for line in head.all("Sec-WebSocket-Extensions") {
        let Ok(list) = http::extensions(line) else {
            wrong("RFC 6455 9.1", "malformed Sec-WebSocket-Extensions");
            continue;
        };
        for extension in list {
            if names.contains(&extension.name) {
                wrong("RFC 7692 5.1", "the same extension twice");
            }
            if extension.name == deflate::NAME {
                let answer = Parameters::read(&extension, true);
                let fits = |offer: &Extension| {
                    let mut offer = Parameters::read(offer, false)?;
                    // A window for us above the one that we offered is against nothing but a
                    // "may" (RFC 7692 7.1.2.2).
                    offer.client_max_window_bits = offer.client_max_window_bits.map(|_| None);
                    offer.permits(answer.as_ref().map_err(Violation::clone)?)
                };
                let offered = offers(&request);
                if !offered.iter().any(|offer| fits(offer).is_ok()) {
                    let misfit = offered.iter().find_map(|offer| fits(offer).err());
                    let (section, why) = match misfit {
                        Some(misfit) => (misfit.section, misfit.what),
                        None => ("RFC 7692 7.1", "it is not offered".to_owned()),
                    };
                    let offered: Vec<&str> = request.all("Sec-WebSocket-Extensions").collect();
                    let offered = offered.join(", ");
                    wrong(section, &format!("{offered:?} is answered with {line:?}: {why}"));
                }
            } else if !known.contains(&extension.name) {
                wrong("RFC 6455 9.1", &format!("an extension that was not offered: {line:?}"));
            }
            names.push(extension.name);
        }
    }
    found
}

/// What HTTP has against a 101, whatever protocol it switches to.
fn http_violations(head: &Head) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |section, what: String| found.push(Violation { section, what, code: 0 });
    if head.start.split(' ').count() == 2 {
        wrong("RFC 9112 4", format!("no blank behind the status: {:?}", head.start));
    }
    for (name, section) in
        [("Content-Length", "RFC 9110 8.6"), ("Transfer-Encoding", "RFC 9112 6.1")]
    {
        if head.all(name).next().is_some() {
            wrong(section, format!("a 101 with {name}"));
        }
    }
    let is_empty = |line| http::extensions(line).is_ok_and(|list| list.is_empty());
    if head.all("Sec-WebSocket-Extensions").any(is_empty) {
        wrong("RFC 6455 9.1", "a list of no extension".to_owned());
    }
    found
}

/// What is wrong with a client's request.
fn client_violations(head: &Head) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |what: &str| {
        found.push(Violation { section: "RFC 6455 4.1", what: what.to_owned(), code: 0 });
    };
    match head.request() {
        Some((method, target, version)) => {
            if method != "GET" {
                wrong("a request that is no GET");
            }
            if !target.starts_with('/') && !target.contains("://") || target.contains('#') {
                wrong("a request target that is neither a resource name nor an absolute URI");
            }
            let minor = version.strip_prefix("HTTP/1.").and_then(|minor| minor.parse::<u8>().ok());
            if minor.is_none_or(|minor| minor < 1) {
                wrong("a request of a version below HTTP/1.1");
            }
        }
        None => wrong("a malformed request line"),
    }
    if head.one("Host").is_none_or(str::is_empty) {
        wrong("not one Host");
    }
    if !head.lists("Upgrade", "websocket") {
        wrong("no Upgrade: websocket");
    }
    if !head.lists("Connection", "upgrade") {
        wrong("no Connection: Upgrade");
    }
    let key = head.one("Sec-WebSocket-Key").unwrap_or_default();
    if accept::base64_len(key) != Some(16) {
        wrong("not one Sec-WebSocket-Key of 16 bytes in base64");
    }
    if head.one("Sec-WebSocket-Version") != Some("13") {
        wrong("not one Sec-WebSocket-Version: 13");
    }
    let protocols: Vec<&str> = head.list("Sec-WebSocket-Protocol").collect();
    let repeats = |(place, name): (usize, &&str)| protocols[..place].contains(name);
    if protocols.iter().enumerate().any(repeats) {
        wrong("a subprotocol twice");
    }
    if protocols.iter().any(|name| !http::is_token(name)) {
        wrong("a subprotocol that is no token");
    }
    if head.all("Sec-WebSocket-Extensions").any(|line| http::extensions(line).is_err()) {
        wrong("malformed Sec-WebSocket-Extensions");
    }
    found
}
