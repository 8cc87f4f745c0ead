//! Ways to cut a wire, chosen by one byte of the fuzzer's.

/// An endless sequence of piece lengths: 0 gives everything at once, 1 single bytes, any other
/// seed lengths of its own, short ones more often.
pub struct Cuts {
    seed: u8,
    state: u64,
}

impl Cuts {
    pub fn new(seed: u8) -> Self {
        Self { seed, state: u64::from(seed) + 1 }
    }
}

impl Iterator for Cuts {
    type Item = usize;

    /// At least 1.
    fn next(&mut self) -> Option<usize> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let random = (self.state >> 20) as usize;
        Some(match self.seed {
            0 => usize::MAX,
            1 => 1,
            _ if random.is_multiple_of(4) => 1 + random / 4 % 1024,
            seed => 1 + random / 4 % usize::from(seed),
        })
    }
}
