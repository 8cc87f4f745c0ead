//! Proofs by Kani: the body of a Close (RFC 6455 §5.5.1, §7.4). See `checks/kani`.
use super::*;
use crate::proto::kernel::proofs::is_valid_by_the_table;

/// Whether a code may be in a Close frame, by the ranges in §7.4; 1012 to 1014 are from IANA's
/// registry.
fn may_be_sent(code: u16) -> bool {
    match code {
        0..=999 => false,
        1004 | 1005 | 1006 | 1015 => false,
        1000..=1014 => true,
        1016..=2999 => false,
        3000..=4999 => true,
        _ => false,
    }
}

#[kani::proof]
fn every_code_is_allowed_or_not() {
    let code = kani::any();
    let allowed = CloseCode::new(code);
    assert!(allowed.is_some() == may_be_sent(code));
    assert!(allowed.is_none_or(|allowed| allowed.get() == code));
}

/// The length of the longest body that is tried: a 2-byte code and one character of at most 4
/// bytes. A longer reason would only test the standard library's UTF-8 check.
const N: usize = 6;

/// Tries all bodies of up to `N` bytes.
#[kani::proof]
#[kani::unwind(7)]
fn every_body_is_parsed_or_refused() {
    let bytes: [u8; N] = kani::any();
    let n = kani::any_where(|&n: &usize| n <= N);
    let code = u16::from_be_bytes([bytes[0], bytes[1]]);
    let allowed = n >= 2 && may_be_sent(code);
    // §5.5.1: the reason is UTF-8, as the table of RFC 3629 defines it.
    let utf8 = n >= 2 && is_valid_by_the_table(&bytes[2..n]);
    match CloseFrame::parse(&bytes[..n]) {
        Ok(None) => assert!(n == 0),
        Ok(Some(frame)) => {
            assert!(allowed && utf8 && frame.code.get() == code);
            assert!(frame.reason.as_ptr() == bytes[2..].as_ptr() && frame.reason.len() == n - 2);
        }
        Err(ProtocolError::BadUtf8) => assert!(allowed && !utf8),
        Err(ProtocolError::ShortClose) => assert!(n == 1),
        Err(error) => assert!(error == ProtocolError::BadClose { code } && n > 1 && !allowed),
    }
}

/// §5.5: a `Control` has at most 125 bytes. If the parts together are longer, `new` returns `None`.
#[kani::proof]
fn a_body_is_never_longer_than_a_control_frame() {
    let bytes = [7; 126];
    let first = kani::any();
    let second = kani::any();
    kani::assume(first <= 126 && second <= 126);
    let control = Control::new([&bytes[..first], &bytes[..second]]);
    assert!(control.is_some() == (first + second <= 125));
    assert!(control.is_none_or(|control| control.payload().len() == first + second));
}
