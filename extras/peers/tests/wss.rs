//! Every side of the part `wss` receives and sends every byte of every case; and what the table
//! says of who does what is so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tickwire_peers::mem::{calls, now};
use tickwire_peers::peers::Conn;
use tickwire_peers::tls::memory::Far;
use tickwire_peers::tls::sides::{self, CASES, Load, Work};

/// The streams in memory count and record for the whole program: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Check<'a>(&'a Load);

impl Work for Check<'_> {
    /// Writes of a lap.
    type Out = u64;
    fn work<C: Conn>(&mut self, mut conn: C, mut far: Option<Far>) -> u64 {
        self.0.check(&mut conn, far.as_mut());
        // Again, now that buffers have grown.
        let before = calls().1;
        self.0.check(&mut conn, far.as_mut());
        calls().1 - before
    }
}

#[test]
fn every_byte_arrives_and_each_batch_is_one_write() {
    let _alone = alone();
    for case in CASES {
        let load = Load::new(case);
        for name in sides::names() {
            let writes = sides::with(name, &mut Check(&load));
            // It does not queue.
            let batch = if name == "fastwebsockets" { 1 } else { case.batch };
            let least = load.messages.len().div_ceil(batch) as u64;
            assert_eq!(writes, if case.sends { least } else { 0 }, "{name}, {}", case.name);
        }
    }
}

#[test]
#[should_panic = "a good tag"]
fn the_prototype_opens_nothing_that_was_changed() {
    let _alone = alone();
    struct Changed;
    impl Work for Changed {
        type Out = ();
        fn work<C: Conn>(&mut self, mut conn: C, far: Option<Far>) {
            let mut wire = Vec::new();
            far.expect("it has TLS").seal(&[0x82, 1, 7], &mut wire);
            wire[5] ^= 1;
            tickwire_peers::mem::fill(wire);
            now(conn.recv(|_| ()));
        }
    }
    sides::with(sides::PROTOTYPE, &mut Changed);
}
