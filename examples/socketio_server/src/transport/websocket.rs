//! The WebSocket transport: a message is a packet, on tickwire's tokio adapter.
use super::{Ended, Served};
use crate::engine::{Binary, End, Malformed, Revision, payload::Item, session::Session};
use tickwire::{CloseCode, CloseFrame, Message, Time, tokio::MessageOrRoom};
use tickwire_axum::WebSocket;
use tickwire_parts::Outbox;
use tokio::{select, time::sleep_until};

/// Serves a session to its end.
pub(crate) async fn run(served: &mut Served, mut ws: WebSocket) -> Result<(), Ended> {
    let ended = converse(served, &mut ws).await;
    // Before the closing handshake, which may take its time.
    served.tell(ended.as_ref().err().unwrap_or(&Ended::Gone));
    let _ = match &ended {
        Err(Ended::Session(end)) => {
            // What was answered before goes before.
            let session = &served.session;
            let _ = session.mailbox().feed(ws.sender_mut(), session.opening());
            ws.close(CloseFrame::with_reason(end.close_code(), end.reason())).await
        }
        // Not with Socket.IO's own disconnect: after that a client would not come back.
        Err(Ended::Stopping) => ws.close(CloseCode::GOING_AWAY).await,
        Err(Ended::TooSlow) => ws.close(None).await, // a Close with the code is on its way
        _ => Ok(()),
    };
    ended
}

async fn converse(served: &mut Served, ws: &mut WebSocket) -> Result<(), Ended> {
    let mailbox = served.session.mailbox().clone();
    let opening = served.session.opening();
    let mut stop = served.visit.stop.clone();
    let alarm = sleep_until(served.epoch);
    tokio::pin!(alarm);
    let mut excused = false;
    loop {
        let by = served.alarm();
        if alarm.deadline() != by {
            alarm.as_mut().reset(by);
        }
        let behind = mailbox.feed(ws.sender_mut(), opening).ok(); // closed: receiving says why
        if behind.is_some_and(|behind| behind.too_slow) {
            return Err(Ended::TooSlow);
        }
        if behind.is_some_and(|behind| behind.bytes > served.settings.pause_at) {
            // Who does not take the answers may not ask for more. Meanwhile its pong may lie
            // unread, so it is not missed.
            excused = true;
            select! {
                biased;
                flushed = ws.flush() => flushed?,
                () = &mut alarm => {
                    served.excuse();
                    served.handle_timeout()?;
                }
                () = mailbox.arrived() => served.handle_timeout()?,
                _ = stop.changed() => return Err(Ended::Stopping),
            }
            continue;
        }
        if std::mem::take(&mut excused) {
            served.excuse();
            continue; // with another deadline
        }
        select! {
            biased;
            _ = stop.changed() => return Err(Ended::Stopping),
            // Before receiving, which Pings without end could keep busy.
            () = &mut alarm => served.handle_timeout()?,
            received = ws.recv_or_room(Outbox::MAX_UNSENT) => match received? {
                MessageOrRoom::Message(message) => {
                    let now = served.now();
                    receive(&mut served.session, message, now).map_err(Ended::Session)?;
                }
                MessageOrRoom::Room => {}
                MessageOrRoom::Closed => return Ok(()),
            },
            () = mailbox.arrived() => served.handle_timeout()?,
        }
    }
}

/// Hands a message on, as it would be in revision 4.
fn receive(session: &mut Session, message: Message<'_>, now: Time) -> Result<(), End> {
    let opening = session.opening();
    match (message, opening.binary, opening.revision) {
        (_, Binary::Plain, _) | (Message::Binary(_), _, Revision::V4) => {
            session.receive(message, now)
        }
        (Message::Binary([4, bytes @ ..]), ..) => session.receive(Message::Binary(bytes), now),
        (Message::Binary(_), ..) => Err(Malformed("type of a binary packet").into()),
        (Message::Text(text), ..) => {
            session.receive(Item::of(text, opening.mark())?.message(), now)
        }
    }
}
