//! Masking (RFC 6455 §5.3), done by the kernels of `kernel.rs`.
//!
//! [`Entropy`](crate::Entropy) supplies masking keys. The connection decides which frames are
//! masked.
use crate::proto::kernel;

/// Masks a payload in pieces of any length. Unmasking is the same operation. The `Masker` keeps the
/// masking key and the position in the payload.
///
/// ```
/// use tickwire::mask::Masker;
///
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58"; // the example in §5.7
/// let mut masker = Masker::new([0x37, 0xfa, 0x21, 0x3d]);
/// let (front, back) = payload.split_at_mut(3);
/// masker.apply(front);
/// masker.apply(back);
/// assert_eq!(&payload, b"Hello");
/// ```
#[derive(Clone, Copy)]
pub struct Masker {
    /// Its first byte is for the next byte of payload.
    key: [u8; 4],
}

impl Masker {
    /// Makes a `Masker` for a payload, from its first byte on.
    #[inline]
    pub const fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// Masks or unmasks the next `payload.len()` bytes in place.
    #[inline]
    pub fn apply(&mut self, payload: &mut [u8]) {
        kernel::xor_in_place(payload, self.key);
        self.key = kernel::turned(self.key, payload.len());
    }
}

impl core::fmt::Debug for Masker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Masker")
    }
}
