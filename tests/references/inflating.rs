//! A plain reading of RFC 1951, a bit at a time, and of what RFC 7692 §7.2.2 makes a message of it.
//! It shares nothing with the crate, nor with a deflate library. The fuzz targets have it too.

use std::sync::LazyLock;

/// What messages became, as far as later ones may refer to it.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    made: Vec<u8>,
    /// Where the newest stream begins: a last block ends the one before.
    begin: usize,
}

/// Order of the lengths of codes for lengths (RFC 1951 §3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    fn bit(&mut self) -> Option<usize> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    fn bits(&mut self, n: usize) -> Option<usize> {
        let mut all = 0;
        for i in 0..n {
            all |= self.bit()? << i;
        }
        Some(all)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    /// The next `n` bytes, of an aligned position.
    fn bytes(&mut self, n: usize) -> Option<&[u8]> {
        let from = self.at / 8;
        let bytes = self.bytes.get(from..from + n)?;
        self.at += 8 * n;
        Some(bytes)
    }
}

/// Symbols by the lengths of their codes (§3.2.2).
struct Codes {
    /// How many codes there are of each length.
    counts: [usize; 16],
    /// By length, then by value.
    symbols: Vec<usize>,
}

impl Codes {
    /// `None` where two codes would be one, or a code is missing; of one bit, or of no code at all,
    /// one may be, as zlib has it.
    fn new(lengths: &[usize], one_may_lack: bool) -> Option<Self> {
        let mut counts = [0; 16];
        for &length in lengths {
            counts[length] += 1;
        }
        counts[0] = 0;
        let mut free: isize = 1;
        for &count in &counts[1..] {
            free = 2 * free - count as isize;
            if free < 0 {
                return None;
            }
        }
        let short = counts[2..].iter().all(|&count| count == 0);
        if free > 0 && !(one_may_lack && short) {
            return None;
        }
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|&i| lengths[i] != 0).collect();
        symbols.sort_by_key(|&i| lengths[i]);
        Some(Self { counts, symbols })
    }

    fn next(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &self.counts[1..] {
            code |= bits.bit()?;
            if code < first + count {
                return Some(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// Made once: of short messages it would be most of the work.
static FIXED: LazyLock<Option<(Codes, Codes)>> = LazyLock::new(|| {
    let lengths: Vec<_> = (0..288)
        .map(|symbol| match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        })
        .collect();
    Some((Codes::new(&lengths, false)?, Codes::new(&[5; 32], false)?))
});

fn dynamic(bits: &mut Bits<'_>) -> Option<(Codes, Codes)> {
    let literals = bits.bits(5)? + 257;
    let distances = bits.bits(5)? + 1;
    let given = bits.bits(4)? + 4;
    if literals > 286 || distances > 30 {
        return None;
    }
    let mut lengths = [0; 19];
    for &symbol in &ORDER[..given] {
        lengths[symbol] = bits.bits(3)?;
    }
    let codes = Codes::new(&lengths, false)?;
    let mut lengths = vec![];
    while lengths.len() < literals + distances {
        let (length, times) = match codes.next(bits)? {
            16 => (*lengths.last()?, 3 + bits.bits(2)?),
            17 => (0, 3 + bits.bits(3)?),
            18 => (0, 11 + bits.bits(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    if lengths.len() > literals + distances || lengths[256] == 0 {
        return None;
    }
    let (literals, distances) = lengths.split_at(literals);
    Some((Codes::new(literals, true)?, Codes::new(distances, true)?))
}

/// Extra bits and the least value of the symbols of lengths and of distances (§3.2.5): `each` of
/// them have the same number of bits, and the first `2 * each` none.
fn value(bits: &mut Bits<'_>, symbol: usize, each: usize, least: usize) -> Option<usize> {
    if symbol < 2 * each {
        return Some(least + symbol);
    }
    let extra = symbol / each - 1;
    Some(least + ((each + symbol % each) << extra) + bits.bits(extra)?)
}

impl Stream {
    /// What the next message becomes; `None` if it is not DEFLATE or not whole: at its end every
    /// block is, once 00 00 ff ff is behind it, or it ends with that.
    pub fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let from = self.made.len();
        let mut bits = Bits { bytes: payload, at: 0 };
        while bits.left() > 0 {
            let last = bits.bit()? == 1;
            match bits.bits(2)? {
                0 => {
                    bits.align();
                    if bits.left() == 0 {
                        // 00 00 ff ff is a length of 0.
                        self.end_block(last);
                        return Some(self.made[from..].to_vec());
                    }
                    let len = bits.bits(16)?;
                    if bits.bits(16)? != len ^ 0xffff {
                        return None;
                    }
                    self.made.extend_from_slice(bits.bytes(len)?);
                }
                1 => self.block(&mut bits, FIXED.as_ref()?)?,
                2 => {
                    let codes = dynamic(&mut bits)?;
                    self.block(&mut bits, &codes)?;
                }
                _ => return None,
            }
            self.end_block(last);
            if last {
                bits.align();
            } else if bits.left() == 0 && payload.last() != Some(&0xff) {
                return None;
            }
        }
        Some(self.made[from..].to_vec())
    }

    fn end_block(&mut self, last: bool) {
        if last {
            self.begin = self.made.len();
        }
    }

    fn block(&mut self, bits: &mut Bits<'_>, (literals, distances): &(Codes, Codes)) -> Option<()> {
        loop {
            let length = match literals.next(bits)? {
                byte @ 0..256 => {
                    self.made.push(byte as u8);
                    continue;
                }
                256 => return Some(()),
                symbol @ 257..285 => value(bits, symbol - 257, 4, 3)?,
                285 => 258,
                _ => return None,
            };
            let symbol = distances.next(bits)?;
            if symbol > 29 {
                return None;
            }
            let distance = value(bits, symbol, 2, 1)?;
            if distance > self.made.len() - self.begin {
                return None;
            }
            for _ in 0..length {
                self.made.push(self.made[self.made.len() - distance]);
            }
        }
    }
}
