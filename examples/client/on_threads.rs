//! The client on threads that block: this one receives, another reads the input and sends.
use super::{Command, Options, Printer, Result, close_frame, commands};
use std::thread;
#[cfg(feature = "rustls")]
use tickwire::blocking::connect_tls;
use tickwire::{
    Error,
    blocking::{Stream, Writer, connect_with},
};

pub(crate) fn talk(options: &Options) -> Result<()> {
    let connected = match options.tls.clone() {
        None => connect_with(&options.request, &options.config),
        #[cfg(feature = "rustls")]
        Some(tls) => connect_tls(&options.request, &options.config, tls),
    };
    let ws = connected.map_err(|error| options.not_connected(&error))?;
    let printer = Printer::new();
    if let Some(name) = ws.negotiated().subprotocol() {
        printer.subprotocol(name)?;
    }
    let (mut reader, mut writer) = ws.into_split()?;
    // Reading standard input cannot be called off: the end of the program takes the thread along.
    // How it all ended is for this side to say: a connection that takes nothing more will soon give
    // nothing more.
    thread::Builder::new().spawn(move || {
        let _ = send_all(&mut writer, printer);
    })?;
    while let Some(event) = reader.recv_event()? {
        printer.event(event)?;
    }
    printer.close(reader.close_code(), reader.close_frame(), reader.was_clean())
}

/// Sends what the input asks for.
fn send_all<S>(writer: &mut Writer<S>, printer: Printer) -> std::result::Result<(), Error>
where
    S: Stream,
{
    for command in commands() {
        match command {
            Command::Text(text) => writer.send(&text)?,
            Command::Binary(bytes) => writer.send(&bytes)?,
            Command::Ping => writer.ping(&printer.stamp())?,
            Command::Close(close) => writer.close(close_frame(&close))?,
        }
    }
    Ok(())
}
