//! The source of masking keys and handshake nonces.
//!
//! RFC 6455 §5.3 and §10.3 require these bytes to be unpredictable. A server or a script that could
//! guess the next masking key could choose the client's bytes on the wire, and so poison a proxy's
//! cache.
#[cfg(feature = "client")]
pub(crate) mod system;

use alloc::boxed::Box;

/// A source of unpredictable bytes, for a client's masking keys and nonce.
///
/// A source must be cryptographically strong. Two connections must not get the same sequence: do
/// not clone a source, and do not use it in both processes after a `fork`. A source must be `Send`
/// and `Sync`, because the connection that keeps it is `Send` and `Sync`. With the feature
/// `client`, use `SystemEntropy`. Without it, supply a source such as a hardware generator.
pub trait Entropy {
    /// Fills `dest` with unpredictable bytes.
    fn fill(&mut self, dest: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, dest: &mut [u8]) {
        (**self).fill(dest);
    }
}

/// 64 at once, so that most keys cost only a load and an addition.
pub(crate) struct Keys {
    /// The next key; beyond the end if `keys` must be filled again. Invariant: the keys from here
    /// on were not returned yet.
    at: usize,
    keys: [[u8; 4]; 64],
    source: Box<dyn Entropy + Send + Sync>,
}

impl Keys {
    pub(crate) fn new(source: Box<dyn Entropy + Send + Sync>) -> Self {
        Self { at: usize::MAX, keys: [[0; 4]; 64], source }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> [u8; 4] {
        match self.keys.get(self.at) {
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
        self.source.fill(self.keys.as_flattened_mut());
        self.at = 1;
        self.keys[0]
    }
}
