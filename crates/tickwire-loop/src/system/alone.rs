//! For builds without io_uring: `System` is `Mio`. This file adds the methods that only the other
//! `System`, that of `either.rs`, would have.
pub(crate) use super::mio::{Mio as System, Stream};
use super::{Note, Token, Waker};
use std::{io, iter};

impl System {
    pub(crate) fn new(_: bool) -> io::Result<(Self, Waker)> {
        Self::begin()
    }

    pub(crate) fn is_io_uring(&self) -> bool {
        false
    }

    pub(crate) fn opened(&mut self, stream: Stream, _: Token) -> Stream {
        stream
    }

    pub(crate) fn ring_notes(&self) -> impl Iterator<Item = Note> {
        iter::empty()
    }

    pub(crate) fn submit(&mut self) -> io::Result<()> {
        Ok(())
    }
}
