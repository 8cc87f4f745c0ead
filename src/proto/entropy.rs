//! The source of masking keys and handshake nonces.
//!
//! RFC 6455 §5.3 and §10.3 require them to be unpredictable. A peer or a script that could guess
//! the next key could choose the bytes on the wire, and so poison the cache of a proxy on the way.
#[cfg(feature = "std")]
pub(crate) mod system;

use alloc::boxed::Box;

/// A source of unpredictable bytes, for a client's masking keys and nonce.
///
/// It must be cryptographically strong. Two connections must not share a sequence, so do not clone
/// a source, and do not create it before a `fork`. It must be `Send` and `Sync`, because the
/// connection that keeps it is. The feature `std` has `SystemEntropy`. Without `std` the caller
/// supplies a source, such as a hardware generator.
pub trait Entropy {
    /// Fills `dest` with unpredictable bytes.
    fn fill(&mut self, dest: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, dest: &mut [u8]) {
        (**self).fill(dest);
    }
}

/// Masking keys, drawn in blocks, so that most keys cost only a load and an add.
pub(crate) struct Keys {
    /// The next key in `block` to return. Invariant: no key is returned twice.
    at: usize,
    block: [[u8; 4]; 64],
    source: Box<dyn Entropy + Send + Sync>,
}

impl Keys {
    pub(crate) fn new(source: Box<dyn Entropy + Send + Sync>) -> Self {
        Self { at: usize::MAX, block: [[0; 4]; 64], source }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> [u8; 4] {
        match self.block.get(self.at) {
            Some(&key) => {
                self.at += 1;
                key
            }
            None => self.refill(),
        }
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self) -> [u8; 4] {
        self.source.fill(self.block.as_flattened_mut());
        self.at = 1;
        self.block[0]
    }
}
