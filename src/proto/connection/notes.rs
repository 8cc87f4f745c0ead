//! What `tickwire-loop` and the facade note on the tape: see `proto/tape.rs`.
use super::Connection;
use crate::proto::{
    tape::{Facts, Note, Wait},
    time::Time,
};

#[doc(hidden)]
impl Connection {
    /// `drives`: whether this caller writes all that is fed, and tells the time. The facade does
    /// neither, and while its answer to a Close is refused, it reads on and discards what comes, as
    /// tungstenite does.
    pub fn note_read(&self, drives: bool) {
        self.note(Note::Reads, drives);
    }

    pub fn note_write(&self, early: bool) {
        self.note(Note::Writes { early }, true);
    }

    pub fn note_over(&self) {
        self.note(Note::Over, true);
    }

    /// `readable` and `writable`: what the caller has tried in vain, and waits for.
    pub fn note_wait(&self, drives: bool, (readable, writable): (bool, bool), until: Option<Time>) {
        if readable {
            self.inbound.note(Note::Pending { asked: true });
        }
        self.note(Note::Waits(Wait { readable, writable, until, ..Wait::default() }), drives);
    }

    /// As `note_wait`, for a caller that only writes now.
    pub fn note_flush(&self, writable: bool, until: Option<Time>) {
        let wait = Wait { writable, until, flushes: true, ..Wait::default() };
        self.note(Note::Waits(wait), true);
    }

    fn note(&self, note: Note, drives: bool) {
        self.inbound.tape().check(note, || {
            let facts = Facts { whole: drives, ..self.inbound.facts(&self.tx) };
            match drives {
                true => facts,
                false => Facts { drains: true, deadline: None, ..facts },
            }
        });
    }
}
