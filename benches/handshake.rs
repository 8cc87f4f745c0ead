//! The opening handshake in memory, from the first byte to the connection: a server's on every
//! side, and each role of the core alone.
mod floor;
mod sides;

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tickwire::{
    Config, Connection, Entropy,
    handshake::{accept_key, client, server},
};

/// Always the same nonce, so that one response fits every request.
struct Sevens;

impl Entropy for Sevens {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill(7);
    }
}

const MINIMAL: &str = "";
/// What a browser sends besides.
const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\n\
    Accept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Origin: https://example.com\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Protocol: ticks.v2, ticks.v1\r\n\
    DNT: 1\r\n\
    Cookie: session=dGhpcyBpcyBub3QgYSByZWFsIHNlc3Npb24gY29va2llLCBqdXN0IGEgbG9uZyBvbmU\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n";

fn serve(config: &Config, request: &[u8]) -> Option<Connection> {
    let mut handshake = server::Handshake::new(config);
    handshake.reading.spare_mut()[..request.len()].copy_from_slice(request);
    handshake.reading.commit(request.len());
    handshake.step().ok()?;
    handshake.accept(server::Accept::default()).ok()
}

fn connect(config: &Config, request: &client::Request, response: &[u8]) -> Option<Connection> {
    let mut handshake = client::Handshake::new(request, config, Sevens);
    handshake.advance(black_box(handshake.outgoing()).len());
    handshake.reading.spare_mut()[..response.len()].copy_from_slice(response);
    handshake.reading.commit(response.len());
    handshake.step().ok()?;
    handshake.into_connection().ok()
}

fn benches(c: &mut Criterion) {
    let config = Config::default();
    let mut group = c.benchmark_group("handshake");
    sides::measure(&mut group, "server", sides::accepting());
    for (name, more) in [("minimal", MINIMAL), ("browser", BROWSER)] {
        let request = format!(
            "GET /feed HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        assert!(serve(&config, request.as_bytes()).is_some());
        group.bench_function(format!("server/{name}"), |b| {
            b.iter(|| serve(&config, black_box(request.as_bytes())));
        });
    }
    let Ok(request) = client::Request::new("ws://example.com/feed") else {
        return;
    };
    let accept = accept_key("BwcHBwcHBwcHBwcHBwcHBw=="); // 16 sevens
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    assert!(connect(&config, &request, response.as_bytes()).is_some());
    group.bench_function("client", |b| {
        b.iter(|| connect(&config, &request, black_box(response.as_bytes())));
    });
}

criterion_group!(all, benches);
criterion_main!(all);
