//! The sessions that requests may name, and how many there may be.
use crate::transport::polling::Request;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// All sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    known: Arc<Mutex<HashMap<String, Handle>>>,
    places: Arc<Semaphore>,
}

/// A session to which requests may go.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    /// Held while a body is read and heard.
    pub(crate) turn: Arc<Semaphore>,
}

impl Sessions {
    pub(crate) fn new(max: usize) -> Self {
        let places = Semaphore::new(max.min(Semaphore::MAX_PERMITS));
        Self { known: Arc::default(), places: Arc::new(places) }
    }

    /// Room for one more, while it is held.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// How many there may be beside those there are.
    pub(crate) fn places_left(&self) -> usize {
        self.places.available_permits()
    }

    pub(crate) fn get(&self, sid: &str) -> Option<Handle> {
        self.lock().get(sid).cloned()
    }

    /// Makes a session known, until what this returns is dropped.
    pub(crate) fn register(&self, sid: &str, handle: Handle) -> Registered {
        self.lock().insert(sid.to_owned(), handle);
        Registered { sessions: self.clone(), sid: sid.to_owned() }
    }

    /// What a panic elsewhere may have left is whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Handle>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session is known.
pub(crate) struct Registered {
    sessions: Sessions,
    sid: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.sid);
    }
}
