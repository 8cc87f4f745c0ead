//! The locks and the clock of a split WebSocket: std's, except in `checks/model`, which tries all
//! interleavings of threads, where the locks are loom's, and the clock stands still.
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

/// Ignores poisoning, so that a panic in one half causes none in the other.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
