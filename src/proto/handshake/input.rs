//! Puts bytes that are already here where a read would put them: for handshakes through an HTTP
//! stack, and for replays.
use crate::proto::{connection::Connection, handshake::Reading};

/// What says where to read into.
pub(crate) trait Input {
    fn place(&mut self) -> &mut [u8];
    fn placed(&mut self, n: usize);

    /// Puts all of it there.
    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let place = self.place();
            let (now, later) = bytes.split_at(place.len().min(bytes.len()));
            if let Some(place) = place.get_mut(..now.len()) {
                place.copy_from_slice(now);
            }
            self.placed(now.len());
            bytes = later;
        }
    }
}

impl Input for Connection {
    fn place(&mut self) -> &mut [u8] {
        self.receiver_mut().spare_mut()
    }
    fn placed(&mut self, n: usize) {
        self.receiver_mut().commit(n);
    }
}

impl Input for Reading {
    fn place(&mut self) -> &mut [u8] {
        self.spare_mut()
    }
    fn placed(&mut self, n: usize) {
        self.commit(n);
    }
}
