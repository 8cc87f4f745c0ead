//! The macros that emit events.
pub(super) use tracing::{debug, info, trace};
