//! A name server that never says anything of a name's IPv6 addresses, in namespaces of network and
//! mounts of their own: a program that waits for less than the system's resolver, and tries again,
//! connects.
use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};
use testkit::namespaces::with_names;
use tickwire_tungstenite::{connect_async, tungstenite::Error};
use tokio::{runtime::Builder, time::timeout};

const TEST: &str = "names::a_name_whose_ipv6_answer_is_lost_connects_after_some_tries";

#[test]
fn a_name_whose_ipv6_answer_is_lost_connects_after_some_tries() {
    with_names(TEST, inside);
}

fn inside() {
    let listener = TcpListener::bind("192.0.2.1:0").unwrap();
    let url = format!("ws://never.facade.test:{}/", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for tries in 1..100 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let limit = Duration::from_millis(700); // the resolver waits for a second and more
        let tried = runtime.block_on(async { timeout(limit, connect_async(&url)).await });
        drop(runtime); // does not wait for the lookup
        if let Ok(answered) = tried {
            let error = answered.map(drop).unwrap_err();
            assert!(matches!(error, Error::Http(_)), "{error}");
            println!("connects by try {tries}");
            return assert!(tries > 1);
        }
    }
    panic!("it never connects");
}
