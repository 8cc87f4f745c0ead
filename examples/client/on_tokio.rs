//! The client on tokio: one thread, in which sending and receiving take turns.
use super::{Command, Options, Printer, Result, close_frame, commands};
use std::{convert::Infallible, future::pending, io, thread};
#[cfg(feature = "rustls")]
use tickwire::tokio::connect_tls;
use tickwire::{
    Error,
    tokio::{Reader, Writer, connect_with},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Builder,
    select,
    sync::mpsc,
};

type Input = mpsc::Receiver<Command>;

pub(crate) fn talk(options: &Options) -> Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(converse(options))
}

async fn converse(options: &Options) -> Result<()> {
    let connected = match options.tls.clone() {
        None => connect_with(&options.request, &options.config).await,
        #[cfg(feature = "rustls")]
        Some(tls) => connect_tls(&options.request, &options.config, tls).await,
    };
    let ws = connected.map_err(|error| options.not_connected(&error))?;
    let printer = Printer::new();
    if let Some(name) = ws.negotiated().subprotocol() {
        printer.subprotocol(name)?;
    }
    let input = read_input()?;
    let (mut reader, writer) = ws.into_split();
    select! {
        received = receive(&mut reader, printer) => received?,
        never = send(writer, input, printer) => match never {},
    }
    printer.close(reader.close_code(), reader.close_frame(), reader.was_clean())
}

/// Reading standard input blocks and cannot be called off: it has a thread, a few lines ahead, that
/// the end of the program takes along.
fn read_input() -> io::Result<Input> {
    let (lines, input) = mpsc::channel(16);
    thread::Builder::new().spawn(move || {
        for command in commands() {
            if lines.blocking_send(command).is_err() {
                break;
            }
        }
    })?;
    Ok(input)
}

/// Prints what arrives, until the connection has ended.
async fn receive<R, W>(reader: &mut Reader<R, W>, printer: Printer) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    while let Some(event) = reader.recv_event().await? {
        printer.event(event)?;
    }
    Ok(())
}

/// Sends what the input asks for, and leaves it to the receiving side to say how it all ended: a
/// connection that takes nothing more will soon give nothing more.
async fn send<W>(mut writer: Writer<W>, input: Input, printer: Printer) -> Infallible
where
    W: AsyncWrite + Unpin,
{
    let _ = send_all(&mut writer, input, printer).await;
    pending().await
}

async fn send_all<W>(
    writer: &mut Writer<W>,
    mut input: Input,
    printer: Printer,
) -> std::result::Result<(), Error>
where
    W: AsyncWrite + Unpin,
{
    while let Some(command) = input.recv().await {
        match command {
            Command::Text(text) => writer.send(&text).await?,
            Command::Binary(bytes) => writer.send(&bytes).await?,
            Command::Ping => writer.ping(&printer.stamp()).await?,
            Command::Close(close) => writer.close(close_frame(&close)).await?,
        }
    }
    Ok(())
}
