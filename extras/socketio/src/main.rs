//! The servers of Socket.IO tutorials, on socketioxide, for the clients beside this folder. They
//! are for the loopback: docs/recipes/socketio.md says what an open port needs.
mod old;

use arguments::{Arguments, cannot_listen};
use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    serve::ListenerExt,
};
use bytes::Bytes;
use places::{Limits, Places};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socket2::SockRef;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, TryData},
    handler::ConnectHandler,
    socket::DisconnectReason,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;

const HELP: &str = "\
Socket.IO servers of tutorials, for clients of the versions 1 to 4.

Usage: socketio [OPTION]... [PROGRAM]...

  PROGRAM...            message, salutations, channel, chat, greeting, binary or features; again
                        for more (else all of them)
  --listen ADDR         where to listen [127.0.0.1:3000]; with port 0 on any free port
  --path PATH           where requests go [/socket.io]
  --max-per-address N   the most sessions from one address [100]
  --help                this text
";

type Program = fn(&SocketRef);

/// Each adds its handlers to a new socket. A handler replaces an earlier one of the same event.
const PROGRAMS: [(&str, Program); 7] = [
    ("message", message),
    ("salutations", salutations),
    ("channel", channel),
    ("chat", chat),
    ("greeting", greeting),
    ("binary", binary),
    ("features", features),
];

/// `socket.send(text)`: each message is printed and answered.
fn message(socket: &SocketRef) {
    println!("connected {}", socket.id);
    socket.on("message", async |socket: SocketRef, Data(text): Data<Value>| {
        println!("message {text}");
        let _ = socket.emit("message", &text);
    });
    socket.on_disconnect(async |socket: SocketRef, reason: DisconnectReason| {
        println!("disconnected {}: {}", socket.id, in_words(reason));
    });
}

/// Socket.IO's own introduction: text, an object and bytes in one event, each way.
fn salutations(socket: &SocketRef) {
    let _ = socket.emit("message", "Hello!");
    let bytes = Bytes::from_static(&[4, 3, 3, 1]);
    let _ = socket.emit("greetings", &("Hey!", json!({ "ms": "jane" }), bytes));
    socket.on("message", async |Data(text): Data<Value>| println!("message {text}"));
    socket.on("salutations", async |Data(args): Data<(Value, Value, Bytes)>| {
        println!("salutations {},{} {:?}", args.0, args.1, &args.2[..]);
    });
}

/// All clients get what one of them sends, the sender among them.
fn channel(socket: &SocketRef) {
    println!("client {}", socket.id);
    socket.on("channel", async |io: SocketIo, socket: SocketRef, Data(text): Data<Value>| {
        println!("client {} says {text}", socket.id);
        let _ = io.emit("broadcast", &text).await;
    });
    socket.on_disconnect(async |socket: SocketRef| println!("client {} has gone", socket.id));
}

#[derive(Clone)]
struct Name(String);

/// Socket.IO's chat: names, who comes and who goes; and `chat message`, which all clients get.
fn chat(socket: &SocketRef) {
    let name = |socket: &SocketRef| socket.extensions.get().map(|Name(name)| name);
    socket.on("chat message", async |io: SocketIo, Data(text): Data<Value>| {
        let _ = io.emit("chat message", &text).await;
    });
    socket.on("add user", async |io: SocketIo, socket: SocketRef, Data(name): Data<String>| {
        let count = io.sockets().len();
        socket.extensions.insert(Name(name.chars().take(50).collect()));
        let _ = socket.emit("login", &json!({ "numUsers": count }));
        let joined = json!({ "username": name, "numUsers": count });
        let _ = socket.broadcast().emit("user joined", &joined).await;
    });
    socket.on("new message", async move |socket: SocketRef, Data(text): Data<String>| {
        let said = json!({ "username": name(&socket), "message": text });
        let _ = socket.broadcast().emit("new message", &said).await;
    });
    socket.on_disconnect(async move |io: SocketIo, socket: SocketRef| {
        let others = io.sockets().len() - 1; // it is still one of them
        let left = json!({ "username": name(&socket), "numUsers": others });
        let _ = socket.broadcast().emit("user left", &left).await;
    });
}

/// Greets each client, and again by name in an acknowledgement.
fn greeting(socket: &SocketRef) {
    let _ = socket.emit("greeting", "Welcome!");
    socket.on("greet", async |TryData(name): TryData<String>, ack: AckSender| {
        let _ = ack.send(&format!("Hello, {}!", name.as_deref().unwrap_or("stranger")));
    });
}

/// Sends bytes back, and acknowledges their number.
fn binary(socket: &SocketRef) {
    socket.on("binary", async |socket: SocketRef, Data(bytes): Data<Bytes>, ack: AckSender| {
        println!("binary {}", bytes.len());
        let _ = socket.emit("binary", &bytes);
        let _ = ack.send(&bytes.len());
    });
}

#[derive(Debug, Deserialize, Serialize)]
struct Picture {
    name: String,
    parts: Vec<Bytes>,
}

/// Each feature by an event; the namespace `/admin` has them for who shows a token.
fn features(socket: &SocketRef) {
    socket.on("echo", async |Data(value): Data<Value>, ack: AckSender| {
        let _ = ack.send(&value);
    });
    socket.on("picture", async |Data(picture): Data<Picture>, ack: AckSender| {
        let _ = ack.send(&picture);
    });
    socket.on("join", async |socket: SocketRef, Data(room): Data<String>| {
        // The library has no bounds.
        if socket.rooms().len() < 100 && room.len() <= 200 {
            socket.join(room);
        }
    });
    socket.on("leave", async |socket: SocketRef, Data(room): Data<String>| socket.leave(room));
    socket.on("say", async |socket: SocketRef, Data((room, text)): Data<(String, Value)>| {
        let _ = socket.to(room).emit("said", &text).await;
    });
    socket.on("ask", async |socket: SocketRef, Data(question): Data<Value>, ack: AckSender| {
        let asked = socket.timeout(Duration::from_secs(1)).emit_with_ack("question", &question);
        let Ok(answer) = asked else { return };
        let _ = ack.send::<Option<Value>>(&answer.await.ok());
    });
    socket.on("put out", async |socket: SocketRef| {
        let _ = socket.disconnect();
    });
    socket.on_disconnect(async |socket: SocketRef, reason: DisconnectReason| {
        // It is still in its rooms.
        let rooms = socket.rooms();
        let _ = socket.to(rooms).emit("left", in_words(reason)).await;
    });
}

/// The reason in the words of Socket.IO's own server.
fn in_words(reason: DisconnectReason) -> &'static str {
    use DisconnectReason::*;
    match reason {
        TransportClose => "transport close",
        TransportError | MultipleHttpPollingError => "transport error",
        PacketParsingError => "parse error",
        HeartbeatTimeout => "ping timeout",
        ClientNSDisconnect => "client namespace disconnect",
        ServerNSDisconnect => "server namespace disconnect",
        ClosingServer => "server shutting down",
    }
}

/// Who may connect to `/admin`. A client of version 1 or 2 has no `auth`: its token stands in the
/// query of the request that opened the session.
async fn guard(socket: SocketRef, TryData(auth): TryData<Value>) -> Result<(), &'static str> {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    let shown = auth.is_ok_and(|auth| auth["token"] == "secret");
    let asked = query.split('&').any(|pair| pair == "token=secret");
    if shown || asked { Ok(()) } else { Err("Not authorized") }
}

/// On one thread, where the handlers of a client's events, a task each, begin in the order of the
/// events.
#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let args = Arguments::read(HELP);
    let (layer, io) = SocketIo::builder()
        .req_path(args.text("--path"))
        .max_payload(1_000_000)
        .ws_max_message_size(1_000_000)
        .max_buffer_size(1024) // packets for a client; `emit` fails beyond
        .build_layer();
    let chosen = args.all("PROGRAM");
    let serves = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let programs = PROGRAMS.iter().filter(|(name, _)| serves(name)).map(|(_, program)| *program);
    let programs: Arc<[Program]> = programs.collect();
    io.ns("/", async move |socket: SocketRef| programs.iter().for_each(|program| program(&socket)));
    io.ns("/admin", (async |socket: SocketRef| features(&socket)).with(guard));
    let limits = Limits::of_connections(10_000, args.number("--max-per-address", 0..=usize::MAX));
    let bound = from_fn_with_state(Places::new(limits), bound_sessions);
    let app = Router::new().layer(layer).layer(bound);

    let listen = args.address("--listen");
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen(listen))?;
    println!("listening on {}", listener.local_addr()?);
    // Ends a connection whose client reads nothing: until then, the library keeps its session.
    let listener = listener.tap_io(|stream| {
        let _ = SockRef::from(&*stream).set_tcp_user_timeout(Some(Duration::from_secs(30)));
    });
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// Whether a parameter of the query begins so.
fn asks(request: &Request, start: &str) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with(start)))
}

/// A request without `sid` opens a session. The library keeps the parts of this request as long as
/// the session lives, and so the place in its extensions.
async fn bound_sessions(
    State(places): State<Places>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let old = asks(&request, "EIO=3") && asks(&request, "transport=polling");
    if !asks(&request, "sid=") {
        let Some(place) = places.enter(peer.ip()) else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        request.extensions_mut().insert(Arc::new(place));
    }
    let response = next.run(request).await;
    if old { old::mended(response).await } else { response }
}
