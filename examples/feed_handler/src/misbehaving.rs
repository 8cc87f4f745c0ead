//! Feeds that are no use: do the others notice?
use crate::{BoxError, exchange::listen};
use market_feed::tls::{Stream, Tls};
use std::{
    net::{SocketAddr, TcpListener as StdListener},
    thread::{self, JoinHandle},
    time::Duration,
};
use tickwire::{
    Config,
    tokio::{WebSocket, accept},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    select,
    sync::oneshot,
    task::JoinSet,
    time::sleep,
};

/// What such a feed does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Accepts connections, and says nothing at all.
    Silent,
    /// Shakes hands, and stalls: it neither sends nor reads any more.
    Stalls,
    /// Shakes hands, answers Pings, and sends nothing.
    Zombie,
    /// Sends Pings and ticks for as long as they are taken.
    Floods,
    /// Is a good feed, each byte of which comes 5 ms after the one before, those of the handshakes too.
    Drips,
    /// Shakes hands, and sends messages of no meaning.
    Garbage,
    /// Sends bytes of no meaning from the start.
    Noise,
}

impl Manner {
    pub const ALL: [Self; 7] = [
        Self::Silent,
        Self::Stalls,
        Self::Zombie,
        Self::Floods,
        Self::Drips,
        Self::Garbage,
        Self::Noise,
    ];
}

/// A server for each of some manners. It ends with this.
pub struct Misbehaving {
    /// Where each is.
    pub urls: Vec<String>,
    /// The certificate, in PEM.
    pub root: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Server {
    tls: Tls,
    /// A good feed.
    good: SocketAddr,
}

impl Misbehaving {
    /// On a thread of its own. `good` is the port of a good feed, for the one that drips.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn start(manners: &[Manner], good: u16) -> Result<Self, BoxError> {
        let listeners = manners.iter().map(|_| listen()).collect::<Result<Vec<_>, _>>()?;
        let url = |listener: &StdListener| {
            listener.local_addr().map(|at| format!("wss://localhost:{}", at.port()))
        };
        let urls = listeners.iter().map(url).collect::<Result<_, _>>()?;
        let tls = Tls::make()?;
        let root = tls.root().unwrap_or_default().to_owned();
        let good = SocketAddr::from(([127, 0, 0, 1], good));
        let server = Server { tls, good };
        let servers: Vec<_> = manners.iter().copied().zip(listeners).collect();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("misbehaving".into()).spawn(move || {
            runtime.block_on(async {
                let mut all = JoinSet::new();
                for (manner, listener) in servers {
                    all.spawn(server.clone().serve(manner, listener));
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { urls, root, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Misbehaving {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Server {
    async fn serve(self, manner: Manner, listener: StdListener) -> Result<(), BoxError> {
        let listener = TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            connections.spawn(self.clone().behave(manner, stream));
        }
    }

    /// One connection; how it ends is nobody's concern.
    async fn behave(self, manner: Manner, mut stream: TcpStream) -> Result<(), BoxError> {
        stream.set_nodelay(true)?;
        match manner {
            Manner::Silent => std::future::pending().await,
            Manner::Noise => loop {
                stream.write_all(&[0xa5; 1000]).await?;
                sleep(Duration::from_millis(1)).await;
            },
            Manner::Drips => {
                let mut good = TcpStream::connect(self.good).await?;
                let ((mut from, mut to), (mut read, mut write)) = (good.split(), stream.split());
                let drip = async {
                    while let Ok(byte) = from.read_u8().await {
                        write.write_u8(byte).await?;
                        sleep(Duration::from_millis(5)).await;
                    }
                    Ok::<_, BoxError>(())
                };
                select! {
                    done = drip => done,
                    done = copy(&mut read, &mut to) => Ok(done.map(drop)?),
                }
            }
            Manner::Stalls | Manner::Zombie | Manner::Floods | Manner::Garbage => {
                let mut ws = accept(self.tls.stream(stream)?, &Config::default()).await?;
                match manner {
                    Manner::Stalls => std::future::pending().await,
                    Manner::Zombie => while ws.recv().await?.is_some() {},
                    Manner::Garbage => loop {
                        ws.send(&[0x5a; 48]).await?;
                        sleep(Duration::from_millis(1)).await;
                    },
                    _ => Self::flood(ws).await?,
                }
                Ok(())
            }
        }
    }

    async fn flood(mut ws: WebSocket<Stream>) -> Result<(), BoxError> {
        for sequence in 1_u64.. {
            let mut tick = [0; 48];
            tick[0] = 1;
            tick[8..16].copy_from_slice(&sequence.to_le_bytes());
            let _ = ws.feed(&tick)?;
            ws.sender_mut().ping(b"?")?;
            if sequence % 100 == 0 {
                ws.flush().await?;
            }
        }
        Ok(())
    }
}
