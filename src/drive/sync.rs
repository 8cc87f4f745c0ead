//! The locks and the clock of a split WebSocket: those of std or, when `checks/model` builds this crate
//! to try all interleavings of threads, those of loom, with a clock that stands still.
#[cfg(not(tickwire_model))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, Mutex as TryMutex, MutexGuard, MutexGuard as TryMutexGuard,
        atomic::AtomicBool,
    },
    time::Instant,
};

#[cfg(tickwire_model)]
#[path = "../../checks/model/sync.rs"]
mod model;
#[cfg(tickwire_model)]
pub(crate) use {
    self::model::{TryMutex, TryMutexGuard},
    ::tokio::time::Instant,
    loom::sync::{Condvar, Mutex, MutexGuard, atomic::AtomicBool},
};
