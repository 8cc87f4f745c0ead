//! The client of long-polling that the figures are of: hyper's, on two connections that stay.
use super::{Payload, Result, TIME, app, placeholder, processor_time, took};
use crate::server::{Service, bind};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, time::Instant};
use tokio::{net::TcpStream, sync::watch};

type Requests = SendRequest<Full<Bytes>>;

/// ns of processor time for each event echoed, so many in a body.
pub(super) async fn loopback(payload: &Payload, window: u32) -> Result<f64> {
    let (listener, address) = bind(([127, 0, 0, 1], 0).into()).await?;
    let (running, stop) = watch::channel(());
    let log = |line: std::fmt::Arguments<'_>| eprintln!("{line}");
    let server = tokio::spawn(Service::new(app()).serve(listener, stop, log));
    let (mut says, mut hears) = (connect(address).await?, connect(address).await?);
    let open = ask(&mut hears, "", None).await?;
    let sid = open.split('"').nth(3).ok_or("no session")?;
    let sid = format!("&sid={sid}");
    ask(&mut says, &sid, Some("40".into())).await?;
    ask(&mut hears, &sid, None).await?;
    let placeholder = placeholder()?;
    let (begun, before) = (Instant::now(), processor_time());
    let (mut sent, mut back) = (0, 0);
    while begun.elapsed() < TIME {
        let mut body = String::new();
        for _ in 0..window {
            let packet = payload.event(&placeholder, sent);
            sent += 1;
            if !body.is_empty() {
                body.push('\u{1e}');
            }
            body.push_str(&packet.text);
            for attachment in &packet.attachments {
                body.push('\u{1e}');
                body.push_str(&crate::engine::payload::in_base64("b", attachment));
            }
        }
        ask(&mut says, &sid, Some(body)).await?;
        while back < sent {
            let heard = ask(&mut hears, &sid, None).await?;
            back += heard.split('\u{1e}').filter(|packet| is_ack(packet)).count() as u64;
        }
    }
    let took = took(begun, before);
    drop((says, hears, running));
    server.await?;
    Ok(took.as_nanos() as f64 / back as f64)
}

fn is_ack(packet: &str) -> bool {
    packet.starts_with("43") || packet.starts_with("46")
}

async fn connect(address: SocketAddr) -> Result<Requests> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (requests, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(requests)
}

/// A POST if there is a body, and otherwise a GET.
async fn ask(requests: &mut Requests, sid: &str, body: Option<String>) -> Result<String> {
    let uri = format!("/socket.io/?EIO=4&transport=polling{sid}");
    let request = Request::builder().uri(uri).header("Host", "localhost");
    let request = request.method(if body.is_some() { "POST" } else { "GET" });
    let request = request.body(Full::from(body.unwrap_or_default()))?;
    requests.ready().await?;
    let answer = requests.send_request(request).await?.map(Body::new);
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(String::from_utf8(body.into())?)
}
