//! The application: what the events of this server mean.
use crate::{
    handler::{Ack, Event, Handler, Refusal, Socket},
    packet::Args,
};
use serde_json::{json, value::RawValue};

/// Echoes, rooms, and a namespace behind a token.
#[derive(Clone, Debug)]
pub struct App {
    /// What `/admin` wants to be shown.
    pub token: String,
}

impl Handler for App {
    fn connect(&self, socket: &mut Socket<'_>, auth: Option<&RawValue>) -> Result<(), Refusal> {
        match socket.namespace() {
            "/" => Ok(()),
            "/admin" if self.knows_token(auth) => Ok(()),
            "/admin" => Err(Refusal::AUTHORIZATION),
            _ => Err(Refusal::NAMESPACE),
        }
    }

    fn event(&self, socket: &mut Socket<'_>, event: Event<'_>) {
        let Event { name, args, ack } = event;
        let done = match name {
            "echo" => {
                return match ack {
                    Some(ack) => socket.acknowledge(ack, args),
                    None => socket.emit("echo", args),
                };
            }
            // The client's own acknowledgement becomes ours.
            "ask" => match (args.split_str(), ack) {
                (Some((question, args)), Some(ack)) => {
                    return socket.ask(
                        &question,
                        args,
                        Box::new(move |socket, answer| match answer {
                            Ok(args) => socket.acknowledge(ack, args),
                            Err(_) => finish(socket, ack, Err("no answer")),
                        }),
                    );
                }
                (_, None) => return, // nobody wants to know
                (None, ack) => (ack, Err("ask EVENT [ARGUMENT]...")),
            },
            "join" => match args.split_str() {
                Some((room, _)) if socket.join(&room) => (ack, Ok(())),
                Some(_) => (ack, Err("too many rooms, or too long a name")),
                None => (ack, Err("join ROOM")),
            },
            "leave" => match args.split_str() {
                Some((room, _)) if socket.leave(&room) => (ack, Ok(())),
                Some(_) => (ack, Err("not in this room")),
                None => (ack, Err("leave ROOM")),
            },
            "say" => match args.split_str() {
                Some((room, args)) => {
                    socket.say(&room, "said", args);
                    (ack, Ok(()))
                }
                None => (ack, Err("say ROOM TEXT")),
            },
            _ => return, // an event that nobody handles is not acknowledged
        };
        if let (Some(ack), result) = done {
            finish(socket, ack, result);
        }
    }
}

impl App {
    fn knows_token(&self, auth: Option<&RawValue>) -> bool {
        let auth = auth.and_then(|auth| serde_json::from_str::<serde_json::Value>(auth.get()).ok());
        let token = auth.as_ref().and_then(|auth| auth.get("token")?.as_str());
        token.is_some_and(|token| same(token.as_bytes(), self.token.as_bytes()))
    }
}

/// In a time that tells nothing about where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Acknowledges what was asked for with what became of it.
fn finish(socket: &mut Socket<'_>, ack: Ack, result: Result<(), &str>) {
    let status = match result {
        Ok(()) => json!({ "status": "ok" }),
        Err(message) => json!({ "status": "error", "message": message }),
    };
    if let Ok(status) = serde_json::value::to_raw_value(&status) {
        socket.acknowledge(ack, Args::of(&[&status]));
    }
}
