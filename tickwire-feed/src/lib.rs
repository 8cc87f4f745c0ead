//! What a feed handler needs around its WebSockets, as parts that stand alone: each is told the time, and
//! does no I/O.
//!
//! [`Arbiter`]: two lines, one feed.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod arbiter;
mod pace;
mod rotation;

pub use arbiter::{Arbiter, Event, Gap, Line, Numbers, Verdict};
pub use pace::{Attempts, Pace, Paced};
pub use rotation::Rotation;
