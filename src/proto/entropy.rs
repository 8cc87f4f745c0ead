//! The source of masking keys and handshake nonces.
//!
//! RFC 6455 §5.3 and §10.3 require them to be unpredictable. A peer or a script that could guess
//! the next key could choose the bytes on the wire, and so poison the cache of a proxy on the way.
#[cfg(feature = "std")]
pub(crate) mod system;

use alloc::boxed::Box;

/// A source of unpredictable bytes, for a client's masking keys and nonce.
///
/// A source must be cryptographically strong. Two connections must not share a sequence, so do not
/// clone a source, and do not create it before a `fork`. A source must be `Send` and `Sync`,
/// because the connection that keeps it is `Send` and `Sync`. The feature `std` has
/// `SystemEntropy`. Without `std` the caller supplies a source, such as a hardware generator.
pub trait Entropy {
    /// Fills `dest` with unpredictable bytes.
    fn fill(&mut self, dest: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, dest: &mut [u8]) {
        (**self).fill(dest);
    }
}

/// Masking keys, drawn 64 at a time, so that most keys cost only a load and an add.
pub(crate) struct Keys {
    /// The index in `drawn` of the next key to return. Invariant: no key is returned twice.
    at: usize,
    drawn: [[u8; 4]; 64],
    source: Box<dyn Entropy + Send + Sync>,
}

impl Keys {
    pub(crate) fn new(source: Box<dyn Entropy + Send + Sync>) -> Self {
        Self { at: usize::MAX, drawn: [[0; 4]; 64], source }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> [u8; 4] {
        match self.drawn.get(self.at) {
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
        self.source.fill(self.drawn.as_flattened_mut());
        self.at = 1;
        self.drawn[0]
    }
}
