//! The deadline on data under tokio, for callers who are not always there.
use crate::support::tokio::*;
use ::tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep, timeout},
};
use futures_util::FutureExt;
use std::time::Duration;
use tickwire::{Chunk, Config, DataKind, Error, Heartbeat, RecvError};

const MS: Duration = Duration::from_millis(1);

/// As a game that looks into its socket each tick.
#[tokio::test(start_paused = true)]
async fn silence_is_found_by_who_looks_seldom() {
    let (near, mut far) = duplex(1 << 16);
    let config =
        Config { data_timeout: Some(200 * MS), close_timeout: 100 * MS, ..Config::default() };
    let mut ws = client(near, &config);
    let began = Instant::now();
    let error = loop {
        far.write_all(&unmasked(PING, "")).await.unwrap();
        match ws.recv().now_or_never() {
            Some(got) => break got.unwrap_err(),
            None => sleep(100 * MS).await,
        }
        assert!(began.elapsed() < 500 * MS);
    };
    assert!(matches!(error, Error::Recv(RecvError::DataTimeout)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_came_in_time_is_read_before_silence_is_judged() {
    let (near, mut far) = duplex(1 << 20);
    let mut ws = client(near, &Config { data_timeout: Some(500 * MS), ..Config::default() });
    for away in [95, 155, 300, 5000] {
        far.write_all(&unmasked(TEXT, "before")).await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("before"));
        assert!(timeout(405 * MS, ws.recv()).await.is_err());
        let late = [unmasked(PING, "").repeat(100_000), unmasked(TEXT, "in time")].concat();
        far.write_all(&late).await.unwrap();
        sleep(away * MS).await;
        assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("in time"), "{away}");
    }
}

/// The runtime makes a read wait then, though there is something to read.
#[tokio::test(start_paused = true)]
async fn a_task_that_used_up_its_budget_does_not_miss_the_message_that_lies_there() {
    let (near, mut far) = duplex(1000);
    let mut ws = client(near, &Config { data_timeout: Some(500 * MS), ..Config::default() });
    far.write_all(&unmasked(TEXT, "before")).await.unwrap();
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("before"));
    assert!(timeout(405 * MS, ws.recv()).await.is_err());
    far.write_all(&unmasked(TEXT, "in time")).await.unwrap();
    sleep(200 * MS).await;
    recv_waits_without_budget(&mut ws).await;
    assert_eq!(ws.recv().await.unwrap().unwrap().as_text(), Some("in time"));
}

/// The next deadline after the heartbeat's is 20 s away.
#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_the_last_chunk_does_not_hold_back_the_heartbeat() {
    let (near, _far) = duplex(1000);
    let heartbeat = Some(Heartbeat::new(500 * MS, 500 * MS));
    let mut ws = client(
        near,
        &Config { heartbeat, data_timeout: Some(Duration::from_secs(100)), ..Config::default() },
    );
    let began = Instant::now();
    let chunk = Chunk { kind: DataKind::Binary, first: true, data: b"begun", last: false };
    ws.sender_mut().feed_chunk(chunk).unwrap();
    ws.flush().await.unwrap();
    ws.sender_mut().feed_first("urgent").unwrap();
    assert_eq!(recv_error(ws.recv().await), RecvError::PongTimeout);
    assert!(began.elapsed() < 5000 * MS, "{:?}", began.elapsed());
}

/// Nobody reads while a send waits, so the rest of the frame may lie in the stream.
#[tokio::test(start_paused = true)]
async fn a_send_that_waits_does_not_count_against_the_peers_frame() {
    let (near, mut far) = duplex(64);
    let mut ws = client(near, &Config { frame_timeout: 500 * MS, ..Config::default() });
    far.write_all(b"\x82\x05ab").await.unwrap();
    assert!(ws.recv().now_or_never().is_none(), "the frame is not whole");
    far.write_all(b"cde").await.unwrap();
    {
        let mut send = std::pin::pin!(ws.send(&[7; 1000][..]));
        assert!(timeout(5000 * MS, &mut send).await.is_err(), "the peer does not read");
        let mut room = [0; 4096];
        let all = async {
            let mut taken = 0;
            while taken < 1000 {
                taken += far.read(&mut room).await.unwrap();
            }
        };
        let (sent, ()) = ::tokio::join!(send, all);
        sent.unwrap();
    }
    assert_eq!(ws.recv().await.unwrap().unwrap().as_bytes(), b"abcde");
}
