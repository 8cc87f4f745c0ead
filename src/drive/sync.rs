//! What the halves of a split WebSocket share is made of, and what tells them the time: of std, or,
//! where `tests/model` builds this crate to try all the ways in which threads can interleave, of
//! loom, with a clock that stands still.
#[cfg(not(tickwire_model))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, Mutex as TryMutex, MutexGuard, MutexGuard as TryMutexGuard,
        atomic::AtomicBool,
    },
    time::Instant,
};

#[cfg(tickwire_model)]
#[path = "../../tests/model/sync.rs"]
mod model;
#[cfg(tickwire_model)]
pub(crate) use {
    self::model::{TryMutex, TryMutexGuard},
    ::tokio::time::Instant,
    loom::sync::{Condvar, Mutex, MutexGuard, atomic::AtomicBool},
};
