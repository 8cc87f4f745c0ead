//! Keeps messages by the `to_owned` that everything has which is `Clone`: it copies the reference.
use tickwire::{Message, OwnedMessage};

fn keep(all: &[Message<'_>]) -> Vec<OwnedMessage> {
    all.iter().map(|message| message.to_owned()).collect()
}

fn push(last: Option<&Message<'_>>, kept: &mut Vec<OwnedMessage>) {
    if let Some(message) = last {
        kept.push(message.to_owned());
    }
}

fn main() {
    let _ = (keep, push);
}
