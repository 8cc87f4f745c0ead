//! HttpArena's WebSocket echo: `/ws` on port 8080, one loop per core, over io_uring where the
//! kernel permits it.
use std::{error::Error, process, thread};
use tickwire::{
    Config,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Door, Event, Loop, Settings};

type Failure = Box<dyn Error + Send + Sync>;

fn serve() -> Result<(), Failure> {
    let most = Settings::default().max_connections;
    // The load generator has one address.
    let settings = Settings { io_uring: true, max_per_address: most, ..Settings::default() };
    let mut net = Loop::<()>::new(settings)?;
    net.net().listen(([0; 4], 8080).into(), Door::new(Config::default()).share_port(true))?;
    Ok(net.run(|net, event| match event {
        Event::Request { request, answer, .. } => match request.path() {
            "/ws" => answer.accept(Accept::default(), ()),
            _ => answer.reject(Rejection::new(404)),
        },
        // This fails only if the connection is closing.
        Event::Message { from, message, .. } => drop(net.send(from, message)),
        _ => {}
    })?)
}

fn main() -> Result<(), Failure> {
    for _ in 1..thread::available_parallelism()?.get() {
        thread::spawn(|| {
            if let Err(error) = serve() {
                eprintln!("{error}");
                process::exit(1);
            }
        });
    }
    serve()
}
