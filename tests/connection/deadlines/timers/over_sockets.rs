//! Frames and messages that trickle in, and waits beyond all time: over sockets of this machine,
//! with the heap counted.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use std::time::{Duration, Instant};
use tickwire::{Config, Heartbeat, RecvError, Role};

// A25
#[test]
fn a_frame_that_trickles_in_is_ended_by_the_frame_timeout() {
    for role in ROLES {
        let config = Config { frame_timeout: Duration::from_millis(60), ..patient() };
        let begun = [
            head(BINARY, key_of(peer(role)), Len::Long(1 << 20)), // inside a payload
            head(BINARY_OPEN, key_of(peer(role)), Len::Medium(60_000)),
            head(PING, key_of(peer(role)), Len::Short(125)),
            head(BINARY, None, Len::Short(127))[..1].to_vec(), // inside a header
        ];
        for wire in begun {
            for story in attack(role, &config, |foe| {
                foe.flood(&wire, 1);
                let mut bytes = 0;
                // A byte now and then, for as long as it is borne: each is a sign of life.
                let byte = if role == Role::Server { 0xff } else { 0x7f }; // a long frame's second
                while foe.flood(&[byte], 1) == 1 && bytes < 5000 {
                    bytes += 1;
                    if wire.len() == 1 {
                        // A header has no room for more, so it stays at that.
                        return bytes + foe.rest().len();
                    }
                    std::thread::sleep(Duration::from_millis(20)); // a Ping takes 2 s
                }
                bytes
            }) {
                let who = format!("{:?} {role:?} {wire:02x?}", story.adapter);
                assert_eq!(story.fate.end, RecvError::FrameTimeout.into(), "{who}");
                assert!(story.told < 5000, "{who}");
                story.heap.under(who, partial(5000));
            }
        }
    }
}

// A100
#[test]
fn a_message_that_trickles_in_many_frames_ends_at_ten_times_the_frame_timeout() {
    let config = Config { frame_timeout: Duration::from_millis(20), ..patient() };
    for role in ROLES {
        for story in attack(role, &config, |foe| {
            let began = Instant::now();
            foe.flood(&frame_to(role, BINARY_OPEN, "x"), 1);
            // Each fragment is whole at once, and a Ping says that the peer is alive.
            let more = [frame_to(role, CONT_OPEN, "x"), frame_to(role, PING, "")].concat();
            let mut fragments = 1;
            while foe.flood(&more, 1) == 1 {
                fragments += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            (fragments, began.elapsed())
        }) {
            let who = format!("{:?} {role:?}", story.adapter);
            assert_eq!(story.fate.end, RecvError::FrameTimeout.into(), "{who}");
            let (fragments, took) = story.told;
            assert!(fragments > 1 && took >= Duration::from_millis(200), "{who}: {took:?}");
            story.heap.under(who, partial(fragments));
        }
    }
}

// A86
#[test]
fn waits_beyond_all_time_never_end_and_wrap_nowhere() {
    let forever = [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::MAX / 3];
    for wait in forever {
        let config = Config {
            handshake_timeout: wait,
            close_timeout: wait,
            frame_timeout: wait,
            write_timeout: wait,
            heartbeat: Some(Heartbeat::new(wait, wait)),
            ..patient()
        };
        for role in ROLES {
            for story in attack(role, &config, |foe| {
                foe.wire(foe.frame(PING, "?"));
                assert_eq!(foe.next(), (PONG, b"?".to_vec()));
                // A frame in pieces, during which deadlines are armed.
                let frame = foe.frame(TEXT, "in time");
                for byte in frame {
                    foe.wire([byte]);
                }
                foe.say(&frame_to(role, CLOSE, close_body(1000, "")))
            }) {
                let ping = Seen::Ping(b"?".to_vec());
                let close = Seen::Close(Some((1000, String::new())));
                assert_eq!(story.fate.seen, [ping, text("in time"), close], "{wait:?}");
                assert_eq!((story.fate.end, story.fate.clean), (End::Closed, true));
                assert_eq!(story.told, [(CLOSE, close_body(1000, ""))]);
                story.heap.under(format_args!("{:?} {role:?}", story.adapter), SMALL);
            }
        }
    }
}
