//! One connection: receives commands, and sends what others say in its room.
use super::rooms::{Member, Rooms};
use std::{future::pending, time::Instant};
use tickwire::{
    CloseCode, Config, Error, Message, Prepared, Time,
    tokio::{MessageOrRoom, accept},
};
use tickwire_parts::{Outbox, Overflow};
use tokio::{net::TcpStream, sync::broadcast::error::RecvError};

/// What a client wants. With two slashes too: the example `client` takes lines with one slash as
/// its own commands, and sends `//join` as `/join`.
enum Wish<'a> {
    Join(&'a str),
    Leave,
    Say(Message<'a>),
}

impl<'a> Wish<'a> {
    fn of(message: Message<'a>) -> Self {
        match message.as_text() {
            Some("/leave" | "//leave") => Self::Leave,
            Some(text) => match text.strip_prefix("//join ").or(text.strip_prefix("/join ")) {
                Some(name) => Self::Join(name),
                None => Self::Say(message),
            },
            None => Self::Say(message),
        }
    }
}

pub(crate) async fn run(stream: TcpStream, rooms: &Rooms, who: u64) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, &Config { max_message: 64 * 1024, ..Config::server() }).await?;
    let epoch = Instant::now();
    // A client that is too slow is disconnected, and told to come back later.
    let mut outbox = Outbox::new(Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER));
    let mut room: Option<Member> = None;
    loop {
        let now = || Time::new(epoch.elapsed());
        let _ = outbox.feed(now(), ws.sender_mut()); // closed: receiving says why
        let answer = tokio::select! {
            received = ws.recv_or_room(outbox.max_unsent) => match received? {
                MessageOrRoom::Message(message) => match (Wish::of(message), &mut room) {
                    (Wish::Join(name), room) => {
                        *room = None; // leaves the previous room
                        let joined = room.insert(rooms.join(name, who));
                        format!("joined {name}, {} here", joined.present())
                    }
                    (Wish::Leave, room @ Some(_)) => {
                        let name = room.take().map(|room| room.name.clone());
                        format!("left {}", name.unwrap_or_default())
                    }
                    (Wish::Say(message), Some(room)) => {
                        room.say(Prepared::new(message));
                        continue;
                    }
                    (Wish::Leave | Wish::Say(_), None) => "join a room first: /join NAME".into(),
                },
                MessageOrRoom::Room => continue,
                MessageOrRoom::Closed => return Ok(()),
            },
            heard = hear(&mut room) => match heard {
                Ok(message) => {
                    let _ = outbox.push(now(), message); // too slow: the next feed closes
                    continue;
                }
                Err(_) => {
                    ws.sender_mut().abort(CloseCode::TRY_AGAIN_LATER)?; // not behind what waits
                    return ws.close(CloseCode::TRY_AGAIN_LATER).await;
                }
            },
        };
        let _ = outbox.push(now(), Prepared::new(&*answer));
    }
}

async fn hear(room: &mut Option<Member>) -> Result<Prepared, RecvError> {
    match room {
        Some(room) => room.hear().await,
        None => pending().await,
    }
}
