use crate::{Cause, Ended, Gap, Numbers};
#[cfg(doc)]
use crate::{Follower, Limits, Settings};
use alloc::vec::Vec;
use core::{fmt, ops::Range, time::Duration};
use tickwire::{CloseCode, Retry, Time};

/// The id of a connection of a [`Follower`], from [`Action::Dial`] to the connection's end. No two
/// connections of a follower have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

/// What to do now: the result of [`Follower::poll`]. `T` is the type of a kept message.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// Connect to this address, which is an index into your list of addresses. Call
    /// [`opened`](Follower::opened) once the connection is open, or [`ended`](Follower::ended) if
    /// the attempt fails. The follower ends no attempt by itself, and a frozen server still accepts
    /// TCP connections. So set a [`handshake_timeout`](tickwire::Config::handshake_timeout), as
    /// [`Config::trading`](tickwire::Config::trading) does.
    Dial {
        /// The new connection.
        connection: ConnectionId,
        /// The line of the connection: an index into [`Follower::states`].
        line: usize,
        /// The address's index, below [`Settings::addresses`].
        address: usize,
        /// The end of the line's last attempt or connection.
        after: Option<Ended>,
    },
    /// Send this message now, over this open connection. The message keeps to the pace only if you
    /// send it at once.
    Send {
        /// The open connection.
        connection: ConnectionId,
        /// What the message has to say.
        say: Say,
    },
    /// End this open connection without waiting for the peer, for example by `leave` with a time of
    /// zero. Then drop the connection, and do not call [`ended`](Follower::ended) for it. The
    /// follower has forgotten the connection, and ignores everything that still arrives over it.
    Leave {
        /// The open connection.
        connection: ConnectionId,
        /// The code for the Close: 1000 if nobody needs the connection any more, because another
        /// one has its place; 1001 if it was silent or of [no use](Incoming::Wrong).
        code: CloseCode,
        /// What was wrong with it, with the code 1001.
        why: Option<Cause>,
    },
    /// Use this message now: the arbiter had kept it, and now it is the next message.
    Message {
        /// The subscription's index.
        subscription: usize,
        /// The kept message: the value that `own` returned in [`Follower::heard`].
        message: T,
    },
    /// These numbers are lost: see [`Event::Gap`](crate::Event::Gap). With
    /// [`Recovery::Snapshot`], nothing more of this subscription is delivered until you call
    /// [`resync`](Follower::resync) or [`resume`](Follower::resume): an order book is wrong from
    /// here on.
    Gap {
        /// The subscription's index.
        subscription: usize,
        /// The lost numbers.
        gap: Gap,
    },
    /// The numbers of this subscription begin, or begin anew: see
    /// [`Event::Restart`](crate::Event::Restart). Forget the book. With
    /// [`Recovery::Snapshot`] this also comes with the first message.
    Restart {
        /// The subscription's index.
        subscription: usize,
    },
    /// Ask for a snapshot of this subscription now. With [`Recovery::Snapshot`] it comes after each
    /// `Gap` and `Restart`, once data has arrived over an open connection: at once, or when the
    /// [pace](Follower#what-it-promises) of snapshots allows it. When the snapshot is
    /// there, call [`snapshot`](Follower::snapshot); if it fails,
    /// [`no_snapshot`](Follower::no_snapshot). It is asked for again, with another id, if neither
    /// comes within [`Settings::snapshot_within`].
    Snapshot {
        /// The subscription's index.
        subscription: usize,
        /// The request's id. No other request of this follower has it.
        id: u64,
    },
    /// [Tell a person](Retry::Alarm): these subscriptions are [mute](Topic::Mute). Each is told
    /// once, and again only if it was served meanwhile.
    Mute {
        /// The subscriptions' indices.
        subscriptions: Vec<usize>,
    },
    /// There is nothing to do now. Call [`Follower::poll`] again at this time, and after each call
    /// of another method. The time is later than now, and at most an hour away.
    Wait(Time),
}

/// What a message has to say. Your program writes the message itself. So a login can carry a fresh
/// signature, and the follower never sees the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// Log in. This comes once for each connection, before all subscriptions, if
    /// [`Settings::login`] is set.
    Login,
    /// Send these subscriptions in one message: at least 1, and at most [`Settings::batch`]. A
    /// subscription with [`ask_after`](Subscription::ask_after) comes again if it stays unanswered
    /// or its data stops.
    Subscribe {
        /// The question's id, for the request. No other question of this follower has it. If the
        /// exchange repeats the id in its answer, pass it on in [`Asked::Question`].
        id: u64,
        /// The subscriptions' indices.
        subscriptions: Range<usize>,
    },
    /// Send something that the exchange answers with a message, such as the text `ping`. A Ping
    /// frame is not enough, because its answer is no message. `Probe` comes only if
    /// [`Settings::probe_after`] is set.
    Probe,
}

/// The meaning of a received message, which your program has parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// The exchange has accepted the [login](Say::Login).
    LoggedIn,
    /// The exchange has accepted a subscription, or all of one message. It counts as an answer for
    /// those whose last question this was, and for those whose question before this was and that
    /// the exchange has not accepted on this connection yet.
    Answer(Asked),
    /// The exchange has refused a subscription, or one message. "Already subscribed" is an
    /// [`Answer`](Self::Answer): it says that the exchange serves it.
    ///
    /// A lack of data of what is refused makes nothing silent. What this connection had served
    /// before is asked for again, at the [pace of silence](Follower#silence), and anything else not
    /// before [`Follower::go_on`]. But if the refusal is of a message with several subscriptions,
    /// and does not say which of them it means, each half of them is asked for again, in a message
    /// of its own. A refusal of a question that was repeated meanwhile does nothing.
    ///
    /// [`Follower::unsubscribe`] forgets what you do not want any more.
    Refused(Asked),
    /// Data of a subscription. Data also counts as the answer, if the subscription was sent.
    Data {
        /// The subscription's index.
        subscription: usize,
        /// The sequence numbers, as the exchange counts them for this subscription. With numbers,
        /// each message is delivered once, in order, and gaps are found. Without numbers, losses
        /// are not found, and data is delivered as it comes: twice while two connections are open.
        numbers: Option<Numbers>,
    },
    /// A keepalive or heartbeat of a subscription: the exchange serves it, and has no data for it.
    /// As data, it is an answer, and [`leave_after`](Subscription::leave_after) begins anew.
    Keepalive {
        /// The subscription's index.
        subscription: usize,
        /// The number of the last data that the exchange has sent, if the message says so: a
        /// keepalive whose previous and present number are the same, or a heartbeat that counts
        /// nothing. What has not come up to this number is a gap, and is told as if a later number
        /// had come. In a [shared](Count::Shared) count it is the message's own number.
        last: Option<u64>,
    },
    /// A message without data has this number in a [shared](Count::Shared) count. A message with
    /// data of a subscription that counts so has it in [`Data`](Self::Data). If the message is
    /// something else too, such as an answer, pass both.
    Counted(u64),
    /// Any other message, such as the answer to a [probe](Say::Probe). It shows that the peer
    /// lives.
    Other,
    /// The exchange says that it will end its connections soon, as Binance does by
    /// `serverShutdown`. The follower dials a successor after the line's next delay. Once for each
    /// connection: the exchange may repeat itself.
    Ending,
    /// This peer is of no use, and the follower leaves the connection, and ignores everything that
    /// still arrives over it. Pass [`Retry::Alarm`] if it refuses the login, or sends something
    /// other than the feed; [`Retry::Stop`] if the line is to dial no more until
    /// [`Follower::go_on`]; [`Retry::BackOff`] if another connection will do, for example because
    /// the login has expired.
    Wrong(Retry),
}

/// Which question an answer is for: pass on what the exchange says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: an answer names its question, or its topic.
pub enum Asked {
    /// The [`Say::Subscribe`] with this id, with all its subscriptions.
    Question(u64),
    /// The subscription with this index, whichever message asked for it last. Does nothing before
    /// the subscription was sent on this connection.
    Subscription(usize),
}

/// How the follower watches one subscription. By default the follower sends the subscription once
/// on each connection, and keeps numbered data until you call [`Follower::resync`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Ask again after this silence: `None` unless set. If the subscription has brought neither
    /// data nor an answer for this time, the follower sends it [again](Say::Subscribe). If data or
    /// an answer then comes within [`Settings::answer_within`], the market was only quiet.
    /// Otherwise the connection is [silent](State::Silent).
    ///
    /// The follower also repeats a new subscription that stays unanswered for `answer_within`. If
    /// it stays unanswered for another `answer_within`, the connection is silent. If `ask_after` is
    /// `None`, the follower expects no answers and repeats nothing: choose `None` for an exchange
    /// that does not answer a repeated subscription.
    pub ask_after: Option<Duration>,
    /// The connection is silent after this time without data, even if the exchange answers the
    /// follower's questions: `None` unless set. This finds a subscription that the exchange
    /// answers, but for which it no longer sends data. Set a time that is longer than `ask_after`,
    /// and longer than this subscription is ever silent. The time counts from the last data. If no
    /// data has come, it counts from the first answer; without `ask_after` from the sending.
    pub leave_after: Option<Duration>,
    /// From where delivery starts, and goes on after a lost gap or a restart.
    pub recovery: Recovery,
    /// What the exchange's numbers count.
    pub count: Count,
}

/// What the numbers of a [`Subscription`] count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
// Exhaustive: a message is counted with its feed or with its connection.
pub enum Count {
    /// The messages of this subscription, whichever connections bring them.
    #[default]
    Feed,
    /// The messages of this subscription on one connection. Only one connection's data is used at a
    /// time, and other connections' data is [`Duplicate`](crate::Verdict::Duplicate). The follower
    /// switches at the first data of a planned successor, and at the next data of any connection
    /// once the taken one is over, or silent, or silent in this subscription. At the switch
    /// [`Action::Restart`] comes, and then the message with which the new connection goes on. If
    /// the silent one goes on first, there is none.
    Connection,
    /// As `Connection`, but one count has all messages of a connection, whatever they are about:
    /// Bitfinex with `SEQ_ALL`, Coinbase Advanced. A number that is missing may be of any
    /// subscription, so it is a gap of each one that counts so and has its data from this
    /// connection. If the count goes back, each of them begins anew, with an [`Action::Restart`].
    /// Pass the number of *each* message of the exchange, once for each subscription of which it
    /// has data, or as [`Incoming::Counted`].
    Shared,
}

impl Count {
    pub(crate) const fn is_per_connection(self) -> bool {
        !matches!(self, Self::Feed)
    }
}

/// From where the delivery of a [`Subscription`] starts, and goes on after an [`Action::Gap`] or an
/// [`Action::Restart`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
// Exhaustive: there is a snapshot, or there is none.
pub enum Recovery {
    /// From a snapshot, as an order book: numbered data is kept until you call
    /// [`Follower::resync`]. After a gap or a restart, [`Action::Snapshot`] asks for one.
    #[default]
    Snapshot,
    /// From the next message, without your help. For messages that make sense alone, as trades do.
    Resume,
}

/// What a line of a [`Follower`] is doing, and why. `Display` gives a sentence for a person.
///
/// If several states fit, the first in this order counts: `Stopped`, `Alarm`, `Dialing`, `Held`,
/// `Waiting`, `Silent`, `LoggingIn`, `Subscribing`, `Probing`, `Replacing`, `Following`. If there
/// is a successor, the last six states are about the older connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The line has no connection, and waits before it dials.
    Waiting {
        /// The line dials at this time, or later if the [attempts](crate::Attempts) demand it; or
        /// once another line no longer uses an address.
        until: Time,
        /// The end that caused this wait. `None` before the first attempt.
        after: Option<Ended>,
    },
    /// The line has no connection and would dial, but the [attempts](crate::Attempts) from this
    /// machine's address are used up, or a server has banned the address.
    Held {
        /// The attempts allow no dial before this time.
        until: Time,
        /// The line's own last end. `None` before the first attempt.
        after: Option<Ended>,
    },
    /// [Tell a person](Retry::Alarm): two ends in a row, of the address, the key or this machine,
    /// one of which may not pass by itself. The line waits before it dials. It may still have a
    /// connection whose successor could not be opened. A fault of one address, while another one
    /// serves, is in [`Follower::faults`].
    Alarm {
        /// The line dials at this time, or later if the [attempts](crate::Attempts) demand it; or
        /// up to a second earlier, when an attempt that went first has succeeded; or once another
        /// line no longer uses an address.
        until: Time,
        /// The last end of the row.
        after: Ended,
    },
    /// The line dials, and has no open connection.
    Dialing {
        /// The address's index.
        address: usize,
        /// The end before. `None` at the first attempt.
        after: Option<Ended>,
    },
    /// The connection is open, but silent for this reason. The line opens a successor, whose data
    /// ends this connection. If this one speaks first, the successor goes.
    Silent {
        /// What did not come.
        cause: Cause,
    },
    /// The connection is open, and the login is not answered yet.
    LoggingIn,
    /// The connection is open, and some subscriptions are not sent yet, or not answered yet.
    Subscribing {
        /// The number of these subscriptions.
        missing: usize,
    },
    /// The connection, or a subscription, was silent. The follower sends a question, or has sent it
    /// and waits for the answer.
    Probing,
    /// All is well.
    Following,
    /// All is well, and a successor of the connection is dialed or open.
    Replacing,
    /// [Tell a person](Retry::Stop). The line dials no more until [`Follower::go_on`] or
    /// [`Follower::new_key`] is called, because the program [has said so](Follower#dials). If the
    /// line still has a connection, the follower keeps this connection until it ends.
    Stopped {
        /// The end that stopped the line.
        after: Ended,
    },
}

/// What a subscription of a [`Follower`] is doing: the result of [`Follower::topic`]. If several
/// fit, the first in this order counts: `Refused`, `Mute`, `Silent`, `Distrusted`, `Waiting`,
/// `InOrder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topic {
    /// The exchange has [refused](Incoming::Refused) it on each line's connection, but for those
    /// on which it has not answered yet.
    Refused,
    /// Since it last brought data, it was silent at each address that may be dialed, and also on a
    /// connection that was opened after the first of these silences: the fault is its own, and no
    /// connection's. Look whether the exchange still has it. [`Action::Mute`] has told so.
    Mute,
    /// Each line's connection is silent, or silent in this subscription.
    Silent,
    /// The program [distrusts](Follower::distrust) the book.
    Distrusted {
        /// Since when.
        since: Time,
        /// How many snapshots in a row were needed, this one included.
        requests: u32,
        /// When the next one is asked for, if data has arrived. `None` while one is under way.
        next_at: Option<Time>,
    },
    /// Numbers are lost, or the count begins: the book waits for a snapshot.
    Waiting {
        /// Since when.
        since: Time,
        /// How many snapshots in a row were needed, this one included.
        requests: u32,
        /// When the next one is asked for, if data has arrived. `None` while one is under way.
        next_at: Option<Time>,
    },
    /// What has arrived is delivered, in order.
    InOrder,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { after: None, .. } => f.write_str("has not dialed yet"),
            Self::Waiting { after: Some(after), .. } => write!(f, "waits to dial: {after}"),
            Self::Held { after, .. } => {
                f.write_str("may not dial yet, because of the attempts from this address")?;
                after.map_or(Ok(()), |after| write!(f, ": {after}"))
            }
            Self::Alarm { after, .. } => write!(f, "look at this; waits to dial: {after}"),
            Self::Dialing { address, after: None } => write!(f, "dials address {address}"),
            Self::Dialing { address, after: Some(after) } => {
                write!(f, "dials address {address}: {after}")
            }
            Self::Silent { cause } => write!(f, "opens another connection: {cause}"),
            Self::LoggingIn => f.write_str("logs in"),
            Self::Subscribing { missing } => write!(f, "subscribes: {missing} to go"),
            Self::Probing => f.write_str("has asked, and waits for the answer"),
            Self::Following => f.write_str("follows"),
            Self::Replacing => f.write_str("follows, and opens the next connection"),
            Self::Stopped { after } => write!(f, "stopped until told to go on: {after}"),
        }
    }
}
