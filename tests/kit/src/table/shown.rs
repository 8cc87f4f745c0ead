//! What a failure prints: short, and all bytes in hex.
use super::{Got, returns::Value};
use std::fmt;
use wsconform_cases::protocol::{Answer, Delivered, Machine, Sent};

/// How many bytes are shown.
const MOST: usize = 12;

pub(crate) fn hex(bytes: &[u8]) -> String {
    let shown: Vec<_> = bytes.iter().take(MOST).map(|byte| format!("{byte:02X}")).collect();
    match bytes.len() {
        0 => "(empty)".to_owned(),
        len if len > MOST => format!("{} .. ({len} bytes)", shown.join(" ")),
        _ => shown.join(" "),
    }
}

pub(crate) fn shown(machine: &Machine, answer: &Answer) -> String {
    let mut parts = Vec::new();
    parts.extend(answer.delivers.as_ref().map(|delivers| match delivers {
        Delivered::Message { text } => format!("the {}", if *text { "text" } else { "binary" }),
        Delivered::Ping(payload) => format!("Ping {}", hex(payload)),
        Delivered::Pong(payload) => format!("Pong {}", hex(payload)),
        Delivered::Close(body) => format!("Close {}", hex(body)),
    }));
    parts.extend(answer.sends.iter().map(|sent| match sent {
        Sent::Data(first, payload) => format!("sends {first:02X} {}", hex(payload)),
        Sent::Ping(payload) => format!("sends Ping {}", hex(payload)),
        Sent::Pong(payload) => format!("sends Pong {}", hex(payload)),
        Sent::Close(Some(code)) => format!("sends Close {code}"),
        Sent::Close(None) => "sends Close".to_owned(),
        Sent::Fin => "FIN".to_owned(),
    }));
    parts.extend(answer.error.map(|error| format!("error: {error}")));
    if answer.drops {
        parts.push("drops the stream".to_owned());
    }
    let (next, level, section) = (machine.states[answer.next], answer.level, answer.section);
    format!("{} -> {next} ({level}, {section})", parts.join(", "))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |text: &bool| if *text { "text" } else { "binary" };
        match self {
            Self::Got(Got::Message { text, payload }) => {
                write!(f, "{} {}", kind(text), hex(payload))
            }
            Self::Got(Got::Ping(payload)) => write!(f, "Ping {}", hex(payload)),
            Self::Got(Got::Pong(payload)) => write!(f, "Pong {}", hex(payload)),
            Self::Got(Got::Close(body)) => write!(f, "Close {}", hex(body)),
            Self::Chunk { text, first, data, last } => {
                let dots = |yes: &bool| if *yes { "" } else { ".." };
                write!(f, "chunk {}{} {}{}", dots(first), kind(text), hex(data), dots(last))
            }
            Self::Over(result) => write!(f, "over: {result:?}"),
            Self::Returned(result) => write!(f, "the call returned {result:?}"),
        }
    }
}
