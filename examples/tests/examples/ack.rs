//! The example `ack`: nothing lost and nothing twice, over connections cut at any byte.
#![cfg(feature = "tokio")]

#[path = "../../ack/client.rs"]
mod client;
#[path = "../../ack/delivery.rs"]
mod delivery;
#[path = "../../ack/server.rs"]
mod server;

use self::delivery::{Received, Unacked};
use std::{sync::Arc, time::Duration};
use tickwire::handshake::client::Request;
use tickwire_parts::Backoff;
use tokio::{net::TcpListener, sync::mpsc};

#[tokio::test]
async fn nothing_is_lost_and_nothing_is_done_twice_over_a_hundred_cuts() {
    crate::bounded::bounded(async {
        const CUTS: u32 = 100;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let orders = Arc::new(server::Orders::default());
        let account = orders.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let orders = orders.clone();
                tokio::spawn(async move { server::serve(stream, &orders).await });
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/desk-7", listener.local_addr().unwrap());
        tokio::spawn(crate::cutter::run(listener, server, CUTS, 3000));
        // More than passes before the last cut, of several lengths.
        let order = |n: u32| n.to_string().repeat(1 + n as usize % 40).into_bytes();
        let (send, receive) = mpsc::channel(16);
        tokio::spawn(async move {
            for n in 0..5000 {
                let _ = send.send(order(n)).await;
            }
        });
        let request = Request::new(&url).unwrap();
        let mut backoff = Backoff::seeded(1);
        backoff.max_delay = Duration::from_millis(1);
        let connections = client::run(&request, &mut backoff, receive).await.unwrap();
        assert_eq!(connections, CUTS + 1);
        let accounts = account.lock();
        let done = &accounts.get("/desk-7").unwrap().done;
        assert_eq!(done.len(), 5000);
        for (n, done) in (0..).zip(done) {
            assert_eq!(*done, order(n), "{n}");
        }
    })
    .await;
}

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
