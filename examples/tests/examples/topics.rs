//! The example `topics`: each client gets what it has subscribed to, and of that the newest if it is slow.
#![cfg(feature = "tokio")]

#[allow(clippy::module_inception)] // it is the module of the example
#[path = "../../topics/topics.rs"]
mod topics;

use self::topics::Topics;
use crate::bounded::bounded;
use std::{collections::HashMap, net::SocketAddr, sync::Arc};
use tickwire::{
    CloseCode, Config,
    handshake::client::Request,
    tokio::{WebSocket, client},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::yield_now,
};

/// In bytes: what the system holds of a connection is out of reach.
const BUFFER: u32 = 16 << 10;

async fn start() -> (Arc<Topics>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(BUFFER).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    let topics = Arc::new(Topics::new(&["a", "b", "c"]));
    let shared = topics.clone();
    tokio::spawn(async move {
        for id in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let topics = shared.clone();
            tokio::spawn(async move { topics::session(stream, &topics, id).await });
        }
    });
    (topics, address)
}

struct Client(WebSocket<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(BUFFER).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let request = Request::new(&format!("ws://{address}")).unwrap();
        Self(client(stream, &request, &Config::default()).await.unwrap())
    }

    async fn says(&mut self, text: &str) {
        self.0.send(text).await.unwrap();
    }

    async fn hears(&mut self) -> String {
        self.0.recv().await.unwrap().expect("a message").as_text().unwrap().to_owned()
    }

    async fn ask(&mut self, text: &str) -> String {
        self.says(text).await;
        self.hears().await
    }
}

#[tokio::test]
async fn each_client_gets_the_topics_it_has_subscribed_to_and_no_others() {
    bounded(async {
        let (topics, address) = start().await;
        let (mut one, mut two) = (Client::connect(address).await, Client::connect(address).await);
        assert_eq!(one.ask("subscribe a").await, "subscribed a");
        assert_eq!(two.ask("subscribe b").await, "subscribed b");
        assert_eq!(two.ask("subscribe a").await, "subscribed a");
        for name in ["a", "b", "c"] {
            topics.publish(name, "1");
        }
        assert_eq!(two.hears().await, "a 1");
        assert_eq!(two.hears().await, "b 1");
        assert_eq!(one.hears().await, "a 1");
        // The next thing that each hears is an answer: nothing else came.
        assert_eq!(two.ask("unsubscribe a").await, "unsubscribed a");
        topics.publish("a", "2");
        topics.publish("b", "2");
        assert_eq!(two.hears().await, "b 2");
        assert_eq!(one.hears().await, "a 2");
        assert_eq!(one.ask("unsubscribe a").await, "unsubscribed a");
        topics.publish("a", "3");
        assert_eq!(one.ask("unsubscribe a").await, "error: subscribe TOPIC, unsubscribe TOPIC");
        assert_eq!(one.ask("subscribe d").await, "error: subscribe TOPIC, unsubscribe TOPIC");
    })
    .await;
}

#[tokio::test]
async fn who_subscribes_late_or_again_gets_the_newest_at_once_and_each_later_one_once() {
    bounded(async {
        let (topics, address) = start().await;
        topics.publish("a", "1");
        topics.publish("a", "2");
        let mut one = Client::connect(address).await;
        for _ in 0..2 {
            assert_eq!(one.ask("subscribe a").await, "subscribed a");
            assert_eq!(one.hears().await, "a 2");
        }
        assert_eq!(topics.subscribers("a"), 1);
        topics.publish("a", "3");
        assert_eq!(one.hears().await, "a 3");
        assert_eq!(one.ask("unsubscribe a").await, "unsubscribed a");
    })
    .await;
}

#[tokio::test]
async fn a_slow_client_gets_the_newest_of_each_topic_and_holds_nobody_up() {
    bounded(async {
        const LAST: u32 = 2000;
        let (topics, address) = start().await;
        let (mut slow, mut quick) =
            (Client::connect(address).await, Client::connect(address).await);
        for name in ["a", "b"] {
            assert_eq!(slow.ask(&format!("subscribe {name}")).await, format!("subscribed {name}"));
        }
        assert_eq!(quick.ask("subscribe a").await, "subscribed a");
        let filler = "x".repeat(2000); // together far more than all buffers hold
        for n in 1..=LAST {
            for name in ["a", "b"] {
                topics.publish(name, &format!("{n} {filler}"));
            }
            assert!(quick.hears().await.starts_with(&format!("a {n} ")));
        }
        slow.says("unsubscribe a").await;
        let (mut newest, mut count) = (HashMap::new(), 0);
        while newest.get("b") != Some(&LAST) || newest.get("a") != Some(&LAST) {
            let message = slow.hears().await;
            let mut words = message.split(' ');
            let name = words.next().unwrap().to_owned();
            let n: u32 = words.next().unwrap().parse().unwrap();
            let before = newest.insert(name, n);
            assert!(before.is_none_or(|before| before < n), "{before:?} {n}");
            count += 1;
        }
        assert!(count < LAST, "{count} messages");
        assert_eq!(slow.hears().await, "unsubscribed a");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_asks_and_asks_and_does_not_read_is_disconnected() {
    bounded(async {
        let (_, address) = start().await;
        let mut client = Client::connect(address).await;
        for _ in 0..20_000 {
            client.says("?").await; // receives nothing
        }
        let mut answers = 0;
        while let Some(answer) = client.0.recv().await.unwrap() {
            assert!(answer.as_text().unwrap().starts_with("error"));
            answers += 1;
        }
        assert!((1..20_000).contains(&answers), "{answers}");
        assert_eq!(client.0.closed().unwrap().code, 1013);
    })
    .await;
}

#[tokio::test]
async fn whoever_leaves_in_whatever_way_has_no_subscription_any_more() {
    bounded(async {
        let (topics, address) = start().await;
        let (mut one, mut two) = (Client::connect(address).await, Client::connect(address).await);
        for client in [&mut one, &mut two] {
            assert_eq!(client.ask("subscribe a").await, "subscribed a");
            assert_eq!(client.ask("subscribe b").await, "subscribed b");
        }
        assert_eq!(topics.subscribers("a"), 2);
        one.0.close(CloseCode::NORMAL).await.unwrap();
        drop(two);
        while topics.subscribers("a") + topics.subscribers("b") > 0 {
            yield_now().await;
        }
    })
    .await;
}
