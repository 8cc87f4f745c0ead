//! UTF-8 (RFC 3629), one byte at a time.

/// Where a reader of UTF-8 stands between two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    /// How many continuation bytes are still to come.
    missing: u8,
    /// The range of the next one; it is narrower than 80..BF behind E0, ED, F0 and F4.
    low: u8,
    high: u8,
}

impl Utf8 {
    /// Reads `bytes`. False if one of them cannot stand there.
    pub fn read(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|&byte| self.byte(byte))
    }

    /// Whether the text may end here.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    fn byte(&mut self, byte: u8) -> bool {
        if self.missing > 0 {
            let fits = self.low <= byte && byte <= self.high;
            self.missing -= 1;
            self.low = 0x80;
            self.high = 0xbf;
            return fits;
        }
        self.low = 0x80;
        self.high = 0xbf;
        // The table of RFC 3629 section 4.
        match byte {
            0x00..=0x7f => {}
            0xc2..=0xdf => self.missing = 1,
            0xe0..=0xef => self.missing = 2,
            0xf0..=0xf4 => self.missing = 3,
            _ => return false,
        }
        match byte {
            0xe0 => self.low = 0xa0,
            0xed => self.high = 0x9f,
            0xf0 => self.low = 0x90,
            0xf4 => self.high = 0x8f,
            _ => {}
        }
        true
    }
}
