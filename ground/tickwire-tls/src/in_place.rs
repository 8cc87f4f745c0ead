//! What only a session that works in place has. Without the feature `in-place`, `no_in_place.rs`
//! replaces this file, and nothing has a value of the type: so a match needs no `cfg`.
use core::ops::{Deref, DerefMut};

#[derive(Clone)]
pub(super) struct InPlace<T>(T);

impl<T> InPlace<T> {
    /// Only `Client::in_place` and `Server::in_place` call this: what a session has comes from
    /// its configuration by [`try_map`](Self::try_map).
    pub(super) fn new(of: T) -> Self {
        Self(of)
    }

    pub(super) fn try_map<U, E>(
        self,
        map: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<InPlace<U>, E> {
        map(self.0).map(InPlace)
    }
}

impl<T> Deref for InPlace<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for InPlace<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
