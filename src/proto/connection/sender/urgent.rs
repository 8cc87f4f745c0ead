//! Frames that may overtake data fed earlier: control frames and messages. They wait here, beside
//! the outgoing buffer, until [`Urgent::place`] gives them a place in that buffer.
use super::{encoder::Encoder, ledger::Ledger};
use crate::proto::{
    connection::{out_buffer::OutBuffer, rtt::Trips},
    frame::{Control, MAX_CONTROL_LEN, OpCode},
    time::Time,
};
use alloc::{boxed::Box, vec::Vec};

/// The frames that wait. If you add a field, see [`Sender::from_kept`](super::Sender::from_kept).
#[derive(Default)]
pub(super) struct Urgent {
    /// The payloads of the waiting Pongs, each preceded by its length.
    pongs: Vec<u8>,
    /// The number of Pongs queued since the last `place_controls` or `drop_controls`. It is
    /// `MAX_PONGS` if `push_pong` has dropped Pongs since then.
    pinged: u8,
    /// The payload of the waiting Ping, preceded by its length; empty if no Ping waits. This is a
    /// `Vec`, because most connections never send a Ping, and an array would enlarge every
    /// connection.
    ping: Vec<u8>,
    /// Where the heartbeat's last Ping is. Invariant: while `beat` is `Owed`, `ping` is not empty.
    beat: BeatPing,
    /// The measurements of round trips and their results; `None` before the first measured Ping.
    pub(super) trips: Option<Box<Trips>>,
    /// A Close that may overtake. The Close of `Sender::abort` overtakes at once. The Close of
    /// `Sender::fail` overtakes only if the stream is blocked. Boxed, because most connections
    /// never need this field.
    pub(super) close: Option<Box<(Control, AtOnce)>>,
    /// Whether our Close must be the last frame that is queued. This is `true` once the peer's
    /// Close came, receiving has failed, or this end has failed the connection.
    pub(super) close_is_last: bool,
    /// The frames of messages that overtake and have no place yet. The ledger counts them as fed.
    pub(super) first: Vec<u8>,
}

/// Whether a Close overtakes queued messages even if the stream is not blocked.
pub(super) type AtOnce = bool;

/// If at most this many Pongs wait, every Ping is answered. If more would wait, only the newest
/// Ping is answered (§5.5.3), so that a flood of Pings cannot fill memory with Pongs.
const MAX_PONGS: u8 = 16;

/// Where the heartbeat's last Ping is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BeatPing {
    #[default]
    None,
    /// The Ping waits in `ping` until `place_controls` gives it a place.
    Owed,
    /// The Ping was placed among control frames that overtake.
    Overtaking,
    /// The Ping was queued in order, and ends at this position.
    Queued(u64),
}

/// The parts of a sender that are needed to queue control frames in its buffer.
pub(super) struct Tail<'a> {
    pub(super) out: &'a mut OutBuffer,
    pub(super) encoder: &'a mut Encoder,
    pub(super) ledger: &'a mut Ledger,
}

impl Tail<'_> {
    /// Queues a control frame in order, at the end of `out`, and tells the ledger. Any frame that
    /// has to go before this frame must have its place already.
    pub(super) fn append(&mut self, opcode: OpCode, payload: &[u8]) {
        let Self { out, encoder, .. } = self;
        let start = out.fed();
        encoder.control(opcode, payload, |frame| out.append(frame));
        self.ledger.controls_queued(start, self.out);
        if opcode == OpCode::Close {
            self.ledger.close_end = self.out.fed();
        }
    }
}

impl Urgent {
    // Frames that wait.

    /// Queues a Pong. `payload` has at most 125 bytes. If `MAX_PONGS` Pongs wait already, drops
    /// them, and queues only the new Pong. From then on each Pong replaces the waiting Pong, until
    /// [`place_controls`](Self::place_controls) places it and sets `pinged` to 0. For the sake of
    /// devices with little memory, `high_water` also limits the total bytes of the waiting Pongs.
    /// More bytes have the same effect as too many Pongs. The first two Pongs always have room. So
    /// even with a low `high_water`, one Pong of the application does not displace the answer to a
    /// Ping.
    pub(super) fn push_pong(&mut self, payload: &[u8], high_water: usize) {
        let limit = high_water.max(2 * (1 + MAX_CONTROL_LEN)); // 1 for the length of the payload
        if self.pinged == MAX_PONGS || self.pongs.len() + payload.len() >= limit {
            self.pongs.clear();
            self.pinged = MAX_PONGS; // From here on, only the newest Ping is answered.
        } else {
            self.pinged += 1;
        }
        self.pongs.push(payload.len() as u8); // At most 125, by §5.5.
        self.pongs.extend_from_slice(payload);
    }

    /// Queues a Ping, and drops a Ping that waits, so that only the newest is sent. `payload` has
    /// at most 125 bytes. A waiting Ping of the heartbeat may be replaced, because the Pong of any
    /// Ping is a sign of life.
    pub(super) fn set_ping(&mut self, payload: &[u8]) {
        self.drop_ping();
        self.ping.push(payload.len() as u8);
        self.ping.extend_from_slice(payload);
    }

    /// Queues a Ping whose round trip is measured.
    pub(super) fn measure_rtt(&mut self, now: Time) {
        // `drop_ping` comes before `begin`. In the other order `drop_ping` could forget the new
        // Ping, because two Pings queued at the same `now` have the same mark.
        self.drop_ping();
        let mark = self.trips.get_or_insert_default().begin(now);
        self.set_ping(&mark);
    }

    /// Drops the waiting Ping, and stops measuring its round trip, because no Pong will come.
    fn drop_ping(&mut self) {
        if let Some(trips) = &mut self.trips {
            payloads(&self.ping).for_each(|unsent| trips.forget(unsent));
        }
        self.ping.clear();
    }

    /// Drops the overtaking messages that wait for a place, and counts them as dropped.
    pub(super) fn drop_first(&mut self, ledger: &mut Ledger) {
        ledger.first_dropped(self.first.len());
        self.first = Vec::new();
    }

    /// Drops the waiting Pongs and the waiting Ping, and frees their memory. No Ping or Pong is
    /// queued afterwards. The dropped Ping may stay in `trips`, where it could only disturb the
    /// measuring of later Pings. `pinged` and `beat` are reset only to keep the documentation of
    /// these fields true.
    pub(super) fn drop_controls(&mut self) {
        (self.pongs, self.pinged) = (Vec::new(), 0);
        (self.ping, self.beat) = (Vec::new(), BeatPing::None);
    }

    /// Drops all waiting frames. The ledger must have counted the messages as dropped before.
    pub(super) fn clear(&mut self) {
        self.drop_controls();
        self.close = None;
        self.first = Vec::new();
    }

    #[inline]
    pub(super) fn has_controls(&self) -> bool {
        !self.pongs.is_empty() || !self.ping.is_empty()
    }

    /// Returns the waiting Pongs, then the Ping. `place_controls` relies on the Ping being last.
    fn controls(&self) -> impl Iterator<Item = (OpCode, &[u8])> {
        let pongs = payloads(&self.pongs).map(|payload| (OpCode::Pong, payload));
        pongs.chain(payloads(&self.ping).map(|payload| (OpCode::Ping, payload)))
    }

    /// The length in bytes of all waiting frames; `header` is the length of a control frame's
    /// header.
    pub(super) fn len(&self, header: usize) -> usize {
        let close = self.close.as_ref().map(|close| close.0.payload());
        let controls = self.controls().map(|(_, payload)| payload).chain(close);
        controls.map(|payload| header + payload.len()).sum::<usize>() + self.first.len()
    }

    // Placing.

    /// Places the waiting frames into `to`. Frames that must wait longer stay in `self`.
    /// `Sender::has_outgoing` predicts whether `to` has bytes to write afterwards, so change
    /// `has_outgoing` and `place` together.
    pub(super) fn place(&mut self, to: &mut Tail<'_>) {
        // A Close that overtakes comes first, because it drops the messages, also those in `first`.
        // Waiting control frames go behind the Close, or are dropped if nothing may follow the
        // Close.
        if let Some(close) = self.close.take_if(|close| close.1 || to.out.refused()) {
            self.cut(&close.0, to);
        }
        // New control frames wait until all control frames that overtook before are written. If new
        // frames joined the earlier frames at each write, a flood of Pings would let the buffer
        // grow. `MAX_PONGS` would not stop this: it bounds only the Pongs that wait. `beat_written`
        // would also stay `false` during the flood.
        if to.out.takes_controls() && self.has_controls() {
            self.place_controls(to);
        }
        // The messages go behind the control frames placed above.
        if !self.first.is_empty() {
            to.out.overtake_messages(&mut self.first);
        }
        // The Close of `fail` may still wait in `close`. Once everything before this Close has been
        // written, the Close is queued in order. This step comes last, so that the frames placed
        // above go before the Close. Overtaking messages that still wait for the end of a message
        // in chunks are dropped, because that end never comes now.
        if to.out.len() == 0
            && let Some(close) = self.close.take()
        {
            self.drop_first(to.ledger);
            to.append(OpCode::Close, close.0.payload());
        }
    }

    /// Places a Close behind the frame under way and behind the control frames that have a place.
    /// Drops all data frames that have not begun to leave. The frame under way stays whole, because
    /// the peer could not parse a Close inside it. `close_now` has told the ledger where the data
    /// ended.
    fn cut(&mut self, body: &Control, to: &mut Tail<'_>) {
        // `close_is_last` is `false` only for an abort before the peer's Close came. In this case
        // Pings and Pongs may follow our Close.
        if self.close_is_last {
            self.drop_controls();
        }
        // `truncate` returns one number for both sequences, but the ledger needs a number for each.
        let mut first = to.out.first_len();
        let dropped = to.out.truncate();
        first -= to.out.first_len();
        to.ledger.first_dropped(first);
        // This precedes `append`, which adds the Close to `out.fed()`: the Close gets the positions
        // of the dropped bytes.
        to.ledger.in_order_dropped(dropped - first, to.out.fed());
        self.drop_first(to.ledger);
        to.append(OpCode::Close, body.payload());
    }

    /// Places the waiting Pongs and the waiting Ping. At least one frame must wait. The new frames
    /// go behind the control frames that overtake already. (While control frames overtake, only
    /// `close_in_order` calls this function.) If the buffer has no bytes to write, the new frames
    /// need not overtake, and are queued in order.
    pub(super) fn place_controls(&mut self, to: &mut Tail<'_>) {
        let Tail { out, encoder, ledger } = to;
        let frames = &mut out.controls;
        let placed = frames.len();
        for (opcode, payload) in self.controls() {
            encoder.control(opcode, payload, |frame| frames.extend_from_slice(frame));
        }
        // `drop_ping` would also forget the round trip, but this Ping is sent, and its Pong counts.
        self.pongs.clear();
        self.pinged = 0;
        self.ping.clear();
        let overtake = out.len() > 0; // before the placing, which changes `len`
        if overtake {
            out.place_controls(placed);
        } else {
            let start = out.fed();
            out.append_controls();
            ledger.controls_queued(start, out);
        }
        // If the new frames were queued in order, the Ping, which is the last, ends at `out.fed()`.
        if self.beat == BeatPing::Owed {
            self.beat = if overtake { BeatPing::Overtaking } else { BeatPing::Queued(out.fed()) };
        }
    }

    // The heartbeat.

    pub(super) fn owe_beat(&mut self, now: Time) {
        // A waiting Ping, of the caller or of the heartbeat, serves as the heartbeat's Ping.
        if self.ping.is_empty() {
            self.measure_rtt(now);
        }
        self.beat = BeatPing::Owed;
    }

    /// Whether the heartbeat's last Ping was written. After a `true`, the result may be `false`
    /// again while other control frames overtake. So the module `timers`, the only caller, stops
    /// asking at the first `true`. It asks again about the same Ping only if the epoch changes.
    pub(super) fn beat_written(&self, out: &OutBuffer) -> bool {
        match self.beat {
            BeatPing::None | BeatPing::Owed => false,
            BeatPing::Overtaking => out.takes_controls(),
            BeatPing::Queued(at) => out.written() >= at,
        }
    }
}

/// Splits a list of payloads, each preceded by its length. Only this file makes such lists, so no
/// list ends inside a payload.
fn payloads(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (&len, tail) = rest.split_first()?;
        let (payload, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some(payload)
    })
}
