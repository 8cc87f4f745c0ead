//! This module is for servers that also accept unmasked frames. tickwire accepts only masked frames
//! from a client, so this module adds a masking key to each unmasked frame before tickwire gets it.
//! The key is all zeros, which leaves the payload as it is.
use tickwire::frame::{Header, MAX_HEADER_LEN};

/// The position in the stream of frames: inside a header or inside a payload.
#[derive(Debug, Default)]
pub(super) struct Remask {
    /// The beginning of a header that has not arrived in full.
    header: Vec<u8>,
    /// The number of bytes of the current payload that have not arrived yet; 0 inside a header.
    payload: u64,
}

impl Remask {
    /// Returns `from` with a masking key in each header, but holds back an incomplete header.
    pub(super) fn translate(&mut self, mut from: &[u8]) -> Vec<u8> {
        let mut to = Vec::with_capacity(from.len() + MAX_HEADER_LEN);
        while let Some((&byte, rest)) = from.split_first() {
            if self.payload == 0 {
                self.header.push(byte);
                from = rest;
                self.end_header(&mut to);
            } else {
                let n = usize::try_from(self.payload).unwrap_or(usize::MAX).min(from.len());
                let (payload, rest) = from.split_at(n);
                to.extend_from_slice(payload);
                self.payload -= n as u64;
                from = rest;
            }
        }
        to
    }

    /// Passes the header on once it is complete. An invalid header is passed on unchanged, so that
    /// tickwire refuses it with the matching error.
    fn end_header(&mut self, to: &mut Vec<u8>) {
        match Header::parse(&self.header) {
            Ok(None) => {} // incomplete: wait for the next byte
            Ok(Some((header, _))) => {
                self.payload = header.payload_len;
                self.header.clear();
                let masking_key = header.masking_key.or(Some([0; 4]));
                let (bytes, n) = Header { masking_key, ..header }.encode();
                to.extend_from_slice(bytes.get(..n).unwrap_or(&bytes));
            }
            Err(_) => to.append(&mut self.header),
        }
    }
}
