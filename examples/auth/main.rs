//! Who may come in: cookie and Origin, a token among the subprotocols, Bearer, Basic.
//!
//! ```text
//! cargo run --example auth
//! ```
//!
//! `gate.rs` is the recipe, and needs no I/O: it looks at the request. `serve.rs` is the server
//! that asks it, and one client of each kind; this prints what came of each, and fails if somebody
//! was let in who should not be, or the other way.
mod gate;
mod serve;

use arguments::{Arguments, Failure};
use std::process::ExitCode;

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
        let got = serve::ask(request).await?;
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
