//! How often deadlines look at what came or was fed. They look, so that no message notes a time.
use core::time::Duration;

/// Looks per interval. A Ping thus goes after an interval of silence and at most a fifth more,
/// which allows an adapter to be late by a twentieth; the deadline on data is up to a fifth late,
/// and the idle message up to a fifth early.
pub(super) const LOOKS: u32 = 5;

/// A shorter deadline on data, or interval of the idle message, counts as this one, so that other
/// work gets done between looks.
pub(super) const SHORTEST: Duration = Duration::from_millis(5);
