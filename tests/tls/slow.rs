//! TLS over a stream that takes little at a time, under tokio: nothing is refused for that, and
//! whoever waits to write is woken, whatever a reader beside it does.
use crate::support::tls::Authority;
use ::tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use std::time::Duration;
use tickwire::{
    Config, Dial,
    handshake::{client::Request, server::Accept},
    tokio as on_tokio,
};

/// Both ends, in bounded time.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let both = async { ::tokio::join!(a, b) };
    ::tokio::time::timeout(Duration::from_secs(10), both)
        .await
        .expect("the ends wait for each other")
}

fn rt() -> ::tokio::runtime::Runtime {
    ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// A server's first write behind the handshake is larger than what rustls buffers, and the stream is slow.
#[test]
fn corked_snapshot_over_slow_tls() {
    rt().block_on(async {
        let ca = Authority::new();
        let (near, far) = duplex(4096);
        let server = on_tokio::TlsStream::server(near, ca.server()).unwrap();
        let client =
            on_tokio::TlsStream::client(far, &"wss://localhost/".parse().unwrap(), ca.client())
                .unwrap();
        let a = async {
            let config = Config::default();
            let hs = on_tokio::Incoming::read(server, &config).await.unwrap();
            let mut ws = hs.accept_corked(Accept::new()).unwrap();
            let _ = ws.feed(&[7u8; 300_000][..]).unwrap();
            ws.flush().await
        };
        let b = async {
            let config = Config::default();
            let request = Request::new("wss://localhost/").unwrap();
            let mut ws = on_tokio::client(client, &request, &config).await?;
            let n = ws.recv().await?.map(|m| m.as_bytes().len());
            Ok::<_, tickwire::Error>(n)
        };
        let (a, b) = both(a, b).await;
        a.unwrap();
        assert_eq!(b.unwrap(), Some(300_000));
    });
}

// The client: its Finished and what it writes first.
#[test]
fn raw_client_first_write_large() {
    rt().block_on(async {
        let ca = Authority::new();
        let (near, far) = duplex(4096);
        let mut server = on_tokio::TlsStream::server(near, ca.server()).unwrap();
        let mut client =
            on_tokio::TlsStream::client(far, &"wss://localhost/".parse().unwrap(), ca.client())
                .unwrap();
        let a = async {
            let mut n = 0;
            let mut buf = vec![0; 10000];
            while n < 300_000 {
                let k = server.read(&mut buf).await.unwrap();
                if k == 0 {
                    break;
                }
                n += k;
            }
            n
        };
        let b = async {
            let r = client.write_all(&[1; 300_000]).await;
            println!("client write_all {r:?}");
            let _ = client.shutdown().await;
            r
        };
        let (a, b) = both(a, b).await;
        b.unwrap();
        assert_eq!(a, 300_000);
    });
}

// Over TCP with a small send buffer.
#[test]
fn corked_snapshot_over_tcp_small_sndbuf() {
    rt().block_on(async {
        let ca = Authority::new();
        let listener = ::tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tls = ca.server();
        let a = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut options = tickwire::SocketOptions::default();
            options.notsent_lowat = Some(16 << 10);
            options.send_buffer = Some(16 << 10);
            options.apply(&stream).unwrap();
            let server = on_tokio::TlsStream::server(stream, tls).unwrap();
            let config = Config::default();
            let hs = on_tokio::Incoming::read(server, &config).await.unwrap();
            let mut ws = hs.accept_corked(Accept::new()).unwrap();
            let _ = ws.feed(&[7u8; 900_000][..]).unwrap();
            ws.flush().await
        };
        let b = async {
            let config = Config::default();
            let request = Request::new(&format!("wss://localhost:{}/", addr.port())).unwrap();
            let mut ws = Dial::new(&request).tls(ca.client()).connect(&config).await?;
            let n = ws.recv().await?.map(|m| m.as_bytes().len());
            Ok::<_, tickwire::Error>(n)
        };
        let (a, b) = both(a, b).await;
        a.unwrap();
        assert_eq!(b.unwrap(), Some(900_000));
    });
}

// Split while the handshake's last words are not written: the reader drains, the writer is not woken.
#[test]
fn split_while_opening() {
    rt().block_on(async {
        let ca = Authority::new();
        let (near, far) = duplex(4096);
        let server = on_tokio::TlsStream::server(near, ca.server()).unwrap();
        let client =
            on_tokio::TlsStream::client(far, &"wss://localhost/".parse().unwrap(), ca.client())
                .unwrap();
        let cl = ::tokio::spawn(async move {
            let config = Config::default();
            let request = Request::new("wss://localhost/").unwrap();
            let mut ws = on_tokio::client(client, &request, &config).await?;
            ::tokio::time::sleep(Duration::from_millis(300)).await;
            let n = ws.recv().await?.map(|m| m.as_bytes().len());
            println!("client has {n:?}");
            ::tokio::time::sleep(Duration::from_secs(6)).await;
            Ok::<_, tickwire::Error>(n)
        });
        let config = Config::default();
        let hs = on_tokio::Incoming::read(server, &config).await.unwrap();
        let ws = hs.accept_corked(Accept::new()).unwrap();
        let (mut rx, mut tx) = ws.into_split();
        let _ = tx.feed(&[7u8; 40_000][..]).unwrap();
        let w = ::tokio::spawn(async move {
            let r = tx.flush().await;
            println!("flushed {r:?}");
            r
        });
        let r = ::tokio::spawn(async move {
            ::tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = rx.recv().await;
        });
        let done = ::tokio::time::timeout(Duration::from_secs(3), w).await;
        println!("{done:?}");
        r.abort();
        cl.abort();
        assert!(done.is_ok(), "writer not woken");
    });
}

// The same after `handshake()` has returned, as its docs ask for.
#[test]
fn raw_split_after_handshake() {
    rt().block_on(async {
        let ca = Authority::new();
        let (near, far) = duplex(512);
        let mut server = on_tokio::TlsStream::server(near, ca.server()).unwrap();
        let mut client =
            on_tokio::TlsStream::client(far, &"wss://localhost/".parse().unwrap(), ca.client())
                .unwrap();
        let peer = ::tokio::spawn(async move {
            server.handshake().await.unwrap();
            ::tokio::time::sleep(Duration::from_millis(300)).await;
            let (mut n, mut buf) = (0, vec![0; 1000]);
            while n < 20_000 {
                let k = server.read(&mut buf).await.unwrap();
                if k == 0 {
                    break;
                }
                n += k;
            }
            println!("peer has {n}");
            ::tokio::time::sleep(Duration::from_secs(6)).await;
        });
        client.handshake().await.unwrap();
        let (mut rd, mut wr) = ::tokio::io::split(client);
        let w = ::tokio::spawn(async move {
            wr.write_all(&[1; 20_000]).await.unwrap();
            wr.flush().await.unwrap();
        });
        let r = ::tokio::spawn(async move {
            ::tokio::time::sleep(Duration::from_millis(100)).await;
            let mut b = [0; 100];
            let _ = rd.read(&mut b).await;
        });
        let done = ::tokio::time::timeout(Duration::from_secs(3), w).await;
        r.abort();
        peer.abort();
        assert!(done.is_ok(), "writer not woken");
    });
}

// A reader that fails takes the writer's waker away.
#[test]
fn failing_reader_and_pending_writer() {
    rt().block_on(async {
        let ca = Authority::new();
        let (near, mut far) = duplex(4096);
        let mut server = on_tokio::TlsStream::server(near, ca.server()).unwrap();
        // The handshake, by hand, over `far`.
        let (c_near, mut c_far) = duplex(1 << 20);
        let mut client =
            on_tokio::TlsStream::client(c_near, &"wss://localhost/".parse().unwrap(), ca.client())
                .unwrap();
        let relay = async {
            ::tokio::time::timeout(
                Duration::from_millis(500),
                ::tokio::io::copy_bidirectional(&mut far, &mut c_far),
            )
            .await
        };
        let hs = async {
            let (a, b) = ::tokio::join!(
                async {
                    server.handshake().await.unwrap();
                    server.flush().await
                },
                async {
                    client.handshake().await.unwrap();
                    client.flush().await
                }
            );
            a.unwrap();
            b.unwrap();
        };
        let _ = ::tokio::join!(relay, hs);
        let (mut rd, mut wr) = ::tokio::io::split(server);
        let w = ::tokio::spawn(async move {
            let r = wr.write_all(&[1; 50_000]).await;
            let f = wr.flush().await;
            println!("{r:?} {f:?}");
        });
        let r = ::tokio::spawn(async move {
            let mut b = [0; 100];
            println!("reader {:?}", rd.read(&mut b).await);
        });
        ::tokio::time::sleep(Duration::from_millis(100)).await;
        far.write_all(&[
            23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1,
        ])
        .await
        .unwrap();
        ::tokio::time::sleep(Duration::from_millis(100)).await;
        let peer = ::tokio::spawn(async move {
            let mut b = vec![0; 1000];
            let mut n = 0;
            loop {
                match far.read(&mut b).await {
                    Ok(k) if k > 0 => {
                        n += k;
                        println!("peer {n}");
                    }
                    _ => break,
                }
            }
        });
        let done = ::tokio::time::timeout(Duration::from_secs(3), w).await;
        r.abort();
        peer.abort();
        assert!(done.is_ok(), "writer not woken");
    });
}
