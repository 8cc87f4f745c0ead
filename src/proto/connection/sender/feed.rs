//! Feeding messages: decides whether a message is admitted, and puts its frame into the buffer.
use super::{Position, Sender, State, encoder::encode};
#[cfg(doc)]
use crate::proto::config::Config;
use crate::proto::{
    error::{SendError, shown},
    frame::{MAX_HEADER_LEN, OpCode, store},
    message::{Chunk, DataKind, Message},
    outbound::{
        Content, IntoOutbound, Outbound,
        prepared::{Prepared, opcode},
    },
    utf8::Utf8Validator,
};
use bytes::Bytes;

/// A frame that is not queued.
pub(crate) struct Offer<'m> {
    head: [u8; MAX_HEADER_LEN],
    head_len: usize,
    pub(crate) payload: &'m [u8],
}

impl Offer<'_> {
    pub(crate) fn head(&self) -> &[u8] {
        self.head.get(..self.head_len).unwrap_or_default()
    }
}

impl Sender {
    /// Queues a message. A payload that is not compressed is copied at most once. A client masks
    /// the payload while it copies. [`Outbound`] lists the accepted types, and says which are not
    /// copied at all.
    ///
    /// `feed` does no I/O and never waits. While fewer bytes than
    /// [`high_water`](Config::high_water) are unsent, `feed` accepts a message of any length.
    /// Otherwise it returns [`Full`](SendError::Full). The adapters' `ready` waits for room.
    ///
    /// # Errors
    ///
    /// [`Full`](SendError::Full), [`Closed`](SendError::Closed),
    /// [`MessageInProgress`](SendError::MessageInProgress). On an error nothing was queued.
    #[inline]
    pub fn feed<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<Position, SendError> {
        let Outbound { content, plain } = message.into();
        // Each arm tries the fast `admits` first. Without it, the slow call checks the state, and
        // may compress or cut.
        match content {
            Content::Borrowed(message) => {
                let b0 = opcode(message.kind()).unfragmented();
                let payload = message.as_bytes();
                match self.admits() {
                    true => self.frame(b0, payload),
                    false => self.feed_slow(b0, payload, plain)?,
                }
            }
            Content::Vec(kind, payload) => self.feed_owned(kind, payload, plain)?,
            Content::Shared(message) => {
                self.feed_owned(message.kind(), Bytes::from(message), plain)?;
            }
            Content::Prepared(message) => {
                let b0 = opcode(message.kind).unfragmented();
                match self.admits() {
                    true => self.frame_owned(b0, &message.payload, Bytes::clone),
                    false => self.feed_prepared_slow(b0, &message, plain)?,
                }
            }
        }
        Ok(self.position())
    }

    /// For when [`admits`](Self::admits) is `false`. Fails if the message may not be fed;
    /// compresses it, cuts it into frames, or both.
    #[inline(never)] // so that the usual case of `feed` stays short
    fn feed_slow(&mut self, b0: u8, payload: &[u8], plain: bool) -> Result<(), SendError> {
        self.admit()?;
        if plain || !self.frame_compressed(b0, payload) {
            self.frames(b0, payload);
        }
        Ok(())
    }

    #[inline(never)]
    fn feed_owned_slow<P: AsRef<[u8]> + Into<Bytes>>(
        &mut self,
        b0: u8,
        payload: P,
        plain: bool,
    ) -> Result<(), SendError> {
        self.admit()?;
        if plain || !self.frame_compressed(b0, payload.as_ref()) {
            self.frames_owned(b0, payload, P::into);
        }
        Ok(())
    }

    #[inline(never)]
    fn feed_prepared_slow(
        &mut self,
        b0: u8,
        message: &Prepared,
        plain: bool,
    ) -> Result<(), SendError> {
        self.admit()?;
        if plain || !self.frame_precompressed(message) {
            self.frames_owned(b0, &message.payload, Bytes::clone);
        }
        Ok(())
    }

    /// To save a copy, a server splices a long uncompressed payload.
    fn feed_owned<P: AsRef<[u8]> + Into<Bytes>>(
        &mut self,
        kind: DataKind,
        payload: P,
        plain: bool,
    ) -> Result<(), SendError> {
        let b0 = opcode(kind).unfragmented();
        if !self.admits() {
            return self.feed_owned_slow(b0, payload, plain);
        }
        self.frame_owned(b0, payload, P::into);
        Ok(())
    }

    /// Queues a chunk of a message as a fragment (§5.4). Returns the position just behind this
    /// chunk. A chunk with [`first`](Chunk::first) begins the message, and a chunk with
    /// [`last`](Chunk::last) ends it. Until the last chunk is queued, [`feed`](Self::feed) refuses
    /// messages, but control frames and messages of [`feed_first`](Self::feed_first) are accepted.
    /// [`message_in_progress`](Self::message_in_progress) tells whether a message is unfinished.
    ///
    /// # Errors
    ///
    /// The errors of [`feed`](Self::feed), with these differences.
    /// [`MessageInProgress`](SendError::MessageInProgress) if a message is in progress and this
    /// chunk has [`first`](Chunk::first) set, or has another kind.
    /// [`NoMessage`](SendError::NoMessage) if no message is in progress and `first` is not set.
    /// [`BadUtf8`](SendError::BadUtf8) if the chunks of a text are not valid UTF-8, or the last
    /// chunk ends inside a character. On an error nothing was queued.
    pub fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        let Chunk { kind, first, data, last } = chunk;
        // Check the state first: `Full` invites a retry, which is pointless once we are closed.
        // Check UTF-8 last, so that a chunk refused with `Full` is validated only once.
        let mut utf8 = match &self.state {
            State::Open if first => Utf8Validator::default(),
            State::Open => return Err(SendError::NoMessage),
            // A clone, because the validator must not change if this chunk is refused.
            State::MidMessage(begun, utf8) if *begun == kind && !first => utf8.clone(),
            State::MidMessage(..) => return Err(SendError::MessageInProgress),
            State::Closing | State::Closed { .. } => return Err(SendError::Closed),
        };
        if !self.has_room() {
            return Err(self.full());
        }
        if kind == DataKind::Text && !utf8.push_all(data, last) {
            return Err(SendError::BadUtf8);
        }
        // Nothing fails from here on, so the compressor never sees a chunk that is not queued.
        let opcode = if first { opcode(kind) } else { OpCode::Continuation };
        let b0 = if last { opcode.unfragmented() } else { opcode as u8 };
        if !self.frame_compressed_chunk(b0, data, first) {
            self.frames(b0, data);
        }
        // Until the last chunk, no other message is placed at the end of `out` (§5.4).
        self.out.open = !last;
        self.state = if last { State::Open } else { State::MidMessage(kind, utf8) };
        self.set_admission();
        Ok(self.position())
    }

    /// Queues a message that overtakes all messages that have not begun to leave. Messages fed this
    /// way do not overtake each other. Use this call for messages that must not wait, such as the
    /// cancel of an order while quotes are queued.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed), and [`Full`](SendError::Full) once
    /// [`buffered_amount`](Self::buffered_amount) is twice [`high_water`](Config::high_water) or
    /// more. On an error nothing was queued. A message in chunks that is in progress causes no
    /// error. But once a byte of its chunks was written, the new message waits until the last chunk
    /// is fed.
    pub fn feed_first<'m>(
        &mut self,
        message: impl IntoOutbound<'m>,
    ) -> Result<Position, SendError> {
        self.overtake(&message.into())
    }

    /// [`feed_first`](Self::feed_first) without its generic parameter. Never compressed: with
    /// context takeover, compressed messages must reach the peer in the order in which they were
    /// compressed, but this one overtakes.
    pub(in crate::proto::connection) fn overtake(
        &mut self,
        message: &Outbound<'_>,
    ) -> Result<Position, SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        // Not `has_room`, which does not count messages that overtake. Twice `high_water`, so that
        // these are still accepted once `feed` returns `Full`.
        if self.buffered_amount() >= self.out.high_water.saturating_mul(2) {
            return Err(self.full());
        }
        let (kind, payload) = message.parts();
        let before = self.urgent.first.len();
        self.frames_first(opcode(kind).unfragmented(), payload);
        Ok(self.ledger.first_fed(self.urgent.first.len() - before))
    }

    // Written before it is queued.

    /// `Some` if this message may be written to a stream with vectored writes at once: nothing
    /// waits before it, and its payload is sent as it is, and too long to be copied. Then call
    /// [`feed_offered`](Self::feed_offered).
    #[inline(always)]
    pub(crate) fn offer<'m>(&self, message: &Outbound<'m>) -> Option<Offer<'m>> {
        match message.content {
            Content::Borrowed(message) if message.as_bytes().len() >= self.min_vectored => {
                self.offer_long(message)
            }
            _ => None,
        }
    }

    #[inline(never)]
    fn offer_long<'m>(&self, message: Message<'m>) -> Option<Offer<'m>> {
        if self.out.len() > 0 || self.frame_waits() || self.encoder.masks() || !self.admits() {
            return None;
        }
        let payload = message.as_bytes();
        let mut head = [0; MAX_HEADER_LEN];
        let b0 = opcode(message.kind()).unfragmented();
        let head_len = store(&mut head, b0, payload.len() as u64, None);
        Some(Offer { head, head_len, payload })
    }

    /// The stream has accepted the first `written` bytes of the frame.
    pub(crate) fn feed_offered(&mut self, offer: &Offer<'_>, written: usize) {
        if written == 0 {
            return self.frame(offer.head[0], offer.payload); // others may still go before it
        }
        self.encoder.count(offer.head[0], offer.payload.len());
        self.out.append_rest(offer.head(), offer.payload, written);
    }

    // Admission.

    /// Right after the message was queued, because `out.fed()` also counts control frames that are
    /// queued later.
    #[inline]
    pub(super) fn position(&self) -> Position {
        Position::in_order(self.out.fed())
    }

    /// Call this after each change of `state` or `deflate`: they and `max_frame` decide whether a
    /// message may be fed, and by which path.
    pub(super) fn set_admission(&mut self) {
        let whole = self.max_frame == usize::MAX;
        let at_once = matches!(self.state, State::Open) && self.deflate.is_none() && whole;
        self.admit_below = if at_once { self.out.high_water } else { 0 };
    }

    /// A message is framed without further checks; if not, `admit` decides. `true` implies
    /// `has_room`, which has the same limit, and counts only those bytes of `out` that were queued
    /// in order.
    #[inline]
    pub(super) fn admits(&self) -> bool {
        self.out.len() < self.admit_below
    }

    #[inline]
    pub(super) fn admit(&self) -> Result<(), SendError> {
        if self.admits() { Ok(()) } else { self.admit_slow() }
    }

    /// A message may be admitted even if `admits` is `false`: that is so if messages may be
    /// compressed, or if overtaking frames fill the buffer, too.
    #[inline(never)]
    fn admit_slow(&self) -> Result<(), SendError> {
        match self.state {
            State::Open if self.has_room() => Ok(()),
            State::Open => Err(self.full()),
            State::MidMessage(..) => Err(SendError::MessageInProgress),
            State::Closing | State::Closed { .. } => Err(SendError::Closed),
        }
    }

    fn full(&self) -> SendError {
        SendError::Full {
            buffered: shown(self.buffered_amount()),
            limit: shown(self.out.high_water),
        }
    }

    #[inline]
    pub(super) fn frame(&mut self, b0: u8, payload: &[u8]) {
        let key = self.encoder.key();
        let n = encode(self.out.room(MAX_HEADER_LEN + payload.len()), b0, payload, key);
        self.out.filled(n);
        self.encoder.count(b0, payload.len());
    }

    /// A client copies and masks the payload, a server copies one of less than `min_vectored`
    /// bytes. Any other is spliced, once `own` has made it owned.
    #[inline]
    pub(super) fn frame_owned<P: AsRef<[u8]>>(
        &mut self,
        b0: u8,
        payload: P,
        own: impl FnOnce(P) -> Bytes,
    ) {
        if self.encoder.masks() || payload.as_ref().len() < self.min_vectored {
            self.frame(b0, payload.as_ref());
        } else {
            self.encoder.splice(&mut self.out, b0, own(payload));
        }
    }
}
