//! Inflates compressed messages (RFC 7692 §6.2) into a separate buffer, whose growth is limited, so
//! that a decompression bomb is stopped before it fills memory.
//!
//! The wire bytes are unmasked in the receive buffer, which drops them once they are taken. The
//! receiver enforces the rules on frames and fragments, and their limits.
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

/// Bytes that are inflated for one chunk, at most.
const CHUNK: usize = 16 << 10;

pub(super) struct Inflate {
    /// The peer compresses with context takeover, so messages share a decompressor.
    takeover: bool,
    zlib: Zlib,
    raw: Option<Box<Decompressor>>,
    /// What was inflated, without the bytes of earlier chunks.
    pub(super) out: ZlibOutput,
    /// Wire bytes in the receive buffer that wait, because the output was full, and must not be
    /// unmasked again.
    unmasked: usize,
    /// Compressed bytes of the message.
    taken: u64,
    /// The newest compressed bytes, at most 2 (`kept`). They wait until it is known whether the
    /// message ends with them, because its end is inflated differently: see `finish`.
    last: [u8; 2],
    kept: u8,
    /// The output became full after the message's last byte was taken.
    ending: Option<Ending<u8>>,
}

impl Receiver {
    /// `role` is that of this end.
    pub(in crate::proto::connection) fn set_deflate(
        &mut self,
        role: Role,
        ours: &Deflate,
        agreed: DeflateParams,
    ) {
        // The peer compresses what this end inflates, so the parameters of the peer's role apply.
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
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes up to `n` wire bytes of the message; `end`: they are its last. Returns how many, and
    /// why no more.
    ///
    /// The output grows to at most `limit` + 1 bytes, of which the extra one shows that the message
    /// is too long, or without a limit to [`CHUNK`].
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

    /// With context takeover, the next message may refer to this one, so the decompressor stays.
    /// Otherwise other connections may use it.
    fn end(&mut self) {
        self.taken = 0;
        self.kept = 0;
        self.ending = None;
        if !self.takeover
            && let Some(raw) = self.raw.take()
        {
            self.zlib.give_decompressor(raw);
        }
    }

    pub(super) fn give_back(&mut self) {
        if self.out.len() == 0 {
            self.out.give();
        }
    }

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
