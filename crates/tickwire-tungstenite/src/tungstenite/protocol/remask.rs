//! For servers that also accept unmasked frames. tickwire doesn't from a client, so each gets a
//! masking key first: all zeros, which leaves the payload as it is.
use tickwire::frame::{Header, MAX_HEADER_LEN};

/// The position in the stream: inside a header or a payload.
#[derive(Debug, Default)]
pub(super) struct Remask {
    /// What has arrived of a header.
    header: Vec<u8>,
    /// How much of the current payload has not arrived yet; 0 inside a header.
    payload: u64,
}

impl Remask {
    /// Holds back an incomplete header.
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

    /// An invalid header is passed on unchanged, so that tickwire refuses it with the matching
    /// error.
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
