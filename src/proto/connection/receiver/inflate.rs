//! Inflates compressed messages (RFC 7692 §6.2) into a separate buffer.
//!
//! The wire bytes are unmasked in the receive buffer, which drops them once this module has taken
//! them. The output is limited while it grows, so that a decompression bomb is stopped before it
//! fills memory. The receiver enforces the rules on frames and fragments, and their limits.
mod stream;

use super::{Receiver, walk::Stop};
use crate::proto::{
    connection::recv_buffer::{RecvBuffer, SLACK},
    deflate::{
        Deflate, DeflateParams,
        codec::ZlibOutput,
        zlib::{Decompressor, Zlib},
    },
    error::RecvError,
    mask::Masker,
    message::{DataKind, OwnedMessage},
    role::Role,
};
use alloc::boxed::Box;
use stream::Ending;

/// The largest number of bytes that are inflated for one chunk.
const CHUNK: usize = 16 << 10;

/// The receiving side of permessage-deflate.
pub(super) struct Inflate {
    /// Whether the peer compresses with context takeover. If so, messages share a decompressor.
    takeover: bool,
    zlib: Zlib,
    raw: Option<Box<Decompressor>>,
    /// The inflated bytes of the message, except the bytes of earlier chunks.
    pub(super) out: ZlibOutput,
    /// The number of wire bytes in the receive buffer that are unmasked already. They wait because
    /// the output was full, and must not be unmasked again.
    unmasked: usize,
    /// The number of compressed bytes of the message taken so far.
    taken: u64,
    /// The newest compressed bytes of the message, at most 2; `kept` is their number. They wait
    /// until it is known whether the message ends with them, because the end of a message is
    /// inflated differently: see `finish`.
    last: [u8; 2],
    kept: u8,
    /// `Some` if the output became full after the message's last byte was taken.
    ending: Option<Ending<u8>>,
}

impl Receiver {
    /// From now on this end, of role `role`, accepts compressed messages with parameters `agreed`.
    pub(in crate::proto::connection) fn set_deflate(
        &mut self,
        role: Role,
        ours: &Deflate,
        agreed: DeflateParams,
    ) {
        // `agreed` has parameters for each direction. The peer compresses what this end inflates,
        // so the parameters of the peer's role apply.
        let sender = if role == Role::Server { Role::Client } else { Role::Server };
        self.inflate = Zlib::new(ours).map(|zlib| {
            zlib.boxed(Inflate {
                takeover: agreed.of(sender).takeover,
                zlib,
                raw: None,
                out: ZlibOutput::default(),
                unmasked: 0,
                taken: 0,
                last: [0; 2],
                kept: 0,
                ending: None,
            })
        });
    }
}

impl Inflate {
    /// The number of compressed bytes taken so far of the message in progress.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Inflates the next `n` wire bytes of the message. `end`: whether they are the message's last
    /// bytes. Returns the number of bytes taken, and why no more were taken. The output grows to at
    /// most `limit` + 1 bytes; the extra byte shows that the message is too long. Without a limit,
    /// the output grows to at most [`CHUNK`] bytes.
    pub(super) fn take(
        &mut self,
        buf: &mut RecvBuffer,
        n: usize,
        mask: Option<&mut Masker>,
        end: bool,
        limit: Option<usize>,
    ) -> Result<(usize, Stop), RecvError> {
        // The first `unmasked` bytes were unmasked by an earlier call.
        if let Some(mask) = mask {
            mask.apply(buf.get_mut(buf.ahead(0, n)).get_mut(self.unmasked..).unwrap_or_default());
        }
        let most = limit.map_or(CHUNK, |limit| limit.saturating_add(1));
        // `run` may overwrite up to `SLACK` bytes after the `n` bytes, and restores them.
        let (taken, stop) = self.run(buf.get_mut(buf.ahead(0, n + SLACK)), n, end, most)?;
        buf.skip(taken);
        self.unmasked = n - taken;
        self.taken += taken as u64;
        if stop == Stop::End {
            self.end();
        }
        Ok((taken, stop))
    }

    /// Resets the state after a complete message. With context takeover, the next message may refer
    /// to this message, so the decompressor stays. Without takeover, the decompressor is given
    /// back, so that other connections may use it.
    fn end(&mut self) {
        (self.taken, self.kept, self.ending) = (0, 0, None);
        if !self.takeover
            && let Some(raw) = self.raw.take()
        {
            self.zlib.give_decompressor(raw);
        }
    }

    /// Gives the buffer of inflated bytes back to the thread's pool if it is empty. The receiver
    /// calls this when a wait may follow.
    pub(super) fn give_back(&mut self) {
        if self.out.len() == 0 {
            self.out.give();
        }
    }

    /// The inflated message as an owned message.
    pub(super) fn take_message(&mut self, kind: DataKind) -> OwnedMessage {
        let out = &mut self.out;
        match (kind, out.is_well_filled()) {
            (DataKind::Text, true) => out.take_text().into(),
            (DataKind::Text, false) => out.text().into(),
            (DataKind::Binary, true) => out.take().into(),
            (DataKind::Binary, false) => out.bytes().into(),
        }
    }
}
