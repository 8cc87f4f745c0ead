//! Frames that may overtake data fed earlier: control frames and messages. They wait here until
//! [`Urgent::place`] gives them a place in the outgoing buffer.
use super::{encoder::Encoder, ledger::Ledger};
use crate::proto::{
    connection::{out_buffer::OutBuffer, rtt::Trips},
    frame::{Control, MAX_CONTROL_LEN, OpCode},
    time::Time,
};
use alloc::{boxed::Box, vec::Vec};

/// If you add a field, see [`Sender::from_kept`](super::Sender::from_kept).
#[derive(Default)]
pub(super) struct Urgent {
    /// The payloads, each preceded by its length.
    pongs: Vec<u8>,
    /// Pongs queued since the last `place_controls` or `drop_controls`; `MAX_PONGS` if `push_pong`
    /// has dropped some since.
    pinged: u8,
    /// The payload, preceded by its length; empty if none waits. A `Vec`, because most connections
    /// never send a Ping, and an array would enlarge every connection.
    ping: Vec<u8>,
    /// Invariant: while `Owed`, `ping` is not empty.
    beat: BeatPing,
    /// `None` before the first measured Ping.
    pub(super) trips: Option<Box<Trips>>,
    /// The Close of `Sender::abort` overtakes at once, that of `Sender::fail` only if the stream is
    /// blocked. Boxed, because most connections never need this.
    pub(super) close: Option<Box<(Control, AtOnce)>>,
    /// Our Close must be the last frame: the peer's Close came, receiving has failed, or this end
    /// has failed the connection.
    pub(super) close_is_last: bool,
    /// Messages that overtake and have no place yet, as frames. The ledger counts them as fed.
    pub(super) first: Vec<u8>,
}

/// Even if the stream is not blocked.
pub(super) type AtOnce = bool;

/// If more would wait, only the newest Ping is answered (§5.5.3), so that a flood of Pings cannot
/// fill memory with Pongs.
const MAX_PONGS: u8 = 16;

/// Where the heartbeat's last Ping is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BeatPing {
    #[default]
    None,
    /// Waits in `ping` until `place_controls` gives it a place.
    Owed,
    /// Among control frames that overtake.
    Overtaking,
    /// It is queued in order, and ends at this position.
    Queued(u64),
}

/// What queues control frames in the sender's buffer.
pub(super) struct Tail<'a> {
    pub(super) out: &'a mut OutBuffer,
    pub(super) encoder: &'a mut Encoder,
    pub(super) ledger: &'a mut Ledger,
}

impl Tail<'_> {
    /// Appends a control frame at the end of `out`. Any frame that has to go before must have its
    /// place already.
    pub(super) fn append(&mut self, opcode: OpCode, payload: &[u8]) {
        let Self { out, encoder, .. } = self;
        let start = out.fed();
        encoder.control(opcode, payload, |frame| out.append(frame));
        self.appended(opcode, start);
    }

    fn appended(&mut self, opcode: OpCode, start: u64) {
        self.ledger.controls_queued(start, self.out);
        if opcode == OpCode::Close {
            self.ledger.close_end = self.out.fed();
        }
    }

    /// A Close that `Urgent::cut` has dropped, as it was encoded and counted then.
    pub(super) fn append_again(&mut self, close: &[u8]) {
        let start = self.out.fed();
        self.out.append(close);
        self.appended(OpCode::Close, start);
    }
}

impl Urgent {
    /// `payload` has at most 125 bytes. If `MAX_PONGS` wait already, drops them; from then on each
    /// Pong replaces the waiting one, until [`place_controls`](Self::place_controls) sets `pinged`
    /// to 0.
    ///
    /// For the sake of devices with little memory, `high_water` limits the waiting bytes in the
    /// same way. The first two always have room, so even with a low `high_water`, one Pong of the
    /// application does not displace the answer to a Ping.
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

    /// Drops a Ping that waits, so that only the newest is sent. `payload` has at most 125 bytes.
    /// The heartbeat's may be replaced, because the Pong of any Ping is a sign of life.
    pub(super) fn set_ping(&mut self, payload: &[u8]) {
        self.drop_ping();
        self.ping.push(payload.len() as u8);
        self.ping.extend_from_slice(payload);
    }

    pub(super) fn measure_rtt(&mut self, now: Time) {
        // First: two Pings queued at the same `now` have the same mark, so after `begin` this could
        // forget the new one.
        self.drop_ping();
        let mark = self.trips.get_or_insert_default().begin(now);
        self.set_ping(&mark);
    }

    /// No Pong will come, so its round trip is no longer measured.
    fn drop_ping(&mut self) {
        if let Some(trips) = &mut self.trips {
            payloads(&self.ping).for_each(|unsent| trips.forget(unsent));
        }
        self.ping.clear();
    }

    pub(super) fn drop_first(&mut self, ledger: &mut Ledger) {
        ledger.first_dropped(self.first.len());
        self.first = Vec::new();
    }

    /// No Ping or Pong is queued afterwards. The dropped Ping may stay in `trips`, where it could
    /// only disturb the measuring of later ones. `pinged` and `beat` are reset only to keep the
    /// documentation of these fields true.
    pub(super) fn drop_controls(&mut self) {
        self.pongs = Vec::new();
        self.pinged = 0;
        self.ping = Vec::new();
        self.beat = BeatPing::None;
    }

    /// The ledger must have counted the messages as dropped before.
    pub(super) fn clear(&mut self) {
        self.drop_controls();
        self.close = None;
        self.first = Vec::new();
    }

    #[inline]
    pub(super) fn has_controls(&self) -> bool {
        !self.pongs.is_empty() || !self.ping.is_empty()
    }

    /// `place_controls` relies on the Ping being last.
    fn controls(&self) -> impl Iterator<Item = (OpCode, &[u8])> {
        let pongs = payloads(&self.pongs).map(|payload| (OpCode::Pong, payload));
        pongs.chain(payloads(&self.ping).map(|payload| (OpCode::Ping, payload)))
    }

    /// How many bytes these frames take; `header` is the length of a control frame's header.
    pub(super) fn len(&self, header: usize) -> usize {
        let close = self.close.as_ref().map(|close| close.0.payload());
        let controls = self.controls().map(|(_, payload)| payload).chain(close);
        controls.map(|payload| header + payload.len()).sum::<usize>() + self.first.len()
    }

    /// What must wait longer stays in `self`. `Sender::has_outgoing` predicts whether `to` has
    /// bytes to write afterwards, so change both together.
    pub(super) fn place(&mut self, to: &mut Tail<'_>) {
        // A Close that overtakes comes first, because it drops the messages, also those in `first`.
        // Waiting control frames go behind it, or are dropped if nothing may follow.
        if let Some(close) = self.close.take_if(|close| close.1 || to.out.refused()) {
            self.cut(0, to);
            to.append(OpCode::Close, close.0.payload());
        }
        // Wait until the last batch of control frames is written. `MAX_PONGS` bounds only the Pongs
        // that wait here, so if we placed more at every write, a flood of Pings would grow the
        // buffer, and `beat_written` would never become true.
        if to.out.takes_controls() && self.has_controls() {
            self.place_controls(to);
        }
        // Behind the control frames placed above.
        if !self.first.is_empty() {
            to.out.overtake_messages(&mut self.first);
        }
        // The Close of `fail` is queued in order once everything before it has been written: last,
        // so that the frames placed above go before it. Overtaking messages that still wait for the
        // end of a message in chunks are dropped, because that never comes now.
        if to.out.len() == 0
            && let Some(close) = self.close.take()
        {
            self.drop_first(to.ledger);
            to.append(OpCode::Close, close.0.payload());
        }
    }

    /// For a Close that goes behind the frame under way, inside which the peer could not parse it,
    /// and the control frames that have a place: drops all data frames that have not begun to
    /// leave, and with them a Close of `queued` bytes that lies behind them. `close_now`, or that
    /// Close, has told the ledger where the data ended. If `true`, the caller must append the Close
    /// at once; otherwise there were no such frames, and the queued one keeps its place.
    pub(super) fn cut(&mut self, queued: usize, to: &mut Tail<'_>) -> bool {
        // `false` only for an abort before the peer's Close came, behind which Pings and Pongs may
        // follow.
        if self.close_is_last {
            self.drop_controls();
        }
        // `truncate` returns one number for both sequences, but the ledger needs one for each.
        let mut first = to.out.first_len();
        let dropped = to.out.truncate();
        first -= to.out.first_len();
        to.ledger.first_dropped(first);
        let in_order = dropped - first;
        if queued > 0 && in_order == 0 {
            return false;
        }
        // Before `append`, which adds the Close to `out.fed()`: it gets the positions of the
        // dropped bytes.
        to.ledger.in_order_dropped(in_order - queued, to.out.fed());
        self.drop_first(to.ledger);
        true
    }

    /// Gives the waiting control frames their place; at least one must wait. They go behind the
    /// control frames that overtake already (only `close_in_order` calls this while there are some)
    /// or, if the buffer has no bytes to write, are queued in order.
    pub(super) fn place_controls(&mut self, to: &mut Tail<'_>) {
        let Tail { out, encoder, ledger } = to;
        let frames = &mut out.controls;
        let placed = frames.len();
        for (opcode, payload) in self.controls() {
            encoder.control(opcode, payload, |frame| frames.extend_from_slice(frame));
        }
        // Not by `drop_ping`, which would also forget the round trip: this Ping is sent, and its
        // Pong counts.
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
        // If queued in order, the Ping, which is the last, ends at `out.fed()`.
        if self.beat == BeatPing::Owed {
            self.beat = if overtake { BeatPing::Overtaking } else { BeatPing::Queued(out.fed()) };
        }
    }

    pub(super) fn owe_beat(&mut self, now: Time) {
        // Of the caller or of the heartbeat: it serves as the heartbeat's.
        if self.ping.is_empty() {
            self.measure_rtt(now);
        }
        self.beat = BeatPing::Owed;
    }

    /// May be `false` again after a `true`, while other control frames overtake. So `timers`, the
    /// only caller, stops asking at the first `true`, and asks again about the same Ping only if
    /// the epoch changes.
    pub(super) fn beat_written(&self, out: &OutBuffer) -> bool {
        match self.beat {
            BeatPing::None | BeatPing::Owed => false,
            BeatPing::Overtaking => out.takes_controls(),
            BeatPing::Queued(at) => out.written() >= at,
        }
    }
}

/// Each preceded by its length. Only this file makes such lists, so none ends inside a payload.
fn payloads(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (&len, tail) = rest.split_first()?;
        let (payload, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        Some(payload)
    })
}
