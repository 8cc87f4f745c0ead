//! What has to hold of an end: the connection's own account is held against the record.
use crate::{
    end::{End, Seen, Stopped},
    wire::{BAD, CLOSE, Frame, PING, PONG},
};
use tickwire::Ending;

impl End {
    /// The rules of what may follow what on the wire.
    pub(crate) fn may_begin(&self, b0: u8) -> Result<(), String> {
        let frame = Frame { b0, start: 0, end: None };
        let closed = self.out.frames.iter().any(|f| f.b0 == CLOSE);
        if closed && b0 == CLOSE {
            return Err("a second Close".into());
        }
        if closed && frame.is_data() {
            return Err("a data frame behind our Close".into());
        }
        let failed = self.failed || matches!(self.stopped, Stopped::Failed(_));
        if closed && (self.peers_close().is_some() || failed) {
            return Err(format!("a frame, {b0:02x}, behind the last Close"));
        }
        if frame.is_data() && self.out.bytes.len() >= self.aborted_at {
            return Err("a data frame begins behind an abort".into());
        }
        Ok(())
    }

    /// What was written is what was fed, in order; a Pong answers a Ping that was seen.
    pub(crate) fn written(&self) -> Result<(), String> {
        for (frame, fed) in self.out.data().zip(&self.fed) {
            if frame.b0 != fed.b0 || self.out.payload(frame) != fed.payload {
                return Err(format!("{frame:?} was not fed"));
            }
        }
        let mut pings = self.seen.iter();
        let mut probes = self.pings.iter();
        for frame in self.out.whole() {
            let payload = self.out.payload(frame);
            let known = match frame.b0 {
                PONG => pings.any(|seen| matches!(seen, Seen::Ping(ping) if *ping == payload)),
                // The heartbeat's are of four bytes.
                PING => payload.len() == 4 || probes.any(|ping| *ping == payload),
                _ => true,
            };
            if !known {
                return Err(format!("{frame:?} answers nothing"));
            }
        }
        Ok(())
    }

    pub(crate) fn delivered(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.seen.iter().filter_map(|seen| match seen {
            Seen::Message(message) => Some(message),
            _ => None,
        })
    }

    /// What was seen last is what came.
    pub(crate) fn expected(&self) -> Result<(), String> {
        let came = &self.came;
        let controls = |b0| came.whole().filter(move |f| f.b0 == b0).map(|f| came.payload(f));
        let seen = |b0: u8| {
            self.seen.iter().filter_map(move |seen| match seen {
                Seen::Ping(payload) if b0 == PING => Some(payload.clone()),
                Seen::Pong(payload) if b0 == PONG => Some(payload.clone()),
                _ => None,
            })
        };
        let begins = |seen: Vec<Vec<u8>>, all: Vec<Vec<u8>>| all.starts_with(&seen);
        let ok = begins(self.delivered().cloned().collect(), came.messages())
            && [PING, PONG].iter().all(|&b0| begins(seen(b0).collect(), controls(b0).collect()));
        let closes = self.seen.iter().filter(|seen| matches!(seen, Seen::Close(_))).count();
        let last = closes == 0 || matches!(self.seen.last(), Some(Seen::Close(_)));
        if ok && closes <= 1 && last {
            Ok(())
        } else {
            Err(format!("what is seen did not come: {:?}", self.seen))
        }
    }

    fn peers_close(&self) -> Option<Option<u16>> {
        self.seen.iter().find_map(|seen| match seen {
            Seen::Close(code) => Some(*code),
            _ => None,
        })
    }

    /// The bytes of messages that were fed and not written.
    fn unwritten(&self) -> u64 {
        let data = self.out.frames.iter().filter(|f| f.is_data() && f.b0 != BAD);
        let here = self.out.bytes.len();
        let written =
            data.map(|f| f.end.map_or(here, |end| end.min(here)) - f.start).sum::<usize>();
        (self.fed.iter().map(|fed| fed.wire_len).sum::<usize>() - written) as u64
    }

    /// What the connection says of itself is what happened.
    pub(crate) fn check(&self) -> Result<(), String> {
        let state = self.conn.ready_state();
        if state < self.last_state {
            return Err(format!("{:?} -> {state:?}", self.last_state));
        }
        self.check_closed()?;
        let tx = self.conn.sender();
        let whole = self.out.data().count();
        for (at, fed) in self.fed.iter().enumerate() {
            if tx.is_written(fed.position) != (at < whole) {
                return Err(format!("message {at} is written: {}, {whole} are", at >= whole));
            }
        }
        let (dropped, unwritten) = (tx.dropped(), self.unwritten());
        let exact = tx.buffered_amount() == 0;
        if dropped > unwritten || (exact && dropped < unwritten) {
            return Err(format!("{dropped} bytes dropped, {unwritten} not written"));
        }
        let flushes = self.stopped != Stopped::NeedInput && self.conn.ending() == Ending::Flush;
        if exact && flushes && !self.dirty && !self.gone {
            return Err("it is to flush, and has nothing to write".into());
        }
        if self.gone && !exact {
            return Err("it is over with bytes to write".into());
        }
        Ok(())
    }

    fn check_closed(&self) -> Result<(), String> {
        let Some(end) = self.conn.closed() else {
            let over = self.stopped != Stopped::NeedInput || self.peers_close().is_some();
            return if over { Err("it is over, and does not say so".into()) } else { Ok(()) };
        };
        let theirs = self.peers_close();
        let code = theirs.map_or(1006, |code| code.unwrap_or(1005));
        let clean = theirs.is_some() && self.out.whole().any(|f| f.b0 == CLOSE);
        if (end.code, end.clean) != (code, clean) {
            return Err(format!("{end:?}, and it was {code}, clean: {clean}"));
        }
        if end.error.is_some() == theirs.is_some() {
            return Err(format!("{end:?} after {:?}", self.seen));
        }
        let open = self.came.data().next_back().is_some_and(|frame| frame.b0 & 0x80 == 0);
        if end.cut.is_some() != (theirs.is_some() && open) {
            return Err(format!("{end:?}, and a message was cut: {open}"));
        }
        Ok(())
    }
}
