//! The peer in a test of BoringSSL's runner: connects to the runner, does the handshake in the role
//! that the runner asks for, and answers what it reads with all bits inverted.
mod options;
mod stream;

use options::Options;
use std::{
    io::{self, ErrorKind, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpStream},
    process::exit,
};
use stream::Stream;
use tickwire_tls::rustls;

/// The runner takes this exit code for "not implemented".
const UNIMPLEMENTED: i32 = 89;

fn main() {
    let options = Options::parse().unwrap_or_else(|what| {
        eprintln!("not implemented: {what}");
        exit(UNIMPLEMENTED)
    });
    let (client, server) = (options.client(), options.server());
    for _ in 0..=options.resumptions {
        let session = options.session(&client, server.as_ref());
        if let Err(error) = session.and_then(|session| run(&options, session)) {
            eprintln!("{error}");
            exit(1);
        }
    }
}

fn run(options: &Options, session: tickwire_tls::Session) -> io::Result<()> {
    let mut tcp = match options.ipv6 {
        true => TcpStream::connect((Ipv6Addr::LOCALHOST, options.port))?,
        false => TcpStream::connect((Ipv4Addr::LOCALHOST, options.port))?,
    };
    tcp.set_nodelay(true)?;
    tcp.write_all(&options.id.to_le_bytes())?;
    let mut io = Stream::new(tcp, session);
    io.handshake()?;
    if options.writes_first {
        io.write(b"hello")?;
    }
    let mut buf = vec![0; options.read_size];
    if options.shuts_down {
        io.close()?;
        while options.wants_close && io.read(&mut buf)? > 0 {}
        return Ok(());
    }
    loop {
        match io.read(&mut buf) {
            Ok(0) => return io.close(),
            Ok(n) => {
                buf[..n].iter_mut().for_each(|byte| *byte = !*byte);
                io.write(&buf[..n])?;
            }
            Err(error) if !options.wants_close && is_end(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Whether the runner has just ended TCP.
fn is_end(error: &io::Error) -> bool {
    let tls = error.get_ref().is_some_and(|error| error.is::<rustls::Error>());
    !tls && matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}
