//! A lock that can be tried, of loom's parts: part of the crate where that is built for the model
//! checker, see src/drive/sync.rs. With loom's own a thread about to try waits when another one takes it
//! first.
use loom::sync::{Condvar, Mutex as LoomMutex};
use std::{
    ops::{Deref, DerefMut},
    sync::{LockResult, Mutex, MutexGuard, TryLockError, TryLockResult},
};

#[derive(Debug)]
pub(crate) struct TryMutex<T> {
    taken: LoomMutex<bool>,
    freed: Condvar,
    /// Locked by whoever has set `taken`: never waited for.
    data: Mutex<T>,
}

#[derive(Debug)]
pub(crate) struct TryMutexGuard<'a, T> {
    of: &'a TryMutex<T>,
    data: Option<MutexGuard<'a, T>>,
}

impl<T> TryMutex<T> {
    pub(crate) fn new(data: T) -> Self {
        Self { taken: LoomMutex::new(false), freed: Condvar::new(), data: Mutex::new(data) }
    }

    #[allow(clippy::unwrap_used)]
    pub(crate) fn lock(&self) -> LockResult<TryMutexGuard<'_, T>> {
        let mut taken = self.taken.lock().unwrap();
        while *taken {
            taken = self.freed.wait(taken).unwrap();
        }
        *taken = true;
        Ok(TryMutexGuard { of: self, data: Some(self.data.try_lock().unwrap()) })
    }

    #[allow(clippy::unwrap_used)]
    pub(crate) fn try_lock(&self) -> TryLockResult<TryMutexGuard<'_, T>> {
        let mut taken = self.taken.lock().unwrap();
        if *taken {
            return Err(TryLockError::WouldBlock);
        }
        *taken = true;
        Ok(TryMutexGuard { of: self, data: Some(self.data.try_lock().unwrap()) })
    }
}

impl<T> Drop for TryMutexGuard<'_, T> {
    #[allow(clippy::unwrap_used)]
    fn drop(&mut self) {
        self.data = None;
        *self.of.taken.lock().unwrap() = false;
        self.of.freed.notify_one();
    }
}

impl<T> Deref for TryMutexGuard<'_, T> {
    type Target = T;

    #[allow(clippy::unwrap_used)]
    fn deref(&self) -> &T {
        self.data.as_ref().unwrap()
    }
}

impl<T> DerefMut for TryMutexGuard<'_, T> {
    #[allow(clippy::unwrap_used)]
    fn deref_mut(&mut self) -> &mut T {
        self.data.as_mut().unwrap()
    }
}
