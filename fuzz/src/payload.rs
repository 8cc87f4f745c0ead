//! Payloads for the targets that send: of which lengths, and with what in them.
use arbitrary::Arbitrary;

/// Short as a rule, around the length forms and beyond 64 KiB at times.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Len(u16);

impl Len {
    pub fn get(self) -> usize {
        let n = usize::from(self.0 >> 3);
        match self.0 & 7 {
            0..=4 => n % 140,
            5 => 120 + n % 12,
            6 => n,
            _ => 65_530 + n % 12,
        }
    }

    /// Short where large ones have used up the budget, so that no run takes long.
    pub fn within(self, budget: &mut usize) -> usize {
        let len = if self.get() <= *budget { self.get() } else { self.get() % 140 };
        *budget = budget.saturating_sub(len);
        len
    }
}

/// Text of mixed widths, different for each `seed`, `len` bytes long.
pub fn text(len: usize, seed: usize) -> String {
    let mut text = String::with_capacity(len);
    let mut i = seed;
    while text.len() < len {
        let c = ['a', 'é', '価', '📈', 'z', '0'][i % 6];
        text.push(if text.len() + c.len_utf8() > len { '.' } else { c });
        i = i.wrapping_mul(5).wrapping_add(1 + seed);
    }
    text
}

/// Bytes, different for each `seed`.
pub fn binary(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(167) >> 3) as u8 ^ seed as u8).collect()
}
