//! The locks and the clock of a split WebSocket. The locks and the clock come from std, except when
//! `checks/model` builds this crate to try all interleavings of threads. In that build the locks
//! are loom's, and the clock stands still.
#[cfg(not(tickwire_model))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::yield_now,
    time::Instant,
};

#[cfg(tickwire_model)]
pub(crate) use {
    ::tokio::time::Instant,
    loom::{
        sync::{
            Mutex, MutexGuard,
            atomic::{AtomicBool, Ordering},
        },
        thread::yield_now,
    },
};

/// Locks a mutex. Ignores poisoning, so that a panic in one half causes no panic in the other half.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
