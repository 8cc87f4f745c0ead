//! DEFLATE (RFC 1951) for the peer with faults, some of which are here: a message at a time, fixed
//! Huffman codes out, every block in. It shares nothing with the judge, who would not see a mistake
//! that both make.

/// The bases and extra bits of lengths 257..=285 and of distances 0..=29.
const LENGTHS: [(usize, u32); 29] = {
    let mut lengths = values(4, 3);
    lengths[28] = (258, 0);
    lengths
};
const DISTANCES: [(usize, u32); 30] = values(2, 1);

/// `each` of them have the same number of extra bits, and the first `2 * each` have none.
const fn values<const N: usize>(each: usize, mut base: usize) -> [(usize, u32); N] {
    let mut values = [(0, 0); N];
    let mut symbol = 0;
    while symbol < N {
        let extra = (symbol / each).saturating_sub(1) as u32;
        values[symbol] = (base, extra);
        base += 1 << extra;
        symbol += 1;
    }
    values
}

struct Writer {
    bytes: Vec<u8>,
    bits: u64,
    count: u32,
}

impl Writer {
    fn put(&mut self, value: usize, count: u32) {
        self.bits |= (value as u64) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.bits as u8);
            self.bits >>= 8;
            self.count -= 8;
        }
    }

    /// A code of the fixed table, whose bits stand the other way round.
    fn symbol(&mut self, symbol: usize) {
        let (code, count) = match symbol {
            0..=143 => (0x30 + symbol, 8),
            144..=255 => (0x190 + symbol - 144, 9),
            256..=279 => (symbol - 256, 7),
            _ => (0xc0 + symbol - 280, 8),
        };
        self.put(code.reverse_bits() >> (usize::BITS - count), count);
    }
}

/// Compresses `data` behind `history`, with references of at most `window` bytes, up to and with
/// the empty stored block of RFC 7692 7.2.1.
pub fn deflate(history: &[u8], data: &[u8], window: usize) -> Vec<u8> {
    let mut all = history.to_vec();
    all.extend(data);
    let hash = |at: usize| {
        let word =
            usize::from(all[at]) << 16 | usize::from(all[at + 1]) << 8 | usize::from(all[at + 2]);
        word.wrapping_mul(0x9e37_79b1) >> 12 & 0x7fff
    };
    let mut last = vec![usize::MAX; 0x8000];
    for at in 0..history.len().min(all.len().saturating_sub(2)) {
        last[hash(at)] = at;
    }
    let mut out = Writer { bytes: Vec::new(), bits: 0, count: 0 };
    out.put(0b010, 3);
    let mut at = history.len();
    while at < all.len() {
        let mut length = 0;
        let mut distance = 0;
        if at + 3 <= all.len() {
            let place = std::mem::replace(&mut last[hash(at)], at);
            if place != usize::MAX && at - place <= window {
                distance = at - place;
                let most = 258.min(all.len() - at);
                length = (0..most).take_while(|step| all[place + step] == all[at + step]).count();
            }
        }
        if length < 3 {
            out.symbol(all[at].into());
            at += 1;
            continue;
        }
        let code = LENGTHS.iter().rposition(|(base, _)| *base <= length).unwrap();
        out.symbol(257 + code);
        out.put(length - LENGTHS[code].0, LENGTHS[code].1);
        let code = DISTANCES.iter().rposition(|(base, _)| *base <= distance).unwrap();
        out.put(code.reverse_bits() >> (usize::BITS - 5), 5);
        out.put(distance - DISTANCES[code].0, DISTANCES[code].1);
        at += length;
    }
    out.symbol(256);
    out.put(0, 3);
    out.put(0, (8 - out.count) % 8);
    out.bytes.extend([0, 0, 0xff, 0xff]);
    out.bytes
}

/// Faults of an inflater.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub first_block_only: bool,
    pub no_stored: bool,
}

pub struct Inflated {
    pub data: Vec<u8>,
    pub was_final: bool,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn get(&mut self, count: u32) -> Option<usize> {
        let mut value = 0;
        for place in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }
}

/// A canonical Huffman code: how many codes of each length, and the symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Option<Code> {
        let mut counts = [0; 16];
        for length in lengths {
            counts[*length] += 1;
        }
        counts[0] = 0;
        let mut left = 1usize;
        for count in &counts[1..] {
            left = (left << 1).checked_sub(*count)?;
        }
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|at| lengths[*at] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Some(Code { counts, symbols })
    }

    fn read(&self, bits: &mut Bits) -> Option<usize> {
        let mut code = 0;
        let mut first = 0;
        let mut index = 0;
        for count in &self.counts[1..] {
            code |= bits.get(1)?;
            if code < first + count {
                return self.symbols.get(index + code - first).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// Inflates a message whose sync marker was removed, behind `history`. `None`: it can't be.
pub fn inflate(history: &[u8], data: &[u8], limit: usize, faults: Faults) -> Option<Inflated> {
    let mut bytes = data.to_vec();
    bytes.extend([0, 0, 0xff, 0xff]);
    let mut bits = Bits { bytes: &bytes, at: 0 };
    let mut out = history.to_vec();
    loop {
        let is_last = bits.get(1)? == 1;
        match bits.get(2)? {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let length = bits.get(16)?;
                if bits.get(16)? != length ^ 0xffff || faults.no_stored && length > 0 {
                    return None;
                }
                let start = bits.at / 8;
                out.extend(bytes.get(start..start + length)?);
                bits.at += length * 8;
            }
            kind @ (1 | 2) => {
                let codes = if kind == 1 { fixed() } else { dynamic(&mut bits) };
                let (literals, distances) = codes?;
                loop {
                    let symbol = literals.read(&mut bits)?;
                    match symbol {
                        0..=255 => out.push(symbol as u8),
                        256 => break,
                        _ => {
                            let (base, extra) = *LENGTHS.get(symbol - 257)?;
                            let length = base + bits.get(extra)?;
                            let (base, extra) = *DISTANCES.get(distances.read(&mut bits)?)?;
                            let distance = base + bits.get(extra)?;
                            let from = out.len().checked_sub(distance)?;
                            for step in 0..length {
                                out.push(out[from + step]);
                            }
                        }
                    }
                    if out.len() > history.len() + limit {
                        break;
                    }
                }
            }
            _ => return None,
        }
        let is_over = out.len() > history.len() + limit || bits.at / 8 >= bytes.len();
        if is_last || faults.first_block_only || is_over {
            let data = out.split_off(history.len());
            return Some(Inflated { data, was_final: is_last });
        }
    }
}

fn fixed() -> Option<(Code, Code)> {
    let mut lengths = vec![8; 144];
    lengths.extend([9; 112]);
    lengths.extend([7; 24]);
    lengths.extend([8; 8]);
    Some((Code::new(&lengths)?, Code::new(&[5; 30])?))
}

fn dynamic(bits: &mut Bits) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let literals = bits.get(5)? + 257;
    let distances = bits.get(5)? + 1;
    let count = bits.get(4)? + 4;
    let mut lengths = [0; 19];
    for place in &ORDER[..count] {
        lengths[*place] = bits.get(3)?;
    }
    let code = Code::new(&lengths)?;
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match code.read(bits)? {
            16 => (*lengths.last()?, 3 + bits.get(2)?),
            17 => (0, 3 + bits.get(3)?),
            18 => (0, 11 + bits.get(7)?),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(value, times));
    }
    if lengths.len() > literals + distances {
        return None;
    }
    let rest = lengths.split_off(literals);
    Some((Code::new(&lengths)?, Code::new(&rest)?))
}
