//! Sends everything back, under smol, here by the names of its parts; any runtime with streams of
//! `futures-io` and a timer will do. `cargo run -p smol_echo`
//! Nothing bounds how many peers come: for the loopback. See the example `bounded`.
use arguments::{Arguments, Failure, cannot_listen};
use async_executor::LocalExecutor;
use async_io::{Timer, block_on};
use async_net::{TcpListener, TcpStream};
use tickwire::{Config, futures_io::accept};

const HELP: &str = "\
Sends every message back.

Usage: smol_echo [ADDR]

  ADDR    where to listen [127.0.0.1:9001]
  --help  this text
";

fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("ADDR");
    let tasks = LocalExecutor::new();
    block_on(tasks.run(async {
        let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
        println!("listening on ws://{}", listener.local_addr()?);
        loop {
            let (stream, peer) = listener.accept().await?;
            let serve = async move {
                if let Err(error) = echo(stream).await {
                    eprintln!("{peer}: {error}");
                }
            };
            tasks.spawn(serve).detach();
        }
    }))
}

async fn echo(stream: TcpStream) -> Result<(), tickwire::Error> {
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, Timer::at, &Config::default()).await?;
    while let Some(received) = ws.recv_to_reply().await? {
        // A batch's replies leave in one write, or in several if they exceed `cork_limit`.
        received.sender.feed(received.message)?;
    }
    Ok(())
}
