//! The servers of well-known tutorials, and one for tests. Each function adds handlers. A server
//! with the handlers of all functions answers the clients of all tutorials.
use crate::{
    io::{Ack, Io, NoAnswer, Refusal, Socket},
    packet::Args,
};
use serde_json::{Value, json};
use std::{
    fmt,
    io::{Write, stdout},
    time::Duration,
};

/// A program by its name.
pub type Program = (&'static str, fn(&mut Io));

/// All there are.
pub const ALL: [Program; 7] = [
    ("message", message),
    ("salutations", salutations),
    ("channel", channel),
    ("chat", chat),
    ("greeting", greeting),
    ("binary", binary),
    ("echo", echo),
];

/// Prints what the tutorial's server prints, at most 200 characters of it.
fn log(line: fmt::Arguments<'_>) {
    let line: String = line.to_string().chars().take(200).collect();
    let _ = writeln!(stdout(), "{line}"); // nobody may be reading
}

/// `socket.send(text)`: each message is printed and answered.
pub fn message(io: &mut Io) {
    io.of("/")
        .on_connection(|socket, _| log(format_args!("connected {}", socket.id())))
        .on("message", |socket, args, _| {
            log(format_args!("message {args}"));
            socket.emit("message", args);
        })
        .on_disconnect(|socket, why| log(format_args!("disconnected {}: {why}", socket.id())));
}

/// Socket.IO's own introduction: text, an object and bytes in one event, each way.
pub fn salutations(io: &mut Io) {
    io.of("/")
        .on_connection(|socket, _| {
            socket.emit("message", "Hello!");
            let args = Args::from("Hey!").and(json!({ "ms": "jane" }));
            socket.emit("greetings", args.and_bytes(vec![4, 3, 3, 1]));
        })
        .on("message", |_, args, _| log(format_args!("message {args}")))
        .on("salutations", |_, args, _| {
            log(format_args!("salutations {args} {:?}", args.bytes(2).map(|bytes| &bytes[..])));
        });
}

/// All clients get what one of them sends, the sender among them.
pub fn channel(io: &mut Io) {
    io.of("/")
        .on_connection(|socket, _| log(format_args!("client {}", socket.id())))
        .on("channel", |socket, args, _| {
            log(format_args!("client {} says {args}", socket.id()));
            socket.nsp().emit("broadcast", args);
        })
        .on_disconnect(|socket, _| log(format_args!("client {} has gone", socket.id())));
}

/// Socket.IO's chat: names, who comes and who goes; and `chat message`, which all clients get.
pub fn chat(io: &mut Io) {
    io.of("/")
        .on("chat message", |socket, args, _| socket.nsp().emit("chat message", args))
        .on("add user", |socket, args, _| {
            let name = args.get::<String>(0).filter(|name| name.len() <= 50);
            let count = socket.nsp().count();
            socket.data().insert("username".into(), json!(name));
            socket.emit("login", json!({ "numUsers": count }));
            socket.broadcast().emit("user joined", json!({ "username": name, "numUsers": count }));
        })
        .on("new message", |socket, args, _| {
            let name = socket.data().get("username").cloned();
            let said = json!({ "username": name, "message": args.get::<String>(0) });
            socket.broadcast().emit("new message", said);
        })
        .on_disconnect(|socket, _| {
            let (name, count) = (socket.data().get("username").cloned(), socket.nsp().count());
            socket.broadcast().emit("user left", json!({ "username": name, "numUsers": count }));
        });
}

/// Greets each client, and again by name in an acknowledgement.
pub fn greeting(io: &mut Io) {
    io.of("/").on_connection(|socket, _| socket.emit("greeting", "Welcome!")).on(
        "greet",
        |socket, args, ack| {
            let name = args.get::<String>(0).unwrap_or_else(|| "stranger".into());
            socket.ack(ack, format!("Hello, {name}!"));
        },
    );
}

/// Sends bytes back, and acknowledges their number.
pub fn binary(io: &mut Io) {
    io.of("/").on("binary", |socket, args, ack| {
        let count = args.bytes(0).map(|bytes| bytes.len());
        log(format_args!("binary {count:?}"));
        socket.emit("binary", args);
        socket.ack(ack, json!(count));
    });
}

/// For tests: each feature by an event. The namespace `/admin` wants `{token: "secret"}` as `auth`.
pub fn echo(io: &mut Io) {
    io.of("/admin").allow(|auth| {
        let shown = auth.get::<Value>(0).unwrap_or_default();
        let known = shown.get("token").and_then(Value::as_str) == Some("secret");
        if known { Ok(()) } else { Err(Refusal("Not authorized")) }
    });
    for namespace in ["/", "/admin"] {
        io.of(namespace)
            .on("echo", |socket, args, ack| match ack.is_wanted() {
                true => socket.ack(ack, args),
                false => socket.emit("echo", args),
            })
            .on("join", |socket, args, ack| {
                let joined = args.get::<String>(0).is_some_and(|room| socket.join(&room));
                finish(socket, ack, joined, "join ROOM: too many, or too long a name");
            })
            .on("leave", |socket, args, ack| {
                let left = args.get::<String>(0).is_some_and(|room| socket.leave(&room));
                finish(socket, ack, left, "leave ROOM: not in it");
            })
            .on("say", |socket, args, ack| {
                let room = args.get::<String>(0);
                if let Some(room) = &room {
                    socket.to(room).emit("said", args.skip(1));
                }
                finish(socket, ack, room.is_some(), "say ROOM TEXT");
            })
            .on("put out", |socket, args, _| socket.disconnect(args.get(0).unwrap_or_default()))
            .on("ask", |socket, args, ack| {
                let Some(question) = args.get::<String>(0) else { return };
                let timeout = Duration::from_secs(20);
                let then = |socket: &mut Socket<'_>, answer: Result<Args<'_>, _>| match answer {
                    Ok(args) => socket.ack(ack, args),
                    Err(NoAnswer) => finish(socket, ack, false, "no answer"),
                };
                if let Err(then) = socket.emit_with_ack(&question, args.skip(1), timeout, then) {
                    then(socket, Err(NoAnswer));
                }
            });
    }
}

/// Acknowledges what was asked for with what became of it.
fn finish(socket: &Socket<'_>, ack: Ack, done: bool, otherwise: &str) {
    let status = if done {
        json!({ "status": "ok" })
    } else {
        json!({ "status": "error", "message": otherwise })
    };
    socket.ack(ack, status);
}
