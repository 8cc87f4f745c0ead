//! The state machine, which handles all input that `quick` declines. `Header::parse` enforces the
//! rules within one header; [`Receiver::check`] those that span frames, and those on reserved bits
//! and masking, which depend on the connection.
use super::{
    Current, Delivery, Receiver, State, Step,
    progress::{Handing, InProgress},
};
use crate::proto::{
    close::CloseFrame,
    error::{ProtocolError, RecvError},
    frame::{self, Control, Header, OpCode},
    mask::Masker,
    message::DataKind,
    tape::Note,
    trace,
};
use alloc::boxed::Box;
use core::ops::Range;

struct Taken {
    wire: usize,
    stop: Stop,
    /// What was not handed out yet of the message: a range of the receive buffer or, if it is
    /// compressed, of the inflater's.
    here: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// All received bytes of the frame were taken.
    Input,
    /// The buffer of inflated bytes is full: a message received whole is too long; of one in chunks
    /// or skipped, what is buffered must be handed out or dropped first.
    Full,
    /// The message is complete.
    End,
}

impl Receiver {
    /// The caller must pass the result to `respond`, except for a message, `NeedInput` and
    /// `Closed`, for which that does nothing.
    #[inline(never)] // keeps the callers of `quick` short
    pub(crate) fn step_slow(&mut self, delivery: Delivery) -> Result<Step, RecvError> {
        self.end_message();
        let step = self.walk(delivery);
        // Every later `step` has to return the error again.
        if let Err(error) = step {
            self.fail(error);
        }
        if self.ended() {
            self.inflate = None; // Nothing more is received, so this memory can be freed.
        }
        // At once when its message is over: `quick`, which may take the next steps, gives nothing
        // back.
        if let Some(inflate) = &mut self.inflate
            && !self.inflated
        {
            inflate.give_back();
        }
        self.set_quick(); // last, because it reads everything that changed above
        self.tape.note(match step {
            Ok(Step::NeedInput) => Note::Starved,
            Ok(Step::Closed) | Err(_) => Note::Ended,
            Ok(_) => Note::Delivered,
        });
        step
    }

    #[cold]
    pub(super) fn fail(&mut self, error: RecvError) {
        // Every later `step` comes here again, but only the first call is traced.
        if !matches!(self.state, State::Failed(_)) {
            trace::failed(self.role(), error);
        }
        self.state = State::Failed(error);
    }

    fn walk(&mut self, delivery: Delivery) -> Result<Step, RecvError> {
        if delivery == Delivery::Whole {
            self.want_whole()?;
        }
        loop {
            match &self.state {
                State::Header => {
                    // Even a part of a header, so that a violation is found early.
                    if let [b0, rest @ ..] = self.buf.wire() {
                        self.check(*b0, rest.first())?;
                    }
                    let Some((header, len)) = Header::parse(self.buf.wire())? else {
                        return self.starved();
                    };
                    // A message in chunks has no limit on its length, because no chunk is kept.
                    let whole = delivery == Delivery::Whole && !self.in_chunks();
                    // Before `waits`, so that a frame above a limit fails before its payload has
                    // arrived.
                    self.check_limits(&header, whole)?;
                    if whole && self.waits(&header, len) {
                        return self.starved();
                    }
                    self.begin(header, len);
                }
                State::Payload { .. } => {
                    if let Some(step) = self.take_payload(delivery)? {
                        return Ok(step);
                    }
                }
                &State::Control { opcode, len, mask } => {
                    if self.buf.wire_len() < len {
                        return self.starved();
                    }
                    return self.take_control(opcode, len, mask);
                }
                State::Closed => return Ok(Step::Closed),
                State::Failed(error) => return Err(*error),
            }
        }
    }

    /// The caller may have asked for chunks before. If some were handed out, the rest is skipped.
    fn want_whole(&mut self) -> Result<(), RecvError> {
        let Some(message) = &mut self.message else { return Ok(()) };
        match (message.handing, &self.state) {
            (Handing::Chunks, _) => {
                message.handing = Handing::Skipping;
                Ok(())
            }
            (Handing::Whole, &State::Payload { remaining, .. }) => {
                // If the frame began while the caller asked for chunks, the limits on whole
                // messages were not checked yet.
                let compressed = message.compressed;
                let fragments = message.fragments;
                let kept = self.kept(compressed);
                self.limits.check_message(compressed, kept, remaining, fragments)
            }
            // Between two frames, `walk` checks each header. The rest of a skipped message is not
            // stored.
            _ => Ok(()),
        }
    }

    /// All rules that the first byte of a frame can break and, if the second has arrived, its mask
    /// bit.
    pub(super) fn check(&self, b0: u8, b1: Option<&u8>) -> Result<(), ProtocolError> {
        // §5.2: only an extension defines reserved bits. RFC 7692 §6 defines RSV1 on the first
        // frame of a message.
        let begins = matches!(OpCode::from_bits(b0), Some(OpCode::Text | OpCode::Binary));
        let allowed = if begins && self.inflate.is_some() { frame::RSV1 } else { 0 };
        if b0 & frame::RSV & !allowed != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let (opcode, _) = frame::first_byte(b0)?;
        // §5.4: a continuation needs a message in progress; no message may begin inside another.
        match (opcode, &self.message) {
            (OpCode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(ProtocolError::ExpectedContinuation);
            }
            _ => {} // §5.4: control frames may come between fragments.
        }
        // §5.1: a client masks every frame, and a server masks no frame.
        match b1 {
            Some(b1) if b1 & frame::MASK == self.mask_bit => Ok(()),
            Some(_) if self.mask_bit != 0 => Err(ProtocolError::MaskRequired),
            Some(_) => Err(ProtocolError::MaskForbidden),
            None => Ok(()),
        }
    }

    /// With `whole`, also the limits on the message up to the end of this frame.
    pub(super) fn check_limits(&self, header: &Header, whole: bool) -> Result<(), RecvError> {
        if header.opcode.is_control() {
            return Ok(());
        }
        let begun = self.message.as_ref().map(|message| (message.compressed, message.fragments));
        let (compressed, fragments) = begun.unwrap_or((header.rsv1, 0));
        let more = header.payload_len;
        if whole {
            let kept = self.kept(compressed);
            self.limits.check_message(compressed, kept, more, fragments.saturating_add(1))?;
        }
        self.limits.check_frame(compressed, more)
    }

    /// Payload bytes of the message in progress, before inflating. No meaning once a chunk was
    /// handed out; 0 without a message.
    fn kept(&self, compressed: bool) -> u64 {
        match &self.inflate {
            Some(inflate) if compressed => inflate.taken(),
            _ => self.buf.message().len() as u64,
        }
    }

    /// Whether to leave a frame in the buffer until it is complete, and is handled faster, in one
    /// piece: by `quick`, or by one call that inflates. Only if it is an unfragmented message that
    /// one read can hold, and compressed or shorter than `quick_below`.
    ///
    /// An uncompressed text is validated while it arrives (see `check_text`). So it does not wait
    /// if it is masked, because masked bytes can be checked only after they are taken, or if its
    /// received part cannot begin valid UTF-8, because `walk` has to fail at once.
    pub(super) fn waits(&mut self, header: &Header, len: usize) -> bool {
        self.may_wait(header, len)
            && (header.rsv1 || header.opcode != OpCode::Text || self.begins_text(len))
    }

    /// Whether the frame waits, if it is no text that has to be checked at once.
    pub(super) fn may_wait(&self, header: &Header, len: usize) -> bool {
        header.fin
            && usize::try_from(header.payload_len).is_ok_and(|n| {
                let all = len.saturating_add(n); // `n` is not checked yet, and may be huge.
                (n < self.quick_below || header.rsv1)
                    && self.buf.holds(all)
                    && self.buf.wire_len() < all
            })
            // A continuation belongs to a message in several frames, which `quick` declines. A
            // control frame waits in `State::Control`.
            && (header.rsv1 || matches!(header.opcode, OpCode::Text | OpCode::Binary))
    }

    /// Whether the received part after `header` bytes begins a valid text. `false` for a masked
    /// text, which cannot be checked yet: each byte is unmasked only once, when it is taken.
    #[inline(never)]
    pub(super) fn begins_text(&mut self, header: usize) -> bool {
        self.mask_bit == 0 && self.buf.begins_text(header)
    }

    fn begin(&mut self, header: Header, len: usize) {
        let began = self.stream_position();
        let rsv1 = header.rsv1;
        self.frame_start = began;
        self.buf.skip(len);
        self.kept.not_data = self.kept.not_data.wrapping_add(len as u64);
        let mask = header.masking_key.map(Masker::new);
        match header.opcode {
            OpCode::Continuation => {
                // Always `Some`: `check` refuses a continuation without a message.
                if let Some(message) = &mut self.message {
                    message.fragments = message.fragments.saturating_add(1);
                }
            }
            OpCode::Text => self.message = Some(InProgress::new(DataKind::Text, began, rsv1)),
            OpCode::Binary => self.message = Some(InProgress::new(DataKind::Binary, began, rsv1)),
            opcode @ (OpCode::Close | OpCode::Ping | OpCode::Pong) => {
                let len = header.payload_len as usize; // At most 125, by §5.5.
                self.state = State::Control { opcode, len, mask };
                return;
            }
        }
        // Only the frame: `counters.more` counts the payload when it is taken, and the message at
        // its end; `take_control` counts control frames.
        self.kept.counters.frame(header.opcode as u8, 0);
        self.state = State::Payload { remaining: header.payload_len, fin: header.fin, mask };
    }

    fn take_payload(&mut self, delivery: Delivery) -> Result<Option<Step>, RecvError> {
        let Some(message) = &self.message else {
            return Ok(None); // This never happens: `begin` has set `message`.
        };
        let kind = message.kind;
        let compressed = message.compressed;
        let handing = message.handing;
        let whole = delivery == Delivery::Whole && handing == Handing::Whole;
        let Taken { wire, stop, here } = self.take_data(whole)?;
        let last = stop == Stop::End;
        self.kept.counters.more(wire, last);
        if last {
            self.message = None;
            self.kept.not_data = self.kept.not_data.wrapping_sub(1);
        }
        let shown = match (handing, delivery) {
            // At once, because the rest may be longer than memory.
            (Handing::Skipping, _) => {
                self.let_go(compressed);
                None
            }
            // An empty chunk is handed out only to tell that the message has ended.
            (_, Delivery::Chunks) if last || !here.is_empty() => {
                if let Some(message) = &mut self.message {
                    message.handing = Handing::Chunks;
                }
                Some(Current::Chunk { kind, first: handing == Handing::Whole, last })
            }
            (Handing::Whole, Delivery::Whole) if last => Some(Current::Message(kind)),
            _ => None,
        };
        match shown {
            Some(current) => {
                trace::received(self.role(), here.len());
                self.read.handed_out += u32::from(last);
                // Only moves cursors: the payload stays until the buffer is used again, and `view`
                // still finds it.
                self.buf.release();
                self.current = current;
                self.inflated = compressed && self.inflate.is_some();
                self.view = (here.start, here.end);
                Ok(Some(Step::Message))
            }
            // At `Full` the message is being skipped, and its output was dropped above, so
            // inflating can go on. Otherwise a frame's header is next.
            None if stop == Stop::Full || matches!(self.state, State::Header) => Ok(None),
            None => self.starved().map(Some), // The frame needs more input.
        }
    }

    /// Unmasks, inflates and validates the received part of a data frame, each byte once.
    fn take_data(&mut self, whole: bool) -> Result<Taken, RecvError> {
        let Self { state, message, buf, inflate, limits, kept, .. } = self;
        let (State::Payload { remaining, fin, mask }, Some(message)) = (state, message) else {
            // This never happens: `begin` has set both.
            return Ok(Taken { wire: 0, stop: Stop::Input, here: 0..0 });
        };
        let here = buf.wire_len();
        let n = usize::try_from(*remaining).map_or(here, |r| r.min(here));
        let end = *fin && n as u64 == *remaining;
        let (wire, stop, bytes, here) = match inflate {
            Some(inflate) if message.compressed => {
                let limit = whole.then_some(limits.max_message);
                let before = inflate.out.bytes().len();
                let (wire, stop) = inflate.take(buf, n, mask.as_mut(), end, limit)?;
                let (bytes, here) = inflate.out.bytes_mut();
                kept.counters.packed(here.len() - before, wire);
                (wire, stop, bytes, here)
            }
            _ => {
                let piece = buf.take_into_message(n);
                if let Some(mask) = mask {
                    mask.apply(buf.get_mut(piece));
                }
                let (bytes, here) = buf.message_mut();
                (n, if end { Stop::End } else { Stop::Input }, bytes, here)
            }
        };
        // The length of a compressed message is known only after inflating.
        let too_big = whole && here.len() > limits.max_message;
        // Before the length, so that an invalid byte is found first, as it would be in shorter
        // pieces. If the text is too long it may go on after these `max_message` + 1 bytes, so
        // `last` is `false`.
        if message.kind == DataKind::Text {
            let last = stop == Stop::End && !too_big;
            message.check_text(bytes, here.clone(), whole, last)?;
        }
        if too_big {
            return Err(limits.message_too_big());
        }
        *remaining -= wire as u64;
        // At `Full`, more output of this frame is still to come, even if `remaining` is 0.
        if *remaining == 0 && stop != Stop::Full {
            self.state = State::Header;
        }
        Ok(Taken { wire, stop, here })
    }

    fn let_go(&mut self, compressed: bool) {
        match &mut self.inflate {
            Some(inflate) if compressed => inflate.out.clear(),
            _ => self.buf.release(),
        }
    }

    /// The body of a Close is copied, because `close_frame` has to return it even after the buffer
    /// is reused.
    fn take_control(
        &mut self,
        opcode: OpCode,
        len: usize,
        mask: Option<Masker>,
    ) -> Result<Step, RecvError> {
        let role = self.role();
        let range = self.buf.take_aside(len);
        self.kept.not_data = self.kept.not_data.wrapping_add(len as u64);
        let payload = self.buf.get_mut(range.clone());
        if let Some(mut mask) = mask {
            mask.apply(payload);
        }
        self.state = State::Header;
        self.kept.counters.frame(opcode.unfragmented(), len);
        let step = match opcode {
            OpCode::Ping => Step::Ping,
            OpCode::Pong => Step::Pong,
            // A Close: `begin` makes `State::Control` only for these three opcodes.
            _ => {
                trace::close_received(role, CloseFrame::parse(payload)?);
                self.close = Control::new([payload]).map(Box::new);
                self.state = State::Closed;
                Step::Close
            }
        };
        self.current = Current::Control(opcode);
        self.view = (range.start, range.end);
        Ok(step)
    }

    fn starved(&self) -> Result<Step, RecvError> {
        // A passed deadline's error comes first, because `handle_timeout` has returned it already.
        match (self.cut_off_by, self.eof) {
            (Some(error), _) => Err(error),
            (None, true) => Err(RecvError::UnexpectedEof),
            (None, false) => Ok(Step::NeedInput),
        }
    }
}
