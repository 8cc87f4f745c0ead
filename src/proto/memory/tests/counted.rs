//! A [`Memory`] for the tests of buffers. It uses the heap, and records for each thread the lengths
//! of the buffers that were taken and given back.
use super::Memory;
use alloc::{vec, vec::Vec};
use std::cell::RefCell;

std::thread_local! {
    static TAKEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static GIVEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

pub(crate) static COUNTED: Memory = Memory {
    take_to: |to, len| {
        TAKEN.with_borrow_mut(|taken| taken.push(len));
        *to = vec![0; len];
    },
    give: |buffer| GIVEN.with_borrow_mut(|given| given.push(buffer.len())),
};

/// Returns the lengths of the buffers taken, and of the buffers given back, since the last call.
pub(crate) fn traffic() -> (Vec<usize>, Vec<usize>) {
    (TAKEN.take(), GIVEN.take())
}

/// The traffic if no buffer was taken or given back.
pub(crate) const NONE: (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
