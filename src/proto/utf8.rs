//! UTF-8 that comes in pieces of any length (RFC 6455 §8.1): a piece fails once no valid text
//! begins with the bytes so far. `kernel` validates whole characters, this module those whose bytes
//! are spread over several pieces.
use crate::proto::kernel;
use core::fmt;

pub(crate) use kernel::is_valid;

#[derive(Clone, Default)]
pub(crate) struct Utf8Validator {
    /// An incomplete character. Invariant: `partial[..len]` is the beginning of a valid one, and
    /// `len <= 3`.
    partial: [u8; 4],
    len: u8,
}

impl fmt::Debug for Utf8Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Utf8Validator") // The fields contain payload.
    }
}

impl Utf8Validator {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> bool {
        // Completes, byte by byte, a character that the previous piece began.
        while self.len > 0 {
            let Some((&first, rest)) = bytes.split_first() else {
                return true;
            };
            bytes = rest;
            let at = usize::from(self.len & 3); // `len <= 3`, so `& 3` only saves a bounds check.
            self.partial[at] = first;
            // `None` if further bytes could complete the character; never with four, so `len` stays
            // at most 3.
            match core::str::from_utf8(&self.partial[..=at]) {
                Ok(_) => self.len = 0,
                Err(e) if e.error_len().is_some() => return false,
                Err(_) => self.len += 1,
            }
        }
        let Some(whole) = kernel::whole_characters(bytes) else { return false };
        let cut = bytes.get(whole..).unwrap_or_default();
        if let Some(partial) = self.partial.get_mut(..cut.len()) {
            partial.copy_from_slice(cut);
        }
        self.len = cut.len() as u8;
        true
    }

    pub(crate) fn push_all(&mut self, bytes: &[u8], last: bool) -> bool {
        self.push(bytes) && (!last || self.finish())
    }

    /// Begins the next text too. `false` if the last character is incomplete.
    pub(crate) fn finish(&mut self) -> bool {
        core::mem::take(&mut self.len) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Asks the standard library. If a valid text begins with `bytes`, returns whether they end
    /// with a whole character. Otherwise returns the index of the byte that makes the text invalid.
    fn oracle(bytes: &[u8]) -> Result<bool, usize> {
        match core::str::from_utf8(bytes) {
            Ok(_) => Ok(true),
            Err(e) => match e.error_len() {
                None => Ok(false),
                // The shortest prefix that cannot be completed ends with the byte that makes the
                // text invalid.
                Some(_) => Err((e.valid_up_to()..bytes.len())
                    .find(|&i| {
                        core::str::from_utf8(&bytes[..=i]).is_err_and(|e| e.error_len().is_some())
                    })
                    .unwrap_or(bytes.len())),
            },
        }
    }

    fn agrees(bytes: &[u8]) {
        let want = oracle(bytes);
        // Fed byte by byte, the validator fails exactly at the byte that makes the text invalid.
        let mut v = Utf8Validator::default();
        let failed = bytes.iter().position(|&b| !v.push(&[b]));
        match want {
            Err(at) => assert_eq!(failed, Some(at), "{bytes:02x?}"),
            Ok(complete) => {
                assert_eq!(failed, None, "{bytes:02x?}");
                assert_eq!(v.finish(), complete, "{bytes:02x?}");
            }
        }
        // The result does not change if the bytes come in two pieces, cut at any byte.
        for cut in 0..=bytes.len() {
            let mut v = Utf8Validator::default();
            let pushed = v.push(&bytes[..cut]) && v.push(&bytes[cut..]);
            assert_eq!(pushed, want.is_ok(), "{bytes:02x?} at {cut}");
            if pushed {
                assert_eq!(v.finish(), want == Ok(true));
            }
        }
    }

    #[test]
    fn it_agrees_with_the_standard_library_on_every_lead_and_boundary() {
        let edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xe0, 0xff];
        let some = if cfg!(miri) { 3 } else { 1 };
        for a in (0..=255).step_by(if cfg!(miri) { 80 } else { 1 }) {
            agrees(&[a]);
            for b in edges.into_iter().step_by(some) {
                agrees(&[a, b]);
                agrees(&[b'x', a, b, b'y']);
                for c in edges.into_iter().step_by(some) {
                    agrees(&[a, b, c]);
                    for d in [0x7f, 0x80, 0xbf, 0xc0] {
                        agrees(&[a, b, c, d]);
                    }
                }
            }
        }
    }

    #[test]
    fn it_agrees_around_the_blocks_of_simd() {
        for bad in [
            &b"\xff"[..],
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc0\x80",
            "é".as_bytes(),
            "😀".as_bytes(),
        ] {
            let places = [14, 15, 16, 17, 30, 31, 32, 33, 62, 63, 64, 65, 127, 128];
            for at in places.into_iter().step_by(if cfg!(miri) { 5 } else { 1 }) {
                let mut bytes: Vec<u8> = alloc::vec![b'a'; at];
                bytes.extend_from_slice(bad);
                bytes.extend_from_slice(b"tail");
                agrees(&bytes);
            }
        }
    }
}
