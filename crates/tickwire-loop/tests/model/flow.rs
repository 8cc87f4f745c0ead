//! The messages of one direction of a connection: which of them have to come, and in what order.
use std::collections::VecDeque;
use tickwire::{Message, OwnedMessage};

/// Which messages of a flow keep their order among each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Direct,
    /// A message that overtakes.
    First,
    Outbox,
    /// A key of an outbox that conflates.
    Key(u64),
    /// What an outbox must not lose, because the stream accepts it.
    Burst,
}

#[derive(Debug)]
pub struct Sent {
    message: OwnedMessage,
    pub class: Class,
    /// Whether the docs allow its loss.
    pub loose: bool,
    /// A raw peer has sent all of it once so many bytes are flushed.
    offset: u64,
}

#[derive(Debug, Default)]
pub struct Flow {
    /// The messages that are not delivered yet.
    pub sent: VecDeque<Sent>,
    /// Once the sending end is over: whether in order, that is, after both Closes.
    pub over: Option<bool>,
    /// A raw peer has sent bytes that may be anything, also messages.
    pub anything: bool,
}

impl Flow {
    pub fn sent(&mut self, message: impl Into<OwnedMessage>, class: Class, offset: u64) {
        if let Class::Key(_) = class {
            self.loosen(|before| before.class == class);
        }
        self.sent.push_back(Sent { message: message.into(), class, loose: false, offset });
    }

    pub fn loosen(&mut self, which: impl Fn(&Sent) -> bool) {
        self.sent.iter_mut().for_each(|sent| sent.loose |= which(sent));
    }

    /// What an outbox holds may be lost from now on.
    pub fn loosen_outbox(&mut self) {
        self.loosen(|sent| matches!(sent.class, Class::Outbox | Class::Key(_)));
    }

    pub fn delivered(&mut self, message: Message<'_>) {
        if self.anything {
            return;
        }
        let is = |sent: &Sent| sent.message.as_message() == message;
        let at = self.sent.iter().position(is);
        let at = at.unwrap_or_else(|| panic!("twice, altered, or never sent: {message:.60?}"));
        if self.sent[at].loose
            && let Some(same) = self.sent.range_mut(at + 1..).find(|sent| is(sent) && !sent.loose)
        {
            same.loose = true; // one of the two has come
        }
        let class = self.sent[at].class;
        let mut n = 0;
        self.sent.retain(|sent| {
            n += 1;
            let before = n <= at && sent.class == class;
            assert!(!before || sent.loose, "{class:?}: before message {n} came {message:.60?}");
            n != at + 1 && !before
        });
    }

    /// Whether nothing has to come any more, if the sender has flushed so many bytes.
    pub fn is_done(&self, flushed: u64) -> bool {
        self.anything || self.sent.iter().all(|sent| sent.loose || sent.offset > flushed)
    }
}
