//! Authenticates clients: cookie and Origin, a token among the subprotocols, Bearer, Basic.
//!
//! ```text
//! cargo run --release --all-features --example auth
//! ```
//!
//! `gate.rs` is the recipe. It needs no I/O, because it only looks at the request. `serve.rs` has a
//! server that uses the gate, and one client of each kind. This file prints the result for each
//! client. It fails if a wrong client was let in, or a right client was refused.
mod gate;
mod serve;

use arguments::{Arguments, Failure};
use std::process::ExitCode;
use tickwire::{CloseCode, Config, Dial, Error, handshake::client::Request};

const HELP: &str = "\
Who may come in: cookie and Origin, a token among the subprotocols, Bearer, Basic.

Usage: auth

  --help  this text
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    Arguments::read(HELP);
    let secrets = serve::Secrets::new()?;
    let address = serve::start(&secrets).await?;
    let mut code = ExitCode::SUCCESS;
    for (who, request, want) in serve::attempts(&address, &secrets)? {
        let got = ask(request).await?;
        let shown = match &got {
            Ok(greeting) => greeting.clone(),
            Err(status) => format!("refused with {status}"),
        };
        if got.as_deref() == want.as_deref() {
            println!("{who:40}{shown}");
        } else {
            println!("{who:40}{shown}: WRONG");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Connects, and returns the greeting, or the status of the refusal.
async fn ask(request: Request) -> Result<Result<String, u16>, Error> {
    let mut ws = match Dial::new(&request).connect(&Config::default()).await {
        Ok(ws) => ws,
        Err(Error::Refused(refusal)) => return Ok(Err(refusal.status)),
        Err(error) => return Err(error),
    };
    let greeting = match ws.recv().await? {
        Some(message) => message.as_text().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    ws.close(CloseCode::NORMAL).await?;
    Ok(Ok(greeting))
}
