//! What is sent, in words: for the page about a case.

use std::fmt::Write as _;

use super::in_full;
use crate::judge::frame::{Header, mask};

/// More frames than this are not spelt out.
const MOST: usize = 8;

/// Spells out frames, as long as each stands whole in one step.
#[derive(Default)]
pub(crate) struct Words {
    frames: usize,
    is_lost: bool,
}

impl Words {
    /// A line for each frame in `bytes`.
    pub(crate) fn of(&mut self, bytes: &[u8]) -> String {
        let mut lines = String::new();
        let mut rest = bytes;
        while !self.is_lost && !rest.is_empty() {
            let Some((header, start)) = Header::read(rest) else {
                self.is_lost = true;
                break;
            };
            if self.frames == MOST {
                self.is_lost = true;
                lines.push_str("           ..\n");
                break;
            }
            self.frames += 1;
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            let end = start.saturating_add(length);
            self.is_lost = end > rest.len();
            let mut payload = rest[start..end.min(rest.len())].to_vec();
            if let Some(key) = header.key {
                mask(&mut payload, key, 0);
            }
            rest = rest.get(end..).unwrap_or_default();
            let _ = writeln!(lines, "           {}", frame(&header, &payload));
        }
        lines
    }
}

fn frame(header: &Header, payload: &[u8]) -> String {
    let mut words = match header.opcode {
        0 => "continuation".to_owned(),
        1 => "text".to_owned(),
        2 => "binary".to_owned(),
        8 => "Close".to_owned(),
        9 => "Ping".to_owned(),
        10 => "Pong".to_owned(),
        other => format!("opcode {other}"),
    };
    words += if header.fin { ", FIN" } else { ", no FIN" };
    for (bit, name) in [(4, "RSV1"), (2, "RSV2"), (1, "RSV3")] {
        if header.rsv & bit != 0 {
            let _ = write!(words, ", {name}");
        }
    }
    words += if header.key.is_some() { ", masked" } else { ", unmasked" };
    let _ = write!(words, ", length {}", header.length);
    if header.length > payload.len() as u64 {
        let _ = write!(words, ", of which {} come", payload.len());
    }
    match payload {
        [] => {}
        [high, low, reason @ ..] if header.opcode == 8 => {
            let _ = write!(words, ": {}", u16::from_be_bytes([*high, *low]));
            if !reason.is_empty() {
                let _ = write!(words, " {}", shown(reason));
            }
        }
        payload if payload.len() <= 64 => {
            let _ = write!(words, ": {}", shown(payload));
        }
        _ => {}
    }
    words
}

/// Text in quotes, or the digits of what is none.
fn shown(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => in_full(bytes),
    }
}
