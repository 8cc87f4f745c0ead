//! What the comment in `peers/nexus.rs` claims: nexus-web lends a text that is none, where a read
//! has cut its frame in two. When it no longer does, the row is one of equal work, and the note
//! goes.

use nexus_web::ws::{FrameReader, Message, Role};

#[test]
fn nexus_validates_a_text_only_if_all_of_it_is_read_at_once() {
    let wire = [0x81, 4, b'o', b'k', 0xff, 0xff];
    let mut whole = FrameReader::builder().role(Role::Client).build();
    whole.read(&wire).unwrap();
    assert!(whole.next().is_err());
    let mut cut = FrameReader::builder().role(Role::Client).build();
    cut.read(&wire[..4]).unwrap();
    assert!(cut.next().unwrap().is_none());
    cut.read(&wire[4..]).unwrap();
    match cut.next() {
        Ok(Some(Message::Text(text))) => assert_eq!(text.as_bytes(), &wire[2..]),
        other => panic!("it validates by now: {other:?}"),
    }
}
