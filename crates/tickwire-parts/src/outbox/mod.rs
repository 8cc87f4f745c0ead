//! One subscriber's queue, bounded in bytes and in age, with a policy for a slow subscriber.
//!
//! ```text
//! push --> | oldest .. newest | --> feed --> Sender --> socket
//!            the policy acts      while less than 16 KiB are unsent
//! ```
//!
//! A fed message has become bytes of frames, and can no longer be dropped or replaced. So an outbox
//! feeds little at a time, and keeps the rest as messages until the peer takes more.
//! [`Prepared`](tickwire::Prepared) encodes a message once for all connections.
mod index;

use alloc::collections::VecDeque;
use core::{fmt, time::Duration};
use index::Index;
use tickwire::{CloseCode, CloseFrame, IntoOutbound, Outbound, SendError, Sender, Time};

/// Counts for each message besides its payload, so that `max_bytes` also limits a queue of empty
/// messages. About the size of a queue's entry.
const OVERHEAD: usize = 64;

/// One for each bound.
const TOO_MUCH: &str = "too slow: over max_bytes";
const TOO_OLD: &str = "too slow: over max_age";

/// How many messages the queue keeps memory for. A queue that a slow subscriber has made longer
/// gives its memory back when it becomes empty.
const KEPT: usize = 1024;

/// The policy for a queue over its bounds: see [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Nothing is lost: while the queue is at its bound, a push is [refused](PushError::Full), and
    /// the publisher has to wait for this subscriber. This policy ignores the age of messages. Use
    /// this policy for a few subscribers that need every message.
    Wait,
    /// The oldest messages are dropped to make room, and messages that are too old are dropped too.
    /// Use this policy for data that is soon worthless, such as positions of moving things.
    DropOldest,
    /// A message pushed with a [key](Outbox::push_keyed) replaces a waiting message of the same
    /// key, *in its place*. So the newest state of each key arrives. Because the place stays, a key
    /// that changes often does not keep other keys from being sent. Use this policy for market
    /// data. A message without a key stays in order and is never replaced.
    ///
    /// No message is dropped to make room. Instead the subscriber is disconnected with 1013 if the
    /// messages need more room than there is, or if a message has waited for
    /// [`max_age`](Outbox::max_age). Therefore [`max_bytes`](Outbox::max_bytes) must have room for
    /// the longest message of each key, and for 64 bytes more per key. With less room, a burst
    /// disconnects even subscribers that read as fast as they can.
    Conflate,
    /// If the queue exceeds a bound, the subscriber is disconnected with this code. Use 1008
    /// (policy violation), or 1013 (try again later), which asks a client to back off. A server
    /// must not use 1010. Use this policy for messages that are useful only if all of them arrive.
    Disconnect(CloseCode),
}

/// Why a message was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The queue is at its bound, and [`Wait`](Overflow::Wait) is the policy. Push the message
    /// again when there is [room](Outbox::has_room).
    #[error("the subscriber's queue is at its bound: feed from it and flush, then push again")]
    Full,
    /// The subscriber was too slow, and is disconnected with this code.
    #[error("subscriber too slow, disconnected with {0}")]
    Disconnected(CloseCode),
}

// As the errors of tickwire: the derived form, then the text.
impl fmt::Debug for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("Full"),
            Self::Disconnected(code) => f.debug_tuple("Disconnected").field(code).finish(),
        }?;
        write!(f, ": \"{self}\"")
    }
}

/// Counts of the messages pushed into an [`Outbox`] since it was made. `pushed` is the sum
/// of `fed`, `conflated`, `dropped` and the messages still waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct OutboxCounts {
    /// Messages accepted.
    pub pushed: u64,
    /// Messages handed to the connection.
    pub fed: u64,
    /// Messages replaced by a newer message of the same key.
    pub conflated: u64,
    /// Messages dropped to make room, for their age, or because the subscriber was disconnected.
    pub dropped: u64,
    /// Messages refused with [`Full`](PushError::Full) or
    /// [`Disconnected`](PushError::Disconnected). Refused messages are not part of `pushed`.
    pub refused: u64,
    /// The number of messages that wait.
    pub waiting: u64,
    /// The bytes that wait, counted as for [`max_bytes`](Outbox::max_bytes).
    pub bytes: usize,
}

/// One subscriber's queue. The queue feeds its connection only while less than
/// [`max_unsent`](Self::max_unsent) bytes are unsent (16 KiB unless set). So the queue's
/// [policy](Overflow), not the socket's buffer, decides which messages a slow subscriber gets.
///
/// A Close that you queue is sent after the messages that were fed before it. Messages that still
/// wait in the outbox are then never sent.
///
/// An outbox does no I/O and is not a future. Push each published message, and call
/// [`feed`](Self::feed) when the connection may have room. The caller passes the time, from any
/// clock that does not go backwards. A message with a shared payload is not copied, but held by
/// reference count. With up to 1,024 waiting messages, the queue allocates nothing in steady state.
///
/// ```
/// use std::time::Duration;
/// use tickwire::{Config, Connection, Negotiated, Prepared, Time};
/// use tickwire_parts::{Outbox, Overflow};
///
/// let mut conn = Connection::server(&Config::server(), Negotiated::default());
/// let mut outbox = Outbox::new(Overflow::Conflate);
/// outbox.max_age = Some(Duration::from_secs(10));
/// let now = Time::ZERO;
/// for (instrument, quote) in [(7, "EURUSD 1.0842"), (9, "USDJPY 151.3"), (7, "EURUSD 1.0843")] {
///     outbox.push_keyed(now, instrument, Prepared::new(quote))?;
/// }
/// assert_eq!(outbox.counts().waiting, 2); // EURUSD 1.0843, USDJPY 151.3
/// outbox.feed(now, conn.sender_mut())?;
/// assert_eq!(outbox.counts().waiting, 0);
/// assert_eq!(outbox.counts().conflated, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Under tokio, each subscriber has a task. This task pushes and receives, and feeds whenever fewer
/// than `max_unsent` bytes are unsent. At most 1 MiB waits, or a single longer message;
/// [`max_bytes`](Self::max_bytes) sets another bound. With 64 bytes more for each message, 1 MiB is
/// room for one tick of 40 bytes for each of 10,000 instruments.
///
/// ```no_run
/// # use std::time::Instant;
/// # use tickwire::{CloseCode, Error, Prepared, Time};
/// # use tickwire_parts::{Outbox, Overflow};
/// # use tickwire::tokio::{MessageOrRoom, WebSocket};
/// # use tokio::net::TcpStream;
/// use tokio::sync::broadcast::{Receiver, error::RecvError};
///
/// async fn subscriber(
///     mut ws: WebSocket<TcpStream>,
///     mut ticks: Receiver<(u64, Prepared)>,
/// ) -> Result<(), Error> {
///     let epoch = Instant::now();
///     let mut outbox = Outbox::new(Overflow::Conflate);
///     loop {
///         let now = || Time::new(epoch.elapsed());
///         let _ = outbox.feed(now(), ws.sender_mut());
///         if let Some(code) = outbox.disconnected() {
///             // Too slow. This sends the Close, if the peer takes it in time.
///             return ws.close(code).await;
///         }
///         tokio::select! {
///             received = ws.recv_or_room(outbox.max_unsent) => match received? {
///                 MessageOrRoom::Message(message) => println!("{message:?}"),
///                 MessageOrRoom::Room => {}
///                 MessageOrRoom::Closed => return Ok(()),
///             },
///             tick = ticks.recv() => match tick {
///                 Ok((instrument, tick)) => {
///                     let _ = outbox.push_keyed(now(), instrument, tick); // or `disconnected`
///                 }
///                 Err(RecvError::Lagged(_)) => {} // this task was too slow: a gap
///                 Err(RecvError::Closed) => return ws.close(CloseCode::GOING_AWAY).await,
///             },
///         }
///     }
/// }
/// ```
///
/// With threads instead of tasks, put the outbox into a mutex. The publisher pushes under the lock.
/// The subscriber's writing thread feeds the sender of its `Writer` under the lock
/// (`writer.with_sender(|tx| outbox.feed(now, tx))`), and flushes without the lock.
///
/// # What an outbox cannot see
///
/// Bytes that the operating system has accepted count as sent. Linux may accept megabytes, because
/// a send buffer grows automatically. A subscriber that has stopped reading counts as slow only
/// once this buffer is full, and what waits there is old:
///
/// ```text
/// age = (bytes in the socket + max_unsent) / (bytes of a message * messages a second)
/// ```
///
/// A game sends 60 snapshots of 400 bytes a second. An `SO_SNDBUF` of 16 KiB, which Linux doubles,
/// and the default [`max_unsent`](Self::max_unsent) are then 2 s old. So choose the age, compute
/// the bytes, and set a socket option, for example with the crate `socket2`:
///
/// - `TCP_NOTSENT_LOWAT`: the socket accepts no more while so many bytes wait to be sent for the
///   first time. It does not limit the bytes in flight, so it costs no throughput on a line, but a
///   sender without a pause waits more often. For a feed it may be 16 KiB. For a game, set it to
///   half of the bytes of a tenth of a second, and `max_unsent` to 1, so that one message at a time
///   leaves the outbox.
/// - `SO_SNDBUF` limits all bytes, in flight too: a few times bandwidth × delay, such as 64 KiB.
///   Set it beside the other for peers with large receive windows: Linux fills the segment that it
///   is about to send up to half of the window, whatever `TCP_NOTSENT_LOWAT` says.
///
/// The peer's own receive buffer (`SO_RCVBUF`) holds messages too, and only the peer can limit it.
/// `tests/connection/sending/outbox_sockets.rs` asserts the tenth of a second, in bytes.
pub struct Outbox {
    policy: Overflow,
    /// The bound on the waiting bytes: payloads, and 64 bytes for each message. 1 MiB unless set.
    ///
    /// An empty outbox accepts a message of any length. Under [`Wait`](Overflow::Wait) an outbox
    /// accepts messages while less than `max_bytes` waits. So a push is never refused while
    /// [`has_room`](Self::has_room) is true, and the last message may exceed the bound.
    pub max_bytes: usize,
    /// How long a message may wait; unlimited unless set. A message that has waited for `max_age`
    /// is too old. [`Wait`](Overflow::Wait) ignores the age. With the other policies, each push and
    /// feed checks the age, so no message that is too old is ever fed. To make the policy act on
    /// time, call `feed` at [`poll_timeout`](Self::poll_timeout).
    ///
    /// A message that replaces a waiting message takes over that message's age. The age of any
    /// other message counts from the `now` of its push. So read the clock right before the push. If
    /// the program waits between the two, the message counts as older than it is.
    pub max_age: Option<Duration>,
    /// The outbox feeds while less than this many bytes are unsent, so the last message may exceed
    /// the limit. 0 counts as 1. `max_unsent` is [`MAX_UNSENT`](Self::MAX_UNSENT) unless set, and
    /// has no effect beyond [`high_water`](tickwire::Config::high_water). With a smaller value, the
    /// policy notices a slow peer sooner. With a larger value, fewer writes are needed.
    pub max_unsent: usize,
    /// The queued messages, in the order of their `since`.
    queue: VecDeque<Entry>,
    /// The sum of their `size`.
    bytes: usize,
    /// The number of the first entry. Each later one has the next.
    front: u64,
    /// Invariant: exactly the numbers of the entries with a key.
    index: Index,
    counts: OutboxCounts,
    /// The Close for a subscriber that was too slow.
    gave_up: Option<CloseFrame<'static>>,
}

/// Shows how much waits, but not the messages.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("policy", &self.policy)
            .field("max_bytes", &self.max_bytes)
            .field("max_age", &self.max_age)
            .field("len", &self.queue.len())
            .field("bytes", &self.bytes)
            .field("counts", &self.counts)
            .field("gave_up", &self.gave_up)
            .finish_non_exhaustive()
    }
}

struct Entry {
    message: Outbound<'static>,
    /// `None` unless the policy is [`Overflow::Conflate`].
    key: Option<u64>,
    /// When the first message in this place was pushed: one that replaces it keeps this time.
    since: Time,
}

impl Outbox {
    /// The default of [`max_unsent`](Self::max_unsent): 16 KiB.
    pub const MAX_UNSENT: usize = 16 * 1024;

    /// Makes an empty outbox, with a bound of 1 MiB, and no limit on age.
    pub fn new(policy: Overflow) -> Self {
        Self {
            policy,
            max_bytes: 1 << 20,
            max_age: None,
            max_unsent: Self::MAX_UNSENT,
            queue: VecDeque::new(),
            bytes: 0,
            front: 0,
            index: Index::default(),
            counts: OutboxCounts::default(),
            gave_up: None,
        }
    }

    // Commands.

    /// Queues a message. The message replaces no other message and is never replaced. Even under
    /// [`Overflow::Conflate`], only messages with a [key](Self::push_keyed) are replaced.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] under [`Overflow::Wait`], [`PushError::Disconnected`] under
    /// [`Overflow::Disconnect`] and [`Overflow::Conflate`]; never under [`Overflow::DropOldest`].
    pub fn push<'m>(&mut self, now: Time, message: impl IntoOutbound<'m>) -> Result<(), PushError> {
        self.put(now, None, message.into().into_owned())
    }

    /// Queues a message with the complete state of what `key` stands for, such as an instrument.
    /// Under [`Overflow::Conflate`] the message replaces the waiting message of the same key. Keys
    /// are the application's own numbers; do not let a peer choose them.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_keyed<'m>(
        &mut self,
        now: Time,
        key: u64,
        message: impl IntoOutbound<'m>,
    ) -> Result<(), PushError> {
        let key = (self.policy == Overflow::Conflate).then_some(key);
        self.put(now, key, message.into().into_owned())
    }

    /// Feeds waiting messages to `tx` while less than [`max_unsent`](Self::max_unsent) bytes are
    /// unsent. Feeds no message while a message in chunks is in progress. If the policy disconnects
    /// the subscriber, queues the Close at the next frame boundary ([`Sender::abort`]). The reason
    /// of the Close is "too slow: over max_bytes" or "too slow: over max_age".
    ///
    /// Call `feed` after a push, and when the stream has accepted bytes, for example after a flush.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] if nothing more can be sent, for example because the subscriber is
    /// disconnected already. Messages that wait stay in the outbox. [`SendError::BadCloseCode`] for
    /// a server whose policy disconnects with 1010.
    pub fn feed(&mut self, now: Time, tx: &mut Sender) -> Result<(), SendError> {
        self.look_at_age(now);
        if tx.is_closed() {
            return Err(SendError::Closed);
        }
        if let Some(frame) = self.gave_up {
            return tx.abort(frame);
        }
        while tx.buffered_amount() < self.max_unsent.max(1)
            && tx.has_room()
            && tx.message_in_progress().is_none()
            && let Some(message) = self.pop()
        {
            tx.feed(message)?; // the checks above exclude each error, so no message is lost here
            self.counts.fed += 1;
        }
        if self.queue.is_empty() && self.queue.capacity() > KEPT {
            self.queue = VecDeque::new();
            self.index = Index::default();
        }
        Ok(())
    }

    // Getters.

    /// When the oldest message becomes too old. The policy acts in `push` and in `feed`, so call
    /// one of them at this time. `None` if no message can become too old.
    pub fn poll_timeout(&self) -> Option<Time> {
        let age = self.max_age.filter(|_| self.policy != Overflow::Wait)?;
        self.queue.front().map(|entry| entry.since + age)
    }

    /// Whether less than [`max_bytes`](Self::max_bytes) waits, or no message waits. If `true`, the
    /// next push under [`Overflow::Wait`] is not refused.
    pub fn has_room(&self) -> bool {
        self.queue.is_empty() || self.bytes < self.max_bytes
    }

    /// Whether `message` fits into [`max_bytes`](Self::max_bytes). Always true for an empty outbox.
    /// If `false`, a push of the message may make the policy act. So [`feed`](Self::feed) first, if
    /// the stream may accept bytes.
    pub fn fits(&self, message: &Outbound<'_>) -> bool {
        self.queue.is_empty() || self.bytes.saturating_add(size(message)) <= self.max_bytes
    }

    /// The code with which the subscriber is, or will be, disconnected. `None` unless the
    /// subscriber was too slow. Once [`feed`](Self::feed) has queued the Close,
    /// [`Sender::close_frame`] also has the reason, which names the exceeded bound.
    pub fn disconnected(&self) -> Option<CloseCode> {
        self.gave_up.map(|frame| frame.code)
    }

    /// Counts of all messages so far.
    pub fn counts(&self) -> OutboxCounts {
        OutboxCounts { waiting: self.queue.len() as u64, bytes: self.bytes, ..self.counts }
    }

    fn put(
        &mut self,
        now: Time,
        key: Option<u64>,
        message: Outbound<'static>,
    ) -> Result<(), PushError> {
        self.look_at_age(now);
        let taken = match self.gave_up {
            Some(frame) => Err(PushError::Disconnected(frame.code)),
            None => match key.and_then(|key| self.index.get(key)) {
                Some(number) => self.replace(number, message),
                None => self.append(now, key, message),
            },
        };
        match taken {
            Ok(()) => self.counts.pushed += 1,
            Err(_) => self.counts.refused += 1,
        }
        taken
    }

    fn append(
        &mut self,
        now: Time,
        key: Option<u64>,
        message: Outbound<'static>,
    ) -> Result<(), PushError> {
        let size = size(&message);
        while !self.fits(&message) {
            match self.policy {
                Overflow::Wait if self.has_room() => break, // the last message may exceed the bound
                Overflow::Wait => return Err(PushError::Full),
                Overflow::DropOldest => self.drop_front(),
                Overflow::Conflate => {
                    return Err(self.give_up(CloseCode::TRY_AGAIN_LATER, TOO_MUCH));
                }
                Overflow::Disconnect(code) => return Err(self.give_up(code, TOO_MUCH)),
            }
        }
        if let Some(key) = key {
            self.index.insert(key, self.front.wrapping_add(self.queue.len() as u64));
        }
        self.bytes = self.bytes.saturating_add(size);
        self.queue.push_back(Entry { message, key, since: now });
        Ok(())
    }

    fn replace(&mut self, number: u64, message: Outbound<'static>) -> Result<(), PushError> {
        let at = number.wrapping_sub(self.front) as usize;
        let alone = self.queue.len() == 1;
        let Some(entry) = self.queue.get_mut(at) else {
            debug_assert!(false, "the index knows no other numbers");
            return Ok(());
        };
        let bytes = self.bytes.saturating_sub(size(&entry.message)).saturating_add(size(&message));
        // It always fits if it is at most as long as the old one, or alone in the queue.
        if bytes > self.max_bytes && bytes > self.bytes && !alone {
            return Err(self.give_up(CloseCode::TRY_AGAIN_LATER, TOO_MUCH));
        }
        entry.message = message;
        self.bytes = bytes;
        self.counts.conflated += 1;
        Ok(())
    }

    fn look_at_age(&mut self, now: Time) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            match self.policy {
                Overflow::Wait => return, // not reached: `Wait` ignores the age
                Overflow::DropOldest => self.drop_front(),
                Overflow::Conflate => drop(self.give_up(CloseCode::TRY_AGAIN_LATER, TOO_OLD)),
                Overflow::Disconnect(code) => drop(self.give_up(code, TOO_OLD)),
            }
        }
    }

    /// The waiting messages will not be sent.
    fn give_up(&mut self, code: CloseCode, reason: &'static str) -> PushError {
        self.gave_up = Some(CloseFrame::with_reason(code, reason));
        self.counts.dropped += self.queue.len() as u64;
        self.queue = VecDeque::new();
        self.index = Index::default();
        self.bytes = 0;
        PushError::Disconnected(code)
    }

    fn drop_front(&mut self) {
        self.pop();
        self.counts.dropped += 1;
    }

    fn pop(&mut self) -> Option<Outbound<'static>> {
        let entry = self.queue.pop_front()?;
        self.front = self.front.wrapping_add(1);
        self.bytes = self.bytes.saturating_sub(size(&entry.message));
        if let Some(key) = entry.key {
            self.index.remove(key);
        }
        Some(entry.message)
    }
}

/// As [`max_bytes`](Outbox::max_bytes) counts it.
fn size(message: &Outbound<'_>) -> usize {
    message.as_bytes().len().saturating_add(OVERHEAD)
}
