//! What a connection knows of the tasks that poll it: nothing where there are only threads.
#[cfg(feature = "_task")]
pub(crate) use super::task::polls::Polled;

#[cfg(not(feature = "_task"))]
#[derive(Debug, Default)]
pub(crate) struct Polled {}
