use std::fmt::Debug;

/// Random numbers, the same ones in each run for the same seed. They choose test cases, and masking
/// keys where a test wants the same ones each time.
#[derive(Clone, Debug)]
pub struct Rng(fastrand::Rng);

impl Rng {
    /// Another seed gives another sequence.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Any number.
    #[allow(clippy::should_implement_trait)] // it never ends: no Option
    pub fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number below `n`, or 0.
    pub fn below<N>(&mut self, n: N) -> N
    where
        N: TryFrom<u64, Error: Debug> + TryInto<u64, Error: Debug>,
    {
        let n = n.try_into().unwrap().max(1);
        self.0.u64(..n).try_into().unwrap()
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.u64(from..=to)
    }

    /// True once in `n` times.
    pub fn once_in<N>(&mut self, n: N) -> bool
    where
        N: TryInto<u64, Error: Debug>,
    {
        self.below(n.try_into().unwrap()) == 0
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.usize(..all.len())]
    }

    /// The first of these bytes, one to `most`, and the rest.
    pub fn cut<'a>(&mut self, bytes: &'a [u8], most: usize) -> (&'a [u8], &'a [u8]) {
        bytes.split_at(bytes.len().min(1 + self.below(most)))
    }

    /// So many bytes, which don't compress.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.fill(&mut bytes);
        bytes
    }

    /// The same, for a buffer.
    pub fn fill(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }
}

/// Of seed 0.
impl Default for Rng {
    fn default() -> Self {
        Self::new(0)
    }
}
