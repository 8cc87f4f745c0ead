//! What `tickwire-loop` and the facade note on the tape: see `proto/tape.rs`.
use super::Connection;
use crate::proto::{
    tape::{Facts, Note, Wait},
    time::Time,
};

#[doc(hidden)]
impl Connection {
    /// `owns_sending`: whether this caller writes whatever is fed, or leaves that to the program.
    pub fn note_read(&self, owns_sending: bool) {
        self.note(Note::Reads, owns_sending);
    }

    pub fn note_write(&self, early: bool) {
        self.note(Note::Writes { early }, true);
    }

    pub fn note_over(&self) {
        self.note(Note::Over, true);
    }

    pub fn note_wait(
        &self,
        owns_sending: bool,
        (readable, writable): (bool, bool),
        until: Option<Time>,
    ) {
        if readable {
            self.inbound.note(Note::Pending { asked: true });
        }
        let wait = Wait { readable, writable, until, ..Wait::default() };
        self.note(Note::Waits(wait), owns_sending);
    }

    fn note(&self, note: Note, whole: bool) {
        self.inbound.tape().check(note, || Facts { whole, ..self.inbound.facts(&self.tx) });
    }
}
