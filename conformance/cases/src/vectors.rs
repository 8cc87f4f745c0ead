//! The vectors: input bytes and what an implementation makes of them, as JSON.
//!
//! Most vectors are cases too, by their `case`. A vector says more than a case judges: each event
//! and each reply, where an RFC leaves a choice. The README of this package has the format.

/// Frame bytes for a connection without an extension, to either end.
pub const FRAMES: &str = include_str!("../data/vectors/frames.json");
/// Request heads for a server.
pub const REQUESTS: &str = include_str!("../data/vectors/requests.json");
/// Request heads of real clients, for a server.
pub const CLIENTS: &str = include_str!("../data/vectors/clients.json");
/// Response heads for a client.
pub const RESPONSES: &str = include_str!("../data/vectors/responses.json");

use serde_json::Value;

/// The list of a file's vectors.
pub(crate) fn list(json: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(json).expect("the embedded file is JSON");
    file["vectors"].as_array().cloned().unwrap_or_default()
}

/// The string that `value` stands for: itself, or parts of which `["xy", 3]` is `xyxyxy`.
pub fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(part).collect(),
        _ => String::new(),
    }
}

fn part(value: &Value) -> String {
    match value {
        Value::Array(pair) => {
            let times = pair.get(1).and_then(Value::as_u64).unwrap_or(0);
            pair.first().map_or(String::new(), joined).repeat(times as usize)
        }
        text => joined(text),
    }
}

/// The bytes of a head, each char being one byte: a list of lines, or a string with its line ends.
pub fn head(value: &Value) -> Vec<u8> {
    let is_raw = |part: &Value| {
        let text = part.get(0).unwrap_or(part);
        text.as_str().is_some_and(|text| text.contains('\r') || text.contains('\n'))
    };
    let text = match value {
        Value::Array(lines) if !lines.iter().any(is_raw) => {
            let lines: Vec<String> = lines.iter().map(joined).collect();
            lines.join("\r\n") + "\r\n\r\n"
        }
        other => joined(other),
    };
    text.chars().map(|c| c as u8).collect()
}

/// The bytes of hexadecimal digits; `None` if they are none.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
