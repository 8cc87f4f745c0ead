//! A client as a WASI component: `tickwire-wasi URL`, where an echo server listens that is silent
//! about the text `be silent`.
use std::time::Duration;
use tickwire::{CloseCode, Config, Error, Message, blocking::connect, deflate::Deflate};

fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).expect("a URL");
    let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
    let mut ws = connect(&url, &config)?;
    for text in ["one", "", "drei, vier, fünf"] {
        ws.send(text)?;
        assert_eq!(ws.recv()?, Some(Message::Text(text)));
    }
    // Longer than what a socket takes at once, both ways.
    let long: Vec<u8> =
        (0..4 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    ws.send(&long[..])?;
    assert_eq!(ws.recv()?, Some(Message::Binary(&long)));
    println!("four messages came back");

    // A wait that ends by its time: `poll` of the host.
    ws.send("be silent")?;
    ws.set_read_timeout(Some(Duration::from_millis(200)))?;
    assert!(matches!(ws.recv(), Err(Error::WouldBlock)));
    ws.set_read_timeout(None)?;
    ws.close(CloseCode::NORMAL)?;
    assert_eq!(ws.recv()?, None);
    assert!(ws.closed().is_some_and(|end| end.clean));
    println!("closed cleanly");

    // Nobody listens here. `localhost` has two addresses, and both are tried.
    let refused = connect("ws://localhost:1/", &config).err();
    assert!(matches!(refused, Some(Error::Io(_))), "{refused:?}");
    println!("{}", refused.map(|error| error.to_string()).unwrap_or_default());
    Ok(())
}
