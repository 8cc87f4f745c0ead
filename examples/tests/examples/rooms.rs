//! Tests the example `rooms`: join, leave, and that all others in the room hear what a member says.
#![cfg(feature = "tokio")]

#[allow(clippy::module_inception)] // the example's module has this name
#[path = "../../rooms/rooms.rs"]
mod rooms;
#[path = "../../rooms/session.rs"]
mod session;

use self::rooms::Rooms;
use tickwire::{
    CloseCode, Config,
    tokio::{MaybeTls, WebSocket, connect},
};
use tokio::{net::TcpListener, task::yield_now};

type Client = WebSocket<MaybeTls>;

async fn start() -> (Rooms, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let rooms = Rooms::default();
    tokio::spawn({
        let rooms = rooms.clone();
        async move {
            for who in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let rooms = rooms.clone();
                tokio::spawn(async move { session::run(stream, &rooms, who).await });
            }
        }
    });
    (rooms, url)
}

async fn client(url: &str) -> Client {
    connect(url, &Config::default()).await.unwrap()
}

async fn hears(client: &mut Client) -> String {
    client.recv().await.unwrap().unwrap().as_text().unwrap().to_owned()
}

/// Sends, and returns the answer.
async fn ask(client: &mut Client, line: &str) -> String {
    client.send(line).await.unwrap();
    hears(client).await
}

#[tokio::test]
async fn what_is_said_is_heard_by_all_others_in_the_room_and_by_nobody_else() {
    testkit::tasks::bounded(async {
        let (_, url) = start().await;
        let (mut a, mut b, mut c, mut d) =
            (client(&url).await, client(&url).await, client(&url).await, client(&url).await);
        assert_eq!(ask(&mut a, "/join tea").await, "joined tea, 1 here");
        // As the users of the example `client` type.
        assert_eq!(ask(&mut b, "//join tea").await, "joined tea, 2 here");
        assert_eq!(ask(&mut c, "/join tea").await, "joined tea, 3 here");
        assert_eq!(ask(&mut d, "/join coffee").await, "joined coffee, 1 here");
        a.send("hello").await.unwrap();
        assert_eq!([hears(&mut b).await, hears(&mut c).await], ["hello", "hello"]);
        b.send(&[1, 2]).await.unwrap(); // binary too
        assert_eq!(a.recv().await.unwrap().unwrap().as_bytes(), [1, 2]);
        assert_eq!(c.recv().await.unwrap().unwrap().as_bytes(), [1, 2]);
        // `a` did not hear itself, and `d` heard nothing: the next thing they hear is an answer.
        assert_eq!(ask(&mut a, "/leave").await, "left tea");
        assert_eq!(ask(&mut d, "//leave").await, "left coffee");
        b.send("are you there?").await.unwrap();
        assert_eq!(hears(&mut c).await, "are you there?");
        assert_eq!(ask(&mut a, "hello?").await, "join a room first: /join NAME");
        assert_eq!(ask(&mut a, "/join tea").await, "joined tea, 3 here");
        c.send("welcome back").await.unwrap();
        assert_eq!([hears(&mut a).await, hears(&mut b).await], ["welcome back"; 2]);
    })
    .await;
}

#[tokio::test]
async fn moving_to_another_room_leaves_the_first_and_empty_rooms_are_gone() {
    testkit::tasks::bounded(async {
        let (rooms, url) = start().await;
        let (mut a, mut b) = (client(&url).await, client(&url).await);
        assert_eq!(ask(&mut a, "/join tea").await, "joined tea, 1 here");
        assert_eq!(ask(&mut b, "/join tea").await, "joined tea, 2 here");
        assert_eq!(ask(&mut a, "/join tea").await, "joined tea, 2 here");
        assert_eq!(ask(&mut a, "/join coffee").await, "joined coffee, 1 here");
        assert_eq!(rooms.len(), 2);
        assert_eq!(ask(&mut b, "/join coffee").await, "joined coffee, 2 here");
        assert_eq!(rooms.len(), 1);
        a.close(CloseCode::NORMAL).await.unwrap();
        drop(b); // leaving without a Close also counts
        while rooms.len() > 0 {
            yield_now().await;
        }
    })
    .await;
}
