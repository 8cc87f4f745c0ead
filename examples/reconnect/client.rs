//! The client without its sockets: what it follows, what it sends, and how it parses input.
//!
//! | the client says   | the server answers                                    |
//! |-------------------|-------------------------------------------------------|
//! | `auth TOKEN`      | `welcome`                                             |
//! | `subscribe TOPIC` | `ok TOPIC`, and then `message N`, with a number N     |
//! | `ping`            | `pong`                                                |
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tickwire::{Error, Message, Retry, Time, handshake::client::Request};
use tickwire_feed::{
    Action, Attempts, ConnectionId, Ended, Follower, Gap, Incoming, Pace, Say, State, Subscription,
    Verdict,
};
use tickwire_parts::Backoff;

pub(crate) struct Client {
    pub(crate) follower: Follower<String>,
    pub(crate) attempts: Attempts,
    /// A request for each address.
    pub(crate) requests: Vec<Request>,
    token: String,
    topics: Vec<String>,
    show: Box<dyn FnMut(&str) + Send>,
    /// The state that was shown last.
    shown: Option<State>,
}

/// What a connection's task or thread tells the client's. `W` sends over the connection.
pub(crate) enum News<W> {
    Opened(W),
    Text(String),
    /// The connection has ended, with the code of the server's Close, or with an error.
    Ended(Result<u16, Error>),
}

impl<W> News<W> {
    pub(crate) fn new(message: Message<'_>) -> Self {
        Self::Text(message.as_text().unwrap_or_default().to_owned())
    }
}

impl Client {
    /// A client of these servers, which all have the same feed. `show` gets each line to print.
    pub(crate) fn new(
        requests: Vec<Request>,
        token: String,
        topics: Vec<String>,
        backoff: Backoff,
        show: impl FnMut(&str) + Send + 'static,
    ) -> Self {
        let mut follower = Follower::new();
        follower.addresses = requests.len();
        follower.pace = Pace::new(20, Duration::from_secs(1)).at_once(10).reserve(2);
        follower.login = true;
        follower.probe_after = Some(Duration::from_millis(500));
        follower.answer_within = Duration::from_secs(2);
        follower.add_line(backoff, Duration::MAX, Duration::ZERO);
        for _ in &topics {
            // `resume`: in this feed each message makes sense alone.
            follower.subscribe(Subscription { resume: true, ..Subscription::default() });
        }
        Self {
            follower,
            attempts: Attempts::new(Pace::new(250, Duration::from_secs(300)).at_once(100)),
            requests,
            token,
            topics,
            show: Box::new(show),
            shown: None,
        }
    }

    /// What to do with the sockets. `None`: the client will not dial again.
    pub(crate) fn poll(&mut self, now: Time) -> Option<Action<String>> {
        loop {
            let state = self.follower.states().next();
            if state != self.shown {
                self.shown = state;
                state.into_iter().for_each(|state| (self.show)(&format!("-- {state}")));
            }
            match self.follower.poll(now, &mut self.attempts) {
                Action::Message { message, .. } => (self.show)(&message),
                Action::Gap { gap: Gap { first, last, .. }, .. } => {
                    (self.show)(&format!("-- lost: {first} to {last}"));
                }
                Action::Restart { .. } => (self.show)("-- the numbers begin anew"),
                Action::Wait(_) if matches!(state, Some(State::Stopped { .. })) => return None,
                action => return Some(action),
            }
        }
    }

    /// The text to send. Each connection logs in anew, because the server has forgotten the last.
    pub(crate) fn message(&self, say: Say) -> String {
        match say {
            Say::Login => format!("auth {}", self.token),
            Say::Subscribe(range) => format!("subscribe {}", self.topics[range.start]),
            Say::Probe => "ping".into(),
        }
    }

    fn read(&self, text: &str) -> Incoming {
        let topic = |topic| self.topics.iter().position(|own| own == topic);
        match text.split_once(' ') {
            None if text == "welcome" => Incoming::LoggedIn,
            Some(("ok", name)) => topic(name).map_or(Incoming::Other, Incoming::Answer),
            Some(("message", number)) => match number.parse::<u64>() {
                Ok(number) => Incoming::Data { subscription: 0, numbers: Some(number.into()) },
                Err(_) => Incoming::Wrong(Retry::Alarm),
            },
            _ => Incoming::Other,
        }
    }

    pub(crate) fn opened(&mut self, id: Option<&ConnectionId>, now: Time) {
        id.into_iter().for_each(|&id| self.follower.opened(id, now));
    }

    pub(crate) fn heard(&mut self, from: Option<&ConnectionId>, text: &str, now: Time) {
        let Some(&from) = from else { return };
        let incoming = self.read(text);
        if self.follower.heard(from, incoming, now, || text.into()) == Some(Verdict::Next) {
            (self.show)(text);
        }
    }

    pub(crate) fn ended(&mut self, id: ConnectionId, ended: Result<u16, Error>, now: Time) {
        let ended = match ended {
            Ok(code) => Ended::Closed(code),
            Err(Error::Refused(no)) => (&*no).into(),
            Err(error) => Ended::Failed(error.retry()),
        };
        self.follower.ended(id, ended, now, &mut self.attempts);
    }

    /// Passes on the news of a task or thread. `open` has the sending half of each connection.
    pub(crate) fn told<W>(
        &mut self,
        (id, news): (ConnectionId, News<W>),
        open: &mut HashMap<ConnectionId, W>,
        began: Instant,
    ) {
        let now = Time::new(began.elapsed());
        match news {
            News::Opened(writer) => {
                open.insert(id, writer);
                self.opened(Some(&id), now);
            }
            News::Text(text) => self.heard(Some(&id), &text, now),
            News::Ended(ended) => {
                open.remove(&id);
                self.ended(id, ended, now);
            }
        }
    }
}
