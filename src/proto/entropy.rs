//! Where masking keys and handshake nonces come from.
//!
//! RFC 6455 §5.3 and §10.3 require that they are unpredictable: a peer or a script that could guess the
//! next key could choose the bytes on the wire, and so poison a proxy on the way.
use alloc::boxed::Box;
use core::fmt;

/// A source of unpredictable bytes, for a client's masking keys and nonce.
///
/// It has to be cryptographically strong, and no two connections may share a sequence: do not
/// clone one, and do not make one before a `fork`. It has to be `Send` and `Sync`, as the connection
/// that keeps it is. With the feature `std`,
#[cfg_attr(feature = "std", doc = "[`SystemEntropy`] is one.")]
#[cfg_attr(not(feature = "std"), doc = "`SystemEntropy` is one.")]
pub trait Entropy {
    /// Fills `dest` with unpredictable bytes.
    fn fill(&mut self, dest: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, dest: &mut [u8]) {
        (**self).fill(dest);
    }
}

/// The default: ChaCha20, seeded by the operating system, one for each connection.
#[cfg(feature = "std")]
pub struct SystemEntropy(chacha20::ChaCha20Rng);

#[cfg(feature = "std")]
impl SystemEntropy {
    /// A generator with a seed of its own.
    ///
    /// # Errors
    ///
    /// If the operating system has no randomness to give: early at boot, or in a sandbox that forbids
    /// the call.
    pub fn new() -> std::io::Result<Self> {
        use chacha20::rand_core::SeedableRng;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
        Ok(Self(chacha20::ChaCha20Rng::from_seed(seed)))
    }
}

#[cfg(feature = "std")]
impl Entropy for SystemEntropy {
    fn fill(&mut self, dest: &mut [u8]) {
        use chacha20::rand_core::Rng;
        self.0.fill_bytes(dest);
    }
}

#[cfg(feature = "std")]
impl fmt::Debug for SystemEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemEntropy") // its state predicts its keys
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

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys") // it holds keys still to be used
    }
}
