//! Rooms. A member of a room hears everything that the other members say in it.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tickwire::Prepared;
use tokio::sync::broadcast::{self, error::RecvError};

/// How many messages may wait for a member's task. The outbox bounds a slow connection.
const BACKLOG: usize = 256;

type Said = (u64, Prepared);

/// All rooms that somebody is in.
#[derive(Clone, Default)]
pub(crate) struct Rooms(Arc<Mutex<HashMap<String, broadcast::Sender<Said>>>>);

/// A member of a room. Dropping this value leaves the room.
pub(crate) struct Member {
    rooms: Rooms,
    pub(crate) name: String,
    who: u64,
    room: broadcast::Sender<Said>,
    hears: Option<broadcast::Receiver<Said>>,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<Said>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a room. The room is made if nobody is in it. Each connection needs a different `who`.
    pub(crate) fn join(&self, name: &str, who: u64) -> Member {
        let mut rooms = self.lock();
        let room = rooms.entry(name.to_owned()).or_insert_with(|| broadcast::channel(BACKLOG).0);
        let (room, hears) = (room.clone(), Some(room.subscribe()));
        Member { rooms: self.clone(), name: name.to_owned(), who, room, hears }
    }

    /// How many rooms there are.
    #[allow(dead_code)] // for the test
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Member {
    /// How many members are in the room.
    pub(crate) fn present(&self) -> usize {
        self.room.receiver_count()
    }

    /// Says something to all others. The message is encoded once, however many they are.
    pub(crate) fn say(&self, message: Prepared) {
        let _ = self.room.send((self.who, message));
    }

    /// Returns the next message of another member. An error: this task was too slow.
    pub(crate) async fn hear(&mut self) -> Result<Prepared, RecvError> {
        loop {
            let Some(hears) = &mut self.hears else { return Err(RecvError::Closed) };
            match hears.recv().await {
                Ok((who, message)) if who != self.who => return Ok(message),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        self.hears = None;
        if self.present() == 0 {
            rooms.remove(&self.name);
        }
    }
}
