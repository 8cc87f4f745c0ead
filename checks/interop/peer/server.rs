//! The server: a thread for each connection, whose path says what to do.
use crate::{
    Adapter, Result, config, say,
    socket::{self, Decision, Socket},
};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, DataKind, Error, Heartbeat, Message,
    handshake::{
        HandshakeError,
        server::{Rejection, RequestHead},
    },
};

const IDLE: Duration = Duration::from_millis(1200);

/// Serves until it is killed. `page`: the folder of what plain HTTP may ask for.
pub(crate) fn serve(adapter: Adapter, page: Option<PathBuf>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    say(format_args!("listening on ws://{}", listener.local_addr()?));
    let page = Arc::new(page);
    loop {
        let (stream, _) = listener.accept()?;
        let page = page.clone();
        thread::Builder::new().spawn(move || {
            if let Err(error) = connection(adapter, stream, page.as_deref()) {
                say(format_args!("connection: {error}"));
            }
        })?;
    }
}

fn connection(adapter: Adapter, stream: TcpStream, page: Option<&Path>) -> Result<()> {
    // Whoever we talk to has to answer Pings too.
    let heartbeat = Heartbeat::new(Duration::from_millis(300), Duration::from_secs(5));
    let config = Config { heartbeat: Some(heartbeat), ..config() };
    let mut path = String::new();
    let accepted = socket::accept(adapter, stream, &config, |request, error| {
        path = request.path().to_string();
        decide(request, error, page)
    })?;
    let Some(mut ws) = accepted else { return Ok(()) };
    match behave(&path, &mut *ws) {
        Ok(()) => say(format_args!("end {path}: {}", ws.ending())),
        Err(error) => say(format_args!("end {path}: error: {error}")),
    }
    Ok(())
}

fn decide(
    request: RequestHead<'_>,
    error: Option<HandshakeError>,
    page: Option<&Path>,
) -> Decision {
    match (error, request.path()) {
        (None, "/refuse") => Decision::Reject(Rejection::new(403).body("not for you\n")),
        (None, "/subprotocol") => Decision::Accept(&["v2", "v1"]),
        (None, _) => Decision::Accept(&[]),
        (Some(HandshakeError::NotUpgrade), path) => Decision::Reject(plain(request, path, page)),
        (Some(error), _) => Decision::Reject(error.into()),
    }
}

/// What plain HTTP gets: the page, its script, and somewhere to say how it went.
fn plain(request: RequestHead<'_>, path: &str, page: Option<&Path>) -> Rejection {
    let (file, kind) = match path {
        "/" => ("page.html", "text/html; charset=utf-8"),
        "/checks.js" => ("checks.js", "text/javascript; charset=utf-8"),
        "/report" => {
            let line = request.headers().get("X-Report").unwrap_or_default();
            say(format_args!("page: {}", line.escape_ascii()));
            return Rejection::new(204);
        }
        _ => return Rejection::new(404),
    };
    let read = page.and_then(|folder| fs::read(folder.join(file)).ok());
    let found =
        read.and_then(|body| Rejection::new(200).body(body).header("Content-Type", kind).ok());
    found.unwrap_or_else(|| Rejection::new(404))
}

fn behave(path: &str, ws: &mut dyn Socket) -> std::result::Result<(), Error> {
    match path {
        "/close" => {
            if let Some(message) = ws.recv()? {
                let wish = message.as_message().as_text().unwrap_or_default();
                ws.close(close_frame(wish))?;
            }
            Ok(())
        }
        "/count" => {
            for number in 0..1000 {
                ws.feed(Message::Text(&number.to_string()))?;
            }
            ws.close(Some(CloseFrame::from(CloseCode::NORMAL)))
        }
        "/idle" => {
            // A Pong starts the time of the blocking adapter anew, and some will come.
            let until = Instant::now() + IDLE;
            while Instant::now() < until {
                match ws.recv_within(Duration::from_millis(20)) {
                    Ok(None) => return Ok(()),
                    Ok(Some(_)) | Err(Error::WouldBlock) => {}
                    Err(error) => return Err(error),
                }
            }
            ws.send(Message::Text("alive"))?;
            ws.echo()
        }
        "/stall" => {
            thread::sleep(IDLE);
            while let Some(message) = ws.recv()? {
                ws.send(Message::Text(&format!("got {}", message.as_bytes().len())))?;
            }
            Ok(())
        }
        "/die" => {
            let data = &[b'x'; 1000];
            ws.send_chunk(Chunk { kind: DataKind::Binary, first: true, data, last: false })?;
            process::abort()
        }
        _ => ws.echo(),
    }
}

/// `CODE REASON`, or anything else for neither.
pub(crate) fn close_frame(wish: &str) -> Option<CloseFrame<'_>> {
    let (code, reason) = wish.split_once(' ').unwrap_or((wish, ""));
    let code = code.parse().ok().and_then(CloseCode::new)?;
    Some(CloseFrame::with_reason(code, reason))
}
