//! Tests the states of the sender and the receiver in `ack`. (The program itself fails if an order
//! is lost or done twice over a hundred cuts: see `command_line.rs`.)
#[allow(dead_code)] // the program needs more of the module than this test
#[path = "../../ack/delivery.rs"]
mod delivery;

use self::delivery::{Received, Unacked};

#[test]
fn what_was_not_acknowledged_is_sent_again_and_taken_once() {
    let (mut sender, mut receiver) = (Unacked::new(3), Received::default());
    assert_eq!(
        [sender.push(b"a"), sender.push(b"b"), sender.push(b"c")],
        [Some(1), Some(2), Some(3)]
    );
    assert_eq!((sender.push(b"d"), sender.has_room()), (None, false));
    assert_eq!((receiver.take(1), receiver.take(2)), (Ok(true), Ok(true)));
    sender.acked(receiver.up_to() - 1); // the second acknowledgement was lost
    assert_eq!(sender.iter().collect::<Vec<_>>(), [(2, &b"b"[..]), (3, b"c")]);
    assert_eq!((receiver.take(2), receiver.take(3)), (Ok(false), Ok(true)));
    assert!(receiver.take(5).is_err());
    sender.acked(u64::MAX);
    assert!(sender.is_empty());
    assert_eq!(sender.push(b"d"), Some(4));
}
