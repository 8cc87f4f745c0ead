//! Compresses a prepared message once for each setting in use.
use super::{Encoded, Prepared, opcode};
use crate::proto::{
    deflate::codec::{self, Output, Setting},
    frame::Header,
};
use std::{
    boxed::Box,
    sync::{Arc, OnceLock},
};

/// The compressed forms of a message; `None` if the message must not be compressed.
#[derive(Clone)]
pub(super) struct Packed(Option<Arc<Slot>>);

impl Packed {
    pub(super) fn new(allowed: bool) -> Self {
        Self(allowed.then(Arc::default))
    }
}

/// A linked list with one entry for each setting in use. An entry is made when it is first needed.
/// Each link is a `OnceLock`, so that all threads share the entries, and read them without a lock.
type Slot = OnceLock<Box<Compressed>>;

/// The message compressed with one setting.
struct Compressed {
    setting: Setting,
    /// The compressed message; `None` if compression would not make the message shorter, or if zlib
    /// failed.
    encoded: Option<Encoded>,
    next: Slot,
}

impl Prepared {
    /// Returns the message compressed with `setting`. `None` if the message must not be compressed
    /// or would not become shorter, or if zlib failed. `memory` is
    /// [`Deflate::memory`](crate::deflate::Deflate::memory).
    pub(crate) fn compressed(&self, setting: Setting, memory: usize) -> Option<&Encoded> {
        let mut slot: &Slot = self.packed.0.as_deref()?;
        loop {
            let entry = slot.get_or_init(|| {
                let encoded = self.compress(setting, memory);
                Box::new(Compressed { setting, encoded, next: Slot::new() })
            });
            if entry.setting == setting {
                return entry.encoded.as_ref();
            }
            slot = &entry.next;
        }
    }

    fn compress(&self, setting: Setting, memory: usize) -> Option<Encoded> {
        let mut out = Output::default();
        let done = codec::compress_alone(setting, self.payload(), &mut out, memory);
        let header = Header { rsv1: true, ..Header::new(opcode(self.kind), 0) };
        let encoded = done.then(|| Encoded::new(header, codec::without_tail(&out)));
        out.give();
        encoded
    }
}
