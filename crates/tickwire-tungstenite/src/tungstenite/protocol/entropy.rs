use std::hash::{BuildHasher, Hasher, RandomState};
use tickwire::{Entropy, SystemEntropy};

/// Random bytes from the operating system. In some sandboxes there are none: then they come from
/// the random keys of `std`'s hash maps, so that making a connection cannot fail.
pub(crate) struct Keys(Option<SystemEntropy>);

impl Keys {
    pub(crate) fn new() -> Self {
        Self(SystemEntropy::new().ok())
    }
}

impl Entropy for Keys {
    fn fill(&mut self, dest: &mut [u8]) {
        match &mut self.0 {
            Some(system) => system.fill(dest),
            None => {
                // Each `RandomState` has its own SipHash key, so the blocks of 8 bytes differ.
                for chunk in dest.chunks_mut(8) {
                    let random = RandomState::new().build_hasher().finish().to_ne_bytes();
                    chunk.iter_mut().zip(random).for_each(|(to, from)| *to = from);
                }
            }
        }
    }
}
