//! What the application's calls return: one function of an answer of the table, for each call.
use super::{ENDED, Got, SoFar};
use wsconform_cases::protocol::{Answer, Delivered, Event, State};

/// How an application receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receives {
    /// Messages alone: `recv`, `poll_recv`, `recv_owned`, and the `Stream` of messages.
    Recv,
    Poll,
    Owned,
    Stream,
    /// Messages, unless nothing can be answered any more.
    ToReply,
    /// Chunks alone.
    Chunk,
    /// All: `recv_event`, the `Stream` of `Events`, and what the core gives by `next`.
    Event,
    Events,
    /// The core's `step`.
    Step,
}

/// How it sends: a message, a control frame and a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    /// All by the calls of the `Sender`, and by `feed` what it borrows.
    Sender,
    /// By `send` and `close` of the adapter.
    Send,
    /// By `feed` and `flush`.
    Feed,
    /// By `ready`, `feed` of what it owns, and `flush`.
    Ready,
    /// By `send` of a `Prepared`.
    Prepared,
    /// By the `Sink` of messages, or of `Events`.
    Sink,
    Events,
}

/// How an application uses an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) receives: Receives,
    pub(crate) sends: Sends,
    /// It goes on with a `close` or `leave` that waits, and does not receive meanwhile.
    pub(crate) waits: bool,
}

pub(crate) const fn by(receives: Receives, sends: Sends) -> Profile {
    Profile { receives, sends, waits: false }
}

pub(crate) const fn waiting(receives: Receives, sends: Sends) -> Profile {
    Profile { receives, sends, waits: true }
}

/// What a receiving call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
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
pub(crate) const PROFILES: usize = 8;

/// What is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driven {
    /// The core, which knows nothing of the stream.
    Core,
    Whole,
    Halves,
    /// The loop for many connections, whose `close` returns nothing.
    Loop,
    /// The facade, whose receiving call returns the end at once, so that the program drops the stream.
    Facade,
    FacadeTask,
}

/// A client of the facade waits for the server's FIN until it has heard so much behind the Close.
pub(crate) const BEHIND_CLOSE: usize = 64 << 10;

/// The application's call, as the function below needs to know it.
struct Said<'a> {
    profile: Profile,
    driven: Driven,
    event: &'a Event,
}

impl Said<'_> {
    fn is_control(&self) -> bool {
        ["send Ping", "send Pong", "control too long", "write fails"].contains(&self.event.kind)
    }

    fn is_close(&self) -> bool {
        let closes = ["close", "close 1010", "close too long"].contains(&self.event.kind);
        // The loop's own `close` takes frames that cannot be sent, and leaves out a part.
        let by_loop = self.driven != Driven::Loop || self.event.kind == "close";
        closes && by_loop && self.event.name != "abort"
    }

    /// By a call of the adapter, which writes too, and not of the `Sender`.
    fn by_adapter(&self) -> bool {
        let sink = self.profile.sends == Sends::Events;
        let data = self.event.kind == "send" || self.is_close() || (self.is_control() && sink);
        self.driven != Driven::Core && self.profile.sends != Sends::Sender && data
    }

    /// It writes first, and so knows of the stream; `feed` does not.
    fn writes(&self) -> bool {
        self.by_adapter() && (self.event.kind != "send" || self.profile.sends != Sends::Feed)
    }

    /// By `close`, to which a Close sent before is no error.
    fn closes(&self) -> bool {
        self.by_adapter() && self.is_close() && self.profile.sends != Sends::Events
    }
}

/// What this call of the application returns.
pub(crate) fn called(
    profile: Profile,
    driven: Driven,
    event: &Event,
    (from, to): (State, State),
    answer: &Answer,
    so_far: &SoFar,
) -> Result<(), &'static str> {
    let said = Said { profile, driven, event };
    let has_writer = !from.sending.starts_with("let go");
    match answer.error {
        // The error of the connection, which a receiving call returns.
        Some("failed by us") => Ok(()),
        None if event.kind == "write fails" && said.by_adapter() && from.sending != "closed" => {
            Err("refused write")
        }
        // A writer that writes returns what ended the connection, and its `close` what ended writing.
        _ if driven == Driven::Halves && said.writes() && has_writer && so_far.error.is_some() => {
            so_far.error.map_or(Ok(()), Err)
        }
        _ if driven == Driven::Halves && said.closes() && from.sending == "broken" => {
            Err("refused write")
        }
        // That of the facade only flushes, but not behind the end, or in a task.
        Some("closed") if said.closes() && driven == Driven::FacadeTask => Err("closed"),
        Some("closed") if said.closes() && driven == Driven::Facade && so_far.told => {
            if so_far.is_client && so_far.error.is_some() { Ok(()) } else { Err("closed") }
        }
        None | Some("closed") if said.closes() && has_writer => match to.receiving {
            "over" if driven != Driven::Loop => closed(so_far, so_far.error),
            _ => Ok(()), // it would wait
        },
        Some(error) if !event.arrives() => Err(error),
        _ => Ok(()),
    }
}

/// What a `close` returns once the connection is over, with this error. The peer may end the stream
/// instead of an answer.
fn closed(so_far: &SoFar, error: Option<&'static str>) -> Result<(), &'static str> {
    match error {
        Some("end of stream") if so_far.our_close.is_some() => Ok(()),
        error => error.map_or(Ok(()), Err),
    }
}

/// What the receiving calls return for this answer, which leads from one state to another.
pub(crate) fn received(
    profile: Profile,
    driven: Driven,
    event: &Event,
    (from, to): (State, State),
    answer: &Answer,
    so_far: &mut SoFar,
) -> Vec<Value> {
    let mut values = Vec::new();
    let said = Said { profile, driven, event };
    // The sink takes nothing behind our Close, where the `Sender` still does.
    let behind = from.sending == "closed" && answer.error.is_none();
    if behind && said.by_adapter() && said.is_control() {
        values.push(Value::Returned(Err("closed")));
    }
    if so_far.unread {
        return values;
    }
    if !event.arrives() {
        let leaves = event.kind == "leave";
        let accepted = called(profile, driven, event, (from, to), answer, so_far).is_ok();
        // In halves only the `leave` of the reader waits.
        let waits = match driven {
            Driven::Core | Driven::Loop | Driven::Facade | Driven::FacadeTask => false,
            Driven::Whole => leaves || said.closes(),
            Driven::Halves => leaves && from.sending.starts_with("let go"),
        };
        let waits = profile.waits && waits && accepted;
        so_far.waits = waits.then_some(leaves);
        // Whoever asks for whole messages skips the rest of one that was handed out in part.
        so_far.skips |= waits && so_far.handed.is_some();
        if event.kind == "write fails" && answer.error.is_none() {
            so_far.refused = Some("refused write");
        }
    }
    let shows = match profile.receives {
        Receives::Event | Receives::Events | Receives::Step => true,
        Receives::Recv | Receives::Poll | Receives::Owned | Receives::Stream => false,
        Receives::ToReply | Receives::Chunk => false,
    };
    let deaf = ENDED.contains(&from.receiving);
    let to_reply = profile.receives == Receives::ToReply && driven == Driven::Whole;
    let hears = !to_reply || from.sending != "closed";
    match &answer.delivers {
        _ if so_far.waits.is_some() => {}
        _ if profile.receives == Receives::Chunk && (answer.error.is_some() || deaf) => {}
        _ if profile.receives == Receives::Chunk => {
            let ends = matches!(answer.delivers, Some(Delivered::Message { .. }));
            values.extend(chunk(so_far, ends));
        }
        Some(Delivered::Message { text }) if hears => {
            values.push(Value::Got(Got::Message { text: *text, payload: so_far.content.clone() }))
        }
        Some(Delivered::Ping(payload)) if shows => {
            values.push(Value::Got(Got::Ping(payload.clone())));
        }
        Some(Delivered::Pong(payload)) if shows => {
            values.push(Value::Got(Got::Pong(payload.clone())));
        }
        Some(Delivered::Close(body)) if shows => values.push(Value::Got(Got::Close(body.clone()))),
        _ => {}
    }
    let over = |state: State| match (driven, state.receiving) {
        (Driven::Facade | Driven::FacadeTask, "waits") => so_far.behind > BEHIND_CLOSE,
        (_, "over") => true,
        (Driven::Facade | Driven::FacadeTask, "ended") => true,
        _ => false,
    };
    if over(to) && !so_far.told {
        so_far.told = true;
        let mut error = match so_far.error {
            // The error of the stream, which is not repeated.
            Some("end of stream") if driven != Driven::Core => match so_far.refused.take() {
                None if event.kind == "reset" => Some("reset"),
                refused => refused.or(so_far.error),
            },
            error => error,
        };
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
    let SoFar { content, text, compressed, handed, skips, .. } = so_far;
    let data = &content[handed.unwrap_or_default()..];
    if *skips || (data.is_empty() || *compressed) && !last {
        return None;
    }
    let chunk = Value::Chunk { text: *text, first: handed.is_none(), data: data.into(), last };
    *handed = Some(content.len());
    Some(chunk)
}
