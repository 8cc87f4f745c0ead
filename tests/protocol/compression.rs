//! 11 permessage-deflate: data. What holds where none was agreed on.
use crate::{delivers, fails, support::wire::*};
use tickwire::ProtocolError;

#[test]
fn p172_rsv1_without_an_agreement_is_refused_and_nothing_is_inflated() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    for role in ROLES {
        for b0 in [0xc1, 0xc2, 0x41, 0x42] {
            fails(role, &to(role, b0, hello), ProtocolError::ReservedBits);
        }
        delivers(role, &to(role, BINARY, hello), &[binary(hello)]);
    }
}
