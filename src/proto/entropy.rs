//! Where masking keys and handshake nonces come from.
//!
//! RFC 6455 §5.3 and §10.3 require that they are unpredictable: a peer or a script that could guess
//! the next key could choose the bytes on the wire, and so poison a proxy on the way.
#[cfg(feature = "std")]
pub(crate) mod system;

use alloc::boxed::Box;

/// A source of unpredictable bytes, for a client's masking keys and nonce.
///
/// It has to be cryptographically strong, and no two connections may share a sequence: do not clone
/// one, and do not make one before a `fork`. It has to be `Send` and `Sync`, as the connection that
/// keeps it is. The feature `std` has one, `SystemEntropy`; without it the caller brings one, such
/// as a hardware generator.
pub trait Entropy {
    /// Fills `dest` with unpredictable bytes.
    fn fill(&mut self, dest: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, dest: &mut [u8]) {
        (**self).fill(dest);
    }
}

/// Masking keys, drawn in blocks, so that most cost a load and an add.
pub(crate) struct Keys {
    /// The next key in `block` to give out. Invariant: none is given out twice.
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
