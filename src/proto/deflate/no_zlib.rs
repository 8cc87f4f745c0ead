//! Replaces `zlib.rs` if the feature `deflate` is off. The types here, except `Packed`, have no
//! values, so the compiler drops all code that needs one.
use super::{
    Deflate,
    codec::{Broken, Inflated, Setting, ZlibOutput},
};
use alloc::boxed::Box;
use bytes::Bytes;
use core::{
    convert::Infallible,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

pub(super) type Supported = Infallible;

pub(crate) struct Boxed<T>(Zlib, PhantomData<T>);

impl<T> Deref for Boxed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.0 {}
    }
}

impl<T> DerefMut for Boxed<T> {
    fn deref_mut(&mut self) -> &mut T {
        match self.0 {}
    }
}

// An `Option<Deflate>` is always `None` here, which the compiler does not see, because `Deflate`
// has other fields than `more`. These functions tell it, so that it can drop the code for `Some`.

pub(crate) fn wanted(_: Option<&Deflate>) -> Option<&Deflate> {
    None
}

pub(crate) fn settings(_: Option<Deflate>) -> Option<Deflate> {
    None
}

pub(crate) enum Compressor {}

impl Compressor {
    pub(crate) fn reset(&mut self) {
        match *self {}
    }

    pub(crate) fn compress(&mut self, _: &[u8], _: &mut ZlibOutput) -> Result<(), Broken> {
        match *self {}
    }
}

pub(crate) enum Decompressor {}

pub(crate) fn inflate(
    raw: &mut Decompressor,
    _: &[u8],
    _: &mut [u8],
    _: bool,
) -> Result<Inflated, Broken> {
    match *raw {}
}

#[derive(Clone, Copy)]
pub(crate) enum Zlib {}

impl Zlib {
    pub(crate) fn new(_: &Deflate) -> Option<Self> {
        None
    }

    pub(crate) fn boxed<T>(self, _: T) -> Boxed<T> {
        match self {}
    }

    pub(crate) fn compressor(self, _: Setting) -> Box<Compressor> {
        match self {}
    }

    pub(crate) fn give_compressor(self, _: Box<Compressor>) {
        match self {}
    }

    pub(crate) fn compress_alone(self, _: Setting, _: &[u8], _: &mut ZlibOutput) -> bool {
        match self {}
    }

    pub(crate) fn decompressor(self) -> Box<Decompressor> {
        match self {}
    }

    pub(crate) fn give_decompressor(self, _: Box<Decompressor>) {
        match self {}
    }
}

#[derive(Clone, Default)]
pub(crate) struct Packed;

impl Packed {
    pub(crate) fn get(&self, zlib: Zlib, _: Setting, _: &[u8]) -> Option<&Bytes> {
        match zlib {}
    }
}
