pub(super) const EMITTED: bool = true;
pub(super) use tracing::{debug, info, trace};
