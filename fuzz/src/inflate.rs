//! The other decoder of permessage-deflate: `miniz_oxide`, which keeps nothing between calls.
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};

/// More than any message here becomes, in bytes.
pub const LIMIT: usize = 1 << 20;

/// What it makes of a message (RFC 7692 §7.2.2); `None` if it is not complete.
pub fn inflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.is_empty() {
        return None;
    }
    let input = [payload, &[0, 0, 0xff, 0xff, 3, 0]].concat();
    let (mut at, mut all) = (0, vec![]);
    let mut room = (payload.len() * 8 + 1024).min(LIMIT + 1);
    loop {
        let mut out = vec![0; room];
        let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let mut state = Box::new(DecompressorOxide::new());
        let (status, used, made) = decompress(&mut state, &input[at..], &mut out, 0, flags);
        if status == TINFLStatus::HasMoreOutput && room <= LIMIT {
            room = (room * 8).min(LIMIT + 1);
            continue;
        }
        at += used;
        all.extend_from_slice(&out[..made]);
        let n = payload.len();
        match status {
            TINFLStatus::Done if at == n || at == n + 4 || at == n + 6 => return Some(all),
            TINFLStatus::Done if at < n => {}
            _ => return None,
        }
    }
}

/// Messages that refer to those before them, decoded from the first one again each time.
#[derive(Default)]
pub struct TakenOver {
    wire: Vec<u8>,
    made: usize,
}

impl TakenOver {
    /// The next message; `None` where there have been so many that it would take too long.
    pub fn next(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if self.wire.len() > 4 << 10 || self.made > 256 << 10 {
            return None;
        }
        self.wire.extend_from_slice(payload);
        let mut all = inflate(&self.wire).expect("the other decoder fails");
        let message = all.split_off(self.made);
        self.made += message.len();
        self.wire.extend([0, 0, 0xff, 0xff]);
        Some(message)
    }
}
