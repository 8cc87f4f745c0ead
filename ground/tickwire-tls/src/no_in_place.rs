//! Replaces `in_place.rs` when the feature `in-place` is off: no value of the type exists, so the
//! compiler drops the code that would work on one.
use core::{
    convert::Infallible,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

#[derive(Clone)]
pub(super) struct InPlace<T>(Infallible, PhantomData<T>);

impl<T> InPlace<T> {
    pub(super) fn try_map<U, E>(self, _: impl FnOnce(T) -> Result<U, E>) -> Result<InPlace<U>, E> {
        match self.0 {}
    }
}

impl<T> Deref for InPlace<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.0 {}
    }
}

impl<T> DerefMut for InPlace<T> {
    fn deref_mut(&mut self) -> &mut T {
        match self.0 {}
    }
}
