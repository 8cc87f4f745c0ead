//! What two ends agreed on about permessage-deflate.
use tickwire::{
    Role,
    deflate::{Agreed, Direction},
};

/// Context takeover of both ends or of neither, and windows of 15 bits.
pub(crate) fn agreed(takeover: bool) -> Agreed {
    let both = Direction { takeover, ..Direction::default() };
    Agreed { server: both, client: both }
}

/// Of the messages of `sender`.
pub(crate) fn side(agreed: &mut Agreed, sender: Role) -> &mut Direction {
    match sender {
        Role::Server => &mut agreed.server,
        Role::Client => &mut agreed.client,
    }
}

/// The same, with takeover of `sender` too.
pub(crate) fn with_takeover(mut agreed: Agreed, sender: Role) -> Agreed {
    side(&mut agreed, sender).takeover = true;
    agreed
}

/// The same, but for windows of this size for messages of `sender`.
pub(crate) fn with_window(mut agreed: Agreed, sender: Role, bits: u8) -> Agreed {
    side(&mut agreed, sender).window_bits = bits;
    agreed
}
