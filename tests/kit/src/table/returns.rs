//! What the application's calls return: one function of an answer of the table, for each call of a
//! whole adapter. `carriers.txt` has what is otherwise elsewhere.
use super::{ENDED, Got, SoFar, breaks, carriers::Rows, is_refusal};
use wsconform_cases::protocol::{Answer, Delivered, Event, State};

/// How an application receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receives {
    /// Messages alone: `recv`, `poll_recv`, `recv_owned`, and the `Stream` of messages.
    Recv,
    Poll,
    /// `recv_or_room`, each second time instead of `poll_recv`.
    Room,
    Owned,
    Stream,
    /// Messages, unless nothing can be answered any more.
    ToReply,
    /// What a half has in its place.
    WithInfo,
    /// Chunks alone.
    Chunk,
    /// All: `recv_event`, the `Stream` of `Events`, and what the core gives by `next`.
    Event,
    Events,
    /// The core's `step`.
    Step,
}

/// How an application has a message that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Borrowed,
    Owned,
    Prepared,
}

/// How it sends: a message, a control frame and a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// All by the calls of the `Sender`.
    Sender(Form),
    /// By `send` and `close` of the adapter.
    Send(Form),
    /// By those of the loop's `Net`. What its `close` leaves out of a frame that cannot be sent has a
    /// test of its own.
    Net(Form),
    /// By `feed` and `flush`, behind `ready` or not.
    Feed,
    Ready,
    /// By the `Sink` of messages, or of `Events`.
    Sink,
    Events,
}

/// How an application uses an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub receives: Receives,
    pub sends: Sends,
    /// It goes on with a `close` or `leave` that waits, and does not receive meanwhile.
    pub waits: bool,
}

pub const fn by(receives: Receives, sends: Sends) -> Profile {
    Profile { receives, sends, waits: false }
}

/// The profiles of halves: only a whole connection has a sender to reply with.
pub fn in_halves(mut uses: [Profile; PROFILES]) -> [Profile; PROFILES] {
    for profile in &mut uses {
        if profile.receives == Receives::ToReply {
            profile.receives = Receives::WithInfo;
        }
    }
    uses
}

pub const fn waiting(receives: Receives, sends: Sends) -> Profile {
    Profile { receives, sends, waits: true }
}

/// What a receiving call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Got(Got),
    Chunk {
        text: bool,
        first: bool,
        data: Vec<u8>,
        last: bool,
    },
    /// `None`, or the error; for a second time too.
    Over(Result<(), &'static str>),
    /// What a `close` or `leave` that waited has returned.
    Returned(Result<(), &'static str>),
}

/// So many profiles each end has.
pub const PROFILES: usize = 8;

/// So many kinds of streams there are. Word n of a profile has the kind n / `PROFILES`, in turn.
pub const STREAMS: usize = 6;

/// A client of the facade waits for the server's FIN until it has heard so much behind the Close.
const BEHIND_CLOSE: usize = 64 << 10;

/// An answer to an event, to an application that uses an end in some way.
pub(crate) struct Said<'a> {
    pub(crate) profile: Profile,
    pub(crate) event: &'a Event,
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) answer: &'a Answer,
    /// A frame of the same read has ended the connection.
    pub(crate) over_in_this_read: bool,
    pub(crate) rows: Rows<'a>,
}

impl Said<'_> {
    fn is_control(&self) -> bool {
        ["send Ping", "send Pong", "control too long", "write fails"].contains(&self.event.kind)
    }

    fn is_close(&self) -> bool {
        let closes = ["close", "close 1010", "close too long"].contains(&self.event.kind);
        let by_net = matches!(self.profile.sends, Sends::Net(_));
        closes && self.event.name != "abort" && !(by_net && self.event.kind != "close")
    }

    /// By a call of the adapter, which writes too, and not of the `Sender`.
    fn by_adapter(&self) -> bool {
        let sink = self.profile.sends == Sends::Events;
        let has = self.event.kind == "send" || self.is_close() || (self.is_control() && sink);
        has && !matches!(self.profile.sends, Sends::Sender(_))
    }

    /// By `close`, to which a Close sent before is no error.
    fn closes(&self) -> bool {
        self.by_adapter() && self.is_close() && self.profile.sends != Sends::Events
    }

    /// The bit of the row that says this.
    pub(crate) fn bit(&self, what: &str, so_far: &SoFar) -> Option<u32> {
        self.rows.bit(what, |condition| self.holds(condition, so_far))
    }

    /// Whether a condition of a row holds.
    fn holds(&self, condition: &str, so_far: &SoFar) -> bool {
        match condition {
            // `feed` does not write, and so knows nothing of the stream.
            "writes" if self.event.kind == "send" && self.profile.sends == Sends::Feed => false,
            "writes" => self.by_adapter(),
            "by the adapter" => self.by_adapter(),
            "closes" => self.closes(),
            "failed" => so_far.error.is_some(),
            "reset" => so_far.reset,
            "no reset" => !so_far.reset,
            "no Close" => so_far.our_close.is_none(),
            "refused" => so_far.refused.is_some() || self.from.sending == "broken",
            "client" => so_far.is_client,
            "server" => !so_far.is_client,
            "64 KiB behind" => so_far.behind > BEHIND_CLOSE,
            "then ended" => self.to.receiving == "ended",
            "over in this read" => self.over_in_this_read,
            _ => panic!("no condition: {condition}"),
        }
    }

    /// What a row says instead of the usual.
    pub(crate) fn instead<T: PartialEq>(
        &self,
        what: &str,
        so_far: &SoFar,
        usual: T,
        value: impl FnOnce(&'static str) -> T,
    ) -> T {
        self.rows.instead(what, |condition| self.holds(condition, so_far), usual, value)
    }

    /// Whether the answer may be another one. What ends the connection in the same read has come
    /// before anything could be done.
    pub(crate) fn may_differ(&self) -> bool {
        self.answer.level != "must" || self.over_in_this_read
    }
}

/// What this call of the application returns.
pub(crate) fn called(said: &Said<'_>, so_far: &SoFar) -> Result<(), &'static str> {
    let Said { event, from, to, answer, .. } = said;
    let of_sender = !["leave", "fail", "drop sending", "drop receiving"].contains(&event.kind);
    if so_far.unsent && of_sender {
        return Err("closed"); // there is nobody to call
    }
    let refused = event.kind == "write fails" && said.by_adapter() && from.sending != "closed";
    let usual = match answer.error {
        // The error of the connection, which a receiving call returns.
        Some("failed by us") => Ok(()),
        None if refused => Err("refused write"),
        None | Some("closed") if said.closes() => match (to.receiving, said.profile.sends) {
            (_, Sends::Net(_)) => Ok(()), // it returns nothing
            ("over", _) => closed(so_far, so_far.error),
            _ => Ok(()), // it would wait
        },
        Some(error) => Err(error),
        None => Ok(()),
    };
    let returned = said.instead("returns", so_far, usual, |value| match value {
        "Ok" => Ok(()),
        "the reader's error" => so_far.error.map_or(Ok(()), Err),
        error => Err(error),
    });
    assert!(said.may_differ() || returned.is_ok() == usual.is_ok(), "{}: a must", event.name);
    returned
}

/// What a `close` returns once the connection is over, with this error. The peer may end the stream
/// instead of an answer.
fn closed(so_far: &SoFar, error: Option<&'static str>) -> Result<(), &'static str> {
    match error {
        Some("end of stream") if so_far.our_close.is_some() => Ok(()),
        error => error.map_or(Ok(()), Err),
    }
}

/// What the receiving calls return for this answer.
pub(crate) fn received(said: &Said<'_>, so_far: &mut SoFar) -> Vec<Value> {
    let Said { profile, event, from, to, answer, .. } = said;
    let mut values = Vec::new();
    // The sink takes nothing behind our Close, where the `Sender` still does.
    let behind = from.sending == "closed" && answer.error.is_none();
    if behind && said.by_adapter() && said.is_control() {
        values.push(Value::Returned(Err("closed")));
    }
    if so_far.unread {
        return values;
    }
    if is_refusal(event) && breaks(*from, *to) {
        so_far.refused = Some("refused write");
    }
    if !event.arrives() {
        let leaves = event.kind == "leave";
        let waits = profile.waits && (leaves || said.closes()) && called(said, so_far).is_ok();
        let waits = said.instead("goes on", so_far, waits, |_| false);
        so_far.waits = waits.then_some(leaves);
        so_far.skips |= waits && so_far.handed.is_some();
    }
    let shows = match profile.receives {
        Receives::Event | Receives::Events | Receives::Step => true,
        Receives::Recv | Receives::Poll | Receives::Room => false,
        Receives::Owned | Receives::Stream => false,
        Receives::ToReply | Receives::WithInfo | Receives::Chunk => false,
    };
    // Whoever asks for whole messages skips the rest of one that was handed out in part.
    so_far.skips |= profile.receives != Receives::Chunk && so_far.handed.is_some();
    let deaf = ENDED.contains(&from.receiving);
    let hears = !(profile.receives == Receives::ToReply && from.sending == "closed");
    match &answer.delivers {
        _ if so_far.waits.is_some() => {}
        _ if profile.receives == Receives::Chunk && (answer.error.is_some() || deaf) => {}
        _ if profile.receives == Receives::Chunk => {
            let ends = matches!(answer.delivers, Some(Delivered::Message { .. }));
            values.extend(chunk(so_far, ends));
        }
        Some(Delivered::Message { text }) if !so_far.skips && hears => {
            values.push(Value::Got(Got::Message { text: *text, payload: so_far.content.clone() }))
        }
        Some(Delivered::Ping(payload)) if shows => {
            values.push(Value::Got(Got::Ping(payload.to_vec())));
        }
        Some(Delivered::Pong(payload)) if shows => {
            values.push(Value::Got(Got::Pong(payload.to_vec())));
        }
        Some(Delivered::Close(body)) if shows => values.push(Value::Got(Got::Close(body.to_vec()))),
        _ => {}
    }
    if so_far.told {
        return values;
    }
    let is_over = to.receiving == "over";
    if said.instead("is over", so_far, is_over, |_| true) {
        so_far.told = true;
        let usual = match so_far.error {
            // The error of the stream, which is not repeated.
            Some("end of stream") => match so_far.refused.take() {
                None if event.kind == "reset" => Some("reset"),
                refused => refused.or(so_far.error),
            },
            error => error,
        };
        let mut error = said.instead("ends with", so_far, usual, Some);
        if let Some(leaves) = so_far.waits.filter(|_| event.arrives()) {
            values.push(Value::Returned(if leaves { Ok(()) } else { closed(so_far, error) }));
            error = so_far.error;
        }
        values.push(Value::Over(error.map_or(Ok(()), Err)));
    }
    values
}

/// What is handed out of the message under way.
fn chunk(so_far: &mut SoFar, last: bool) -> Option<Value> {
    let SoFar { content, text, compressed, goes_on, handed, skips, .. } = so_far;
    let data = &content[handed.unwrap_or_default()..];
    // What a call for whole messages has read comes with the next frame.
    let comes = *goes_on && !*compressed && !data.is_empty();
    if *skips || !(comes || last) {
        return None;
    }
    let chunk = Value::Chunk { text: *text, first: handed.is_none(), data: data.into(), last };
    *handed = Some(content.len());
    Some(chunk)
}
