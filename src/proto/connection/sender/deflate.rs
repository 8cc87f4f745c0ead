//! Compresses messages before they are framed (RFC 7692 §6.1), but only once they are admitted, so
//! that a refused one leaves no trace in the compressor. The first frame of a compressed message
//! has RSV1 set (§6).
use super::Sender;
use crate::proto::{
    deflate::{
        Deflate, DeflateParams,
        codec::{self, Setting, TAIL, ZlibOutput},
        zlib::{Compressor, Zlib},
    },
    frame::{FIN, RSV1},
    outbound::prepared::{Prepared, opcode},
    role::Role,
};
use alloc::boxed::Box;
use core::ops::Range;

pub(super) struct Deflating {
    setting: Setting,
    takeover: bool,
    min_size: usize,
    zlib: Zlib,
    /// Kept from its first use on with context takeover; without, only while a message in chunks is
    /// compressed.
    own: Option<Box<Compressor>>,
    /// Another compressor has compressed a message since `own` last ran: its back-references no
    /// longer fit the peer's window, so `compressor()` resets it.
    stale: bool,
}

impl Sender {
    /// `role` is that of this end. If zlib does not support the agreed window, no message is
    /// compressed.
    pub(in crate::proto::connection) fn set_deflate(
        &mut self,
        role: Role,
        ours: &Deflate,
        agreed: DeflateParams,
    ) {
        let setting = Setting::new(ours, agreed.of(role).window_bits);
        self.deflate = Zlib::new(ours).zip(setting).map(|(zlib, setting)| {
            zlib.boxed(Deflating {
                setting,
                takeover: agreed.of(role).takeover,
                min_size: ours.min_size,
                zlib,
                own: None,
                stale: false,
            })
        });
        self.set_admission();
    }

    /// `false`, with nothing queued, if the message should be sent uncompressed.
    pub(super) fn frame_compressed(&mut self, b0: u8, payload: &[u8]) -> bool {
        let Some(deflate) = &mut self.deflate else {
            return false;
        };
        let mut out = ZlibOutput::default();
        let done = deflate.compress(payload, &mut out);
        self.frame_output(b0, payload.len(), out, done)
    }

    pub(super) fn frame_compressed_built(&mut self, b0: u8, lies: Range<usize>) -> bool {
        let Some(deflate) = &mut self.deflate else {
            return false;
        };
        let mut out = ZlibOutput::default();
        let len = lies.len();
        let done = deflate.compress(self.out.built(lies), &mut out);
        self.frame_output(b0, len, out, done)
    }

    /// Queues `out` if `done`, which is also the result; `len` is the message's length. The buffer
    /// of `out` goes back to the thread's pool.
    fn frame_output(&mut self, b0: u8, len: usize, mut out: ZlibOutput, done: bool) -> bool {
        if done {
            let packed = codec::without_tail(&out);
            self.encoder.counters.packed(len, packed.len());
            self.frames(b0 | RSV1, packed);
        }
        out.give();
        done
    }

    pub(super) fn frame_precompressed(&mut self, message: &Prepared) -> bool {
        let Some(deflate) = &mut self.deflate else {
            return false;
        };
        if !deflate.wants(message.payload()) {
            return false;
        }
        let Some(compressed) = message.compressed(deflate.setting, deflate.zlib) else {
            return false;
        };
        // The peer's window will contain this message, but that of `own` will not, so it has to be
        // reset.
        deflate.stale = deflate.own.is_some();
        self.encoder.counters.packed(message.payload().len(), compressed.len());
        let b0 = RSV1 | opcode(message.kind).unfragmented();
        self.frames_owned(b0, compressed, bytes::Bytes::clone);
        true
    }

    /// `false`, with nothing queued, if the message is not compressed. One of several chunks always
    /// is if the connection compresses, because its length is not known at the first.
    pub(super) fn frame_compressed_chunk(&mut self, b0: u8, data: &[u8], begins: bool) -> bool {
        let last = b0 & FIN != 0;
        if begins && last {
            // A message in one chunk may be too short to compress.
            return self.frame_compressed(b0, data);
        }
        let Some(deflate) = &mut self.deflate else {
            return false;
        };
        let mut out = ZlibOutput::default();
        deflate.chunk(data, last, &mut out);
        self.encoder.counters.packed(data.len(), out.len());
        self.frames(b0 | if begins { RSV1 } else { 0 }, out.bytes());
        out.give();
        true
    }
}

impl Deflating {
    fn wants(&self, payload: &[u8]) -> bool {
        // §7.2.3.6: an empty message would become longer. Also, `compress` needs at least one byte.
        !payload.is_empty() && payload.len() >= self.min_size
    }

    /// `out` must be empty, and ends with `TAIL` on `true`. On `false`, the message should be sent
    /// uncompressed.
    fn compress(&mut self, payload: &[u8], out: &mut ZlibOutput) -> bool {
        if !self.wants(payload) {
            return false;
        }
        if self.takeover {
            // Even if it is longer than the message, which the compressor's window contains now:
            // later messages may refer to it.
            let done = self.compressor().compress(payload, out).is_ok();
            if !done {
                // The window of `own` may contain bytes that the peer will not get: see
                // `compressor`.
                self.own = None;
            }
            return done;
        }
        // No later message refers to this one, so it is sent uncompressed if compressing would not
        // make it shorter.
        self.zlib.compress_alone(self.setting, payload, out)
    }

    /// A compressor that fails must be dropped: a new one refers only to bytes that it compressed
    /// itself, and the peer gets all these.
    fn compressor(&mut self) -> &mut Compressor {
        let own = self.own.get_or_insert_with(|| self.zlib.compressor(self.setting));
        if core::mem::take(&mut self.stale) {
            own.reset();
        }
        own
    }

    /// The output ends at a byte boundary, so the next chunk may come from a new compressor, or be
    /// sent in stored blocks if compressing fails.
    fn chunk(&mut self, data: &[u8], last: bool, out: &mut ZlibOutput) {
        // `Compressor::compress` needs at least one byte.
        if !data.is_empty() && self.compressor().compress(data, out).is_err() {
            // Earlier chunks may have left with RSV1 set, so the message has to stay DEFLATE.
            self.own = None;
            out.clear();
            codec::store(data, out);
        }
        if last {
            // §7.2.1: the last chunk is sent without `TAIL`. One without data is an empty stored
            // block, a zero byte and `TAIL`, so only the zero byte is sent.
            match out.len() {
                0 => out.push(&[0]),
                n => out.truncate(n - TAIL.len()),
            }
            // Without takeover, the next message begins with an empty window.
            if !self.takeover
                && let Some(own) = self.own.take()
            {
                self.zlib.give_compressor(own);
            }
        }
    }
}
