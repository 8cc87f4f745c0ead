//! What two ends agreed on about permessage-deflate.
use tickwire::{
    Role,
    deflate::{DeflateParams, Direction},
};

/// Context takeover of both ends or of neither, and windows of 15 bits.
pub(crate) fn agreed(takeover: bool) -> DeflateParams {
    let both = Direction { takeover, ..Direction::default() };
    DeflateParams { server: both, client: both }
}

/// Of the messages of `sender`.
pub(crate) fn side(agreed: &mut DeflateParams, sender: Role) -> &mut Direction {
    match sender {
        Role::Server => &mut agreed.server,
        Role::Client => &mut agreed.client,
    }
}

/// The same, with takeover of `sender` too.
pub(crate) fn with_takeover(mut agreed: DeflateParams, sender: Role) -> DeflateParams {
    side(&mut agreed, sender).takeover = true;
    agreed
}

/// The same, but for windows of this size for messages of `sender`.
pub(crate) fn with_window(mut agreed: DeflateParams, sender: Role, bits: u8) -> DeflateParams {
    side(&mut agreed, sender).window_bits = bits;
    agreed
}
