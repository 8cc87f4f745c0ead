// Included, not a module: what needs only this, or lies in another package, has it alone.

/// Nothing but a hang takes as long, on however busy a machine.
#[allow(dead_code, unreachable_pub)]
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
