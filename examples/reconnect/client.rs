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
    Action, Asked, Attempts, ConnectionId, Ended, Follower, Gap, Incoming, Pace, Recovery, Say,
    Settings, State, Subscription, Verdict,
};
use tickwire_parts::Backoff;

pub(crate) struct Client {
    pub(crate) follower: Follower<String>,
    pub(crate) attempts: Attempts,
    pub(crate) application: Application,
}

/// The client without its follower.
pub(crate) struct Application {
    /// A request for each address.
    pub(crate) requests: Vec<Request>,
    token: String,
    topics: Vec<String>,
    show: Box<dyn FnMut(&str) + Send>,
    /// The state that was shown last.
    shown: Option<State>,
    /// When the last message came, if one came since the last outage was shown.
    last: Option<Time>,
    /// Since when the line has no connection that is well.
    out: Option<Time>,
}

/// What a connection's thread tells the client's. `W` sends over the connection.
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
        let mut follower = Follower::new(Settings {
            addresses: requests.len(),
            pace: Pace::new(20, Duration::from_secs(1)).at_once(10),
            login: true,
            refused_logins: Some(1),
            probe_after: Some(Duration::from_millis(500)),
            answer_within: Duration::from_secs(2),
            ..Settings::new(String::len)
        });
        follower.add_line(backoff, Duration::MAX, Duration::ZERO);
        for _ in &topics {
            // `resume`: in this feed each message makes sense alone.
            follower
                .subscribe(Subscription { recovery: Recovery::Resume, ..Subscription::default() });
        }
        Self {
            follower,
            attempts: Attempts::new(250, Duration::from_secs(300)).and(20, Duration::from_secs(1)),
            application: Application {
                requests,
                token,
                topics,
                show: Box::new(show),
                shown: None,
                last: None,
                out: None,
            },
        }
    }

    /// What to do with the sockets. `None`: the client will not dial again.
    pub(crate) fn poll(&mut self, now: Time) -> Option<Action<String>> {
        let application = &mut self.application;
        loop {
            let state = self.follower.states().next();
            if let Some(state) = state {
                application.show_state(state, now);
            }
            match self.follower.poll(now, &mut self.attempts) {
                Action::Message { message, .. } => application.deliver(&message, now),
                Action::Gap { gap, .. } => application.show_gap(gap, now),
                Action::Restart { .. } => application.show_restart(now),
                Action::Wait(_) if matches!(state, Some(State::Stopped { .. })) => return None,
                action => return Some(action),
            }
        }
    }

    pub(crate) fn opened(&mut self, id: Option<&ConnectionId>, now: Time) {
        if let Some(&id) = id {
            self.follower.opened(id, now, &mut self.attempts);
        }
    }

    pub(crate) fn heard(&mut self, from: Option<&ConnectionId>, text: &str, now: Time) {
        let Some(&from) = from else { return };
        let incoming = self.application.read(text);
        if self.follower.heard(from, incoming, now, || text.into()) == Some(Verdict::Next) {
            self.application.deliver(text, now);
        }
    }

    pub(crate) fn ended(&mut self, id: ConnectionId, ended: Result<u16, Error>, now: Time) {
        let ended = match ended {
            Ok(code) => Ended::closed(code, ""),
            Err(error) => error.into(),
        };
        self.follower.ended(id, ended, now, &mut self.attempts);
    }

    /// Passes on the news of a thread. `open` has the sending half of each connection.
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

impl Application {
    /// Shows a state, unless it is the one that was shown last.
    pub(crate) fn show_state(&mut self, state: State, now: Time) {
        if self.shown != Some(state) {
            self.shown = Some(state);
            self.note_state(state);
            self.show(now, &format!("-- {state}"));
        }
    }

    pub(crate) fn show_gap(&mut self, Gap { first, last, .. }: Gap, now: Time) {
        self.show(now, &format!("-- lost: {first} to {last}"));
    }

    pub(crate) fn show_restart(&mut self, now: Time) {
        self.show(now, "-- the numbers begin anew");
    }

    /// Shows a line with the seconds since the start.
    fn show(&mut self, now: Time, line: &str) {
        let seconds = now.since_epoch().as_secs_f64();
        (self.show)(&format!("{seconds:8.3} {line}"));
    }

    /// An outage lasts from the last message before it to the first message after it.
    fn note_state(&mut self, state: State) {
        let is_well = matches!(
            state,
            State::Following
                | State::Probing
                | State::Replacing
                | State::Subscribing { .. }
                | State::LoggingIn
        );
        if !is_well {
            self.out = self.out.or(self.last);
        }
    }

    pub(crate) fn deliver(&mut self, text: &str, now: Time) {
        if let Some(since) = self.out.take() {
            let seconds = (now - since).as_secs_f64();
            self.show(now, &format!("-- no message for {seconds:.1} s"));
        }
        self.last = Some(now);
        self.show(now, text);
    }

    /// The text to send. Each connection logs in anew, because the server has forgotten the last.
    pub(crate) fn message(&self, say: Say) -> String {
        match say {
            Say::Login => format!("auth {}", self.token),
            Say::Subscribe { subscriptions, .. } => {
                format!("subscribe {}", self.topics[subscriptions.start])
            }
            Say::Probe => "ping".into(),
        }
    }

    pub(crate) fn read(&self, text: &str) -> Incoming {
        let topic = |topic| self.topics.iter().position(|own| own == topic);
        match text.split_once(' ') {
            None if text == "welcome" => Incoming::LoggedIn,
            Some(("ok", name)) => match topic(name) {
                Some(topic) => Incoming::Answer(Asked::Subscription(topic)),
                None => Incoming::Other,
            },
            Some(("message", number)) => match number.parse::<u64>() {
                Ok(number) => Incoming::Data { subscription: 0, numbers: Some(number.into()) },
                Err(_) => Incoming::Wrong(Retry::Alarm),
            },
            _ => Incoming::Other,
        }
    }
}
