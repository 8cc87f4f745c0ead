//! The sessions that requests may name, and how many there may be, in all and from one address.
use crate::{settings::Settings, transport::polling::Request};
use places::{Limits, Place, Places};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Semaphore, mpsc};

/// All sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    known: Arc<Mutex<HashMap<String, Handle>>>,
    places: Places,
}

/// A session to which requests may go.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    /// Held while a body is read and heard.
    pub(crate) turn: Arc<Semaphore>,
}

impl Sessions {
    pub(crate) fn new(settings: &Settings) -> Self {
        // A session has no opening handshake that would cost more than itself.
        let limits = Limits::of_connections(settings.max_sessions, settings.max_per_address);
        Self { known: Arc::default(), places: Places::new(limits) }
    }

    /// Room for one more, while it is held.
    pub(crate) fn place(&self, from: IpAddr) -> Option<Place> {
        self.places.enter(from)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.places.taken()
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
