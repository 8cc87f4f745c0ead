//! For servers that also accept unmasked frames: adds a masking key of zeros to these frames,
//! before tickwire reads them.
use super::frame::FrameHeader;
use std::io::Cursor;

/// The position in the stream of frames: inside a header or inside a payload.
#[derive(Debug, Default)]
pub(super) struct Remask {
    /// The beginning of a header that has not arrived in full.
    header: Vec<u8>,
    /// The number of payload bytes that have not arrived yet.
    payload: u64,
}

impl Remask {
    /// Returns the bytes, with a masking key in each frame.
    pub(super) fn translate(&mut self, mut from: &[u8]) -> Vec<u8> {
        let mut to = Vec::with_capacity(from.len() + FrameHeader::MAX_SIZE);
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

    /// Passes the header on once it is complete. An invalid header is passed on at once, so that
    /// tickwire refuses it.
    fn end_header(&mut self, to: &mut Vec<u8>) {
        let mut masked = true;
        match FrameHeader::parse(&mut Cursor::new(&self.header)) {
            Ok(None) => return,
            Ok(Some((header, length))) => {
                self.payload = length;
                masked = header.mask.is_some();
            }
            Err(_) => {}
        }
        if let (false, Some(second)) = (masked, self.header.get_mut(1)) {
            *second |= 0x80;
            self.header.extend_from_slice(&[0; 4]);
        }
        to.append(&mut self.header);
    }
}
