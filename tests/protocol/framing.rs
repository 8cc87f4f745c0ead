//! 1 Frame header.
use crate::support::wire::*;
use tickwire::{Config, Role};

#[test]
fn p012_the_shortest_form_of_length_is_sent() {
    for role in ROLES {
        let bit = if role == Role::Client { 0x80 } else { 0 };
        for (len, form) in [
            (0, vec![bit]),
            (125, vec![bit | 125]),
            (126, vec![bit | 126, 0, 126]),
            (0xffff, vec![bit | 126, 0xff, 0xff]),
            (0x1_0000, vec![bit | 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed(&vec![1; len]).unwrap();
            let wire = drain(&mut conn);
            assert_eq!(wire[..1 + form.len()], [&[BINARY], &form[..]].concat());
            let key = if role == Role::Client { 4 } else { 0 };
            assert_eq!(wire.len(), 1 + form.len() + key + len);
        }
    }
}
