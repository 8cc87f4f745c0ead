//! A peer that sends and does not read is held no longer than the write timeout, over TLS too.
use crate::wss::{Far, PATIENCE, servers};
use std::{
    io::{ErrorKind, Write},
    time::{Duration, Instant},
};
use tickwire::Config;

#[test]
fn who_never_reads_is_ended_after_the_write_timeout() {
    let config = Config { write_timeout: Duration::from_millis(300), ..Config::default() };
    let frame = [&[0x82, 0xfe, 0x10, 0, 0, 0, 0, 0][..], &[7; 0x1000]].concat();
    for (addr, tls) in servers(&config) {
        let mut far = Far::open(addr, &tls);
        far.tcp.set_write_timeout(Some(Duration::from_secs(1))).expect("a stream");
        let until = Instant::now() + PATIENCE;
        let ended = loop {
            let wire = far.seal(&frame);
            match far.tcp.write_all(&wire) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // In the middle of a record: whatever follows is for TCP alone.
                    break loop {
                        match far.tcp.write(&[0]) {
                            Err(error) if error.kind() != ErrorKind::WouldBlock => break true,
                            _ if Instant::now() > until => break false,
                            _ => {}
                        }
                    };
                }
                Err(_) => break true,
            }
        };
        assert!(ended, "it is held");
    }
}
