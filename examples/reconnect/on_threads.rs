//! The sockets, on threads. Each connection has a thread, which receives.
use super::client::{Client, News};
use std::{
    collections::HashMap,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Dial, Error, Time,
    blocking::{MaybeTls, Writer},
    handshake::client::Request,
};
use tickwire_feed::{Action, ConnectionId};

type Tell = mpsc::SyncSender<(ConnectionId, News<Writer<MaybeTls>>)>;

/// Follows the feed until the client stops for good.
pub(crate) fn run(client: &mut Client) {
    let (began, mut open) = (Instant::now(), HashMap::<_, Writer<_>>::new());
    let (tell, news): (Tell, _) = mpsc::sync_channel(16);
    while let Some(action) = client.poll(Time::new(began.elapsed())) {
        match action {
            Action::Dial { connection, address, .. } => {
                let (request, tell) = (client.application.requests[address].clone(), tell.clone());
                thread::spawn(move || {
                    let ended = follow(connection, &request, &tell);
                    let _ = tell.send((connection, News::Ended(ended)));
                });
            }
            Action::Send { connection, say } => {
                if let Some(writer) = open.get_mut(&connection) {
                    // The reader learns of the error.
                    let _ = writer.send(client.application.message(say));
                }
            }
            Action::Leave { connection, code, .. } => {
                if let Some(mut writer) = open.remove(&connection) {
                    let _ = writer.leave(code, Duration::ZERO);
                }
            }
            Action::Wait(until) => {
                if let Ok(news) = news.recv_timeout(until - Time::new(began.elapsed())) {
                    client.told(news, &mut open, began);
                }
            }
            _ => {}
        }
    }
}

/// Runs one connection to its end.
fn follow(id: ConnectionId, to: &Request, tell: &Tell) -> Result<u16, Error> {
    let (mut reader, writer) = Dial::new(to).blocking_connect(&Config::trading())?.into_split()?;
    let _ = tell.send((id, News::Opened(writer)));
    while let Some(message) = reader.recv()? {
        let _ = tell.send((id, News::new(message)));
    }
    Ok(reader.closed().map_or(1006, |end| end.code))
}
