//! The server under tokio: echoes, and ends each connection as its client has announced.
use crate::{
    counts::{Counts, Failure},
    mix::Ending,
    server::{LISTENERS, Served},
};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tickwire::{
    CloseCode, Config, RecvError,
    tokio::{WebSocket, accept},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    time,
};

/// Serves on the runtime's threads.
pub(crate) fn run(runtime: &Runtime, config: Config, counts: &Arc<Counts>) -> Served {
    let config = Arc::new(config);
    let mut ports = Vec::new();
    for _ in 0..LISTENERS {
        let listener = bind(runtime)?;
        ports.push(listener.local_addr()?.port());
        runtime.spawn(listen(listener, config.clone(), counts.clone()));
    }
    Ok(ports)
}

/// Ten thousand may connect at once.
fn bind(runtime: &Runtime) -> std::io::Result<TcpListener> {
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(4096)
}

async fn listen(listener: TcpListener, config: Arc<Config>, counts: Arc<Counts>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                counts.fail("accept", &error.into());
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        counts.open.fetch_add(1, Relaxed);
        let (config, counts) = (config.clone(), counts.clone());
        tokio::spawn(async move {
            let mut way = None;
            if let Err(error) = serve(stream, &config, &counts, &mut way).await {
                counts.fail(&format!("{way:?}"), &error);
            }
            counts.open.fetch_sub(1, Relaxed);
        });
    }
}

async fn serve(
    stream: TcpStream,
    config: &Config,
    counts: &Counts,
    way: &mut Option<Ending>,
) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, config).await?;
    let announced = loop {
        let Some(received) = ws.recv_to_reply().await? else {
            return Err("closed without a word before".into());
        };
        counts.messages.fetch_add(1, Relaxed);
        received.sender.feed(received.message)?;
        if let Some(announced) = received.message.as_text().and_then(Ending::announced) {
            break announced;
        }
    };
    *way = Some(announced);
    ws.flush().await?;
    match announced {
        Ending::Client => closed(&mut ws, CloseCode::NORMAL).await,
        Ending::Server => {
            ws.close(CloseCode::GOING_AWAY).await?;
            closed(&mut ws, CloseCode::GOING_AWAY).await
        }
        Ending::Abort => {
            ws.sender_mut().abort(CloseCode::TRY_AGAIN_LATER)?;
            closed(&mut ws, CloseCode::TRY_AGAIN_LATER).await
        }
        Ending::Reset => loop {
            match ws.recv_to_reply().await {
                Ok(Some(received)) => drop(received.sender.feed(received.message)?),
                Ok(None) => return Err("closed, not reset".into()),
                Err(tickwire::Error::Io(_) | tickwire::Error::Recv(RecvError::UnexpectedEof)) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        },
        Ending::Drop => Ok(()),
        Ending::ClientSilent => unanswered(&mut ws).await,
        Ending::ServerSilent => drain(ws).await,
    }
}

/// Nothing more comes but the peer's Close, and both ends are content.
pub(crate) async fn closed(ws: &mut WebSocket<TcpStream>, code: CloseCode) -> Result<(), Failure> {
    if let Some(message) = ws.recv().await? {
        return Err(format!("received after the end: {message:?}").into());
    }
    match ws.closed() {
        Some(end) if end.clean && end.code == code.get() => Ok(()),
        end => Err(format!("{end:?}").into()),
    }
}

/// Nothing more comes, until the heartbeat says so.
pub(crate) async fn unanswered(ws: &mut WebSocket<TcpStream>) -> Result<(), Failure> {
    match ws.recv().await {
        Err(tickwire::Error::Recv(RecvError::PongTimeout)) => Ok(()),
        other => Err(format!("not a dead peer: {other:?}").into()),
    }
}

/// Answers nothing, until the peer has had enough.
pub(crate) async fn drain(ws: WebSocket<TcpStream>) -> Result<(), Failure> {
    let mut stream = ws.into_parts().0;
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
    Ok(())
}
