//! The sockets, under tokio: a task for each connection.
use super::client::{Client, News};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tickwire::{CloseCode, Config, Dial, Error, Time, handshake::client::Request};
use tickwire_feed::{Action, ConnectionId};
use tokio::{select, sync::mpsc, time::sleep_until};

type Tell = mpsc::Sender<(ConnectionId, News<mpsc::Sender<String>>)>;

/// Follows the feed until the client stops for good.
pub(crate) async fn run(client: &mut Client) {
    let (began, mut open) = (Instant::now(), HashMap::<_, mpsc::Sender<_>>::new());
    let (tell, mut news): (Tell, _) = mpsc::channel(16);
    while let Some(action) = client.poll(Time::new(began.elapsed())) {
        match action {
            Action::Dial { connection, address, .. } => {
                let (request, tell) = (client.requests[address].clone(), tell.clone());
                tokio::spawn(async move {
                    let ended = follow(connection, &request, &tell).await;
                    let _ = tell.send((connection, News::Ended(ended))).await;
                });
            }
            Action::Send { connection, say } => _ = open[&connection].try_send(client.message(say)),
            Action::Leave { connection, .. } => drop(open.remove(&connection)),
            Action::Wait(until) => select! {
                Some(news) = news.recv() => client.told(news, &mut open, began),
                () = sleep_until((began + until.since_epoch()).into()) => {}
            },
            _ => {}
        }
    }
}

/// Runs one connection. It leaves once the client has dropped the channel of messages to send.
async fn follow(id: ConnectionId, to: &Request, tell: &Tell) -> Result<u16, Error> {
    let mut ws = Dial::new(to).connect(&Config::trading()).await?;
    let (says, mut said) = mpsc::channel(64);
    let _ = tell.send((id, News::Opened(says))).await;
    loop {
        select! {
            text = said.recv() => match text {
                Some(text) => ws.send(text).await?,
                None => return ws.leave(CloseCode::GOING_AWAY, Duration::ZERO).await.map(|()| 1001),
            },
            message = ws.recv() => match message? {
                Some(message) => drop(tell.send((id, News::new(message))).await),
                None => return Ok(ws.closed().map_or(1006, |end| end.code)),
            },
        }
    }
}
