//! What is no payload, and bodies without end: A87, A88; and what nobody reads.
use super::*;

// A87.

#[tokio::test(start_paused = true)]
async fn a87_a_body_that_is_no_payload_ends_the_session() {
    let service = service();
    let mut separated: Vec<Vec<u8>> =
        r#"| 4 420["echo"]| |420["echo"] 420["echo"]||3 2 2probe 5 6 0 abc b b= bAQIDBA= bAQ!D"#
            .split(' ')
            .map(|body| body.replace('|', "\x1e").into())
            .collect();
    separated.extend([b"".to_vec(), b"\xff".to_vec(), b"4\xc3".to_vec()]);
    for body in &separated {
        let mut client = Client::joined(&service).await;
        let poll = client.polls().await;
        let answer = client.post("", body).await;
        assert_eq!((answer.status, answer.text().contains(r#""code":3"#)), (400, true), "{body:?}");
        let last = poll.await.unwrap().text();
        assert!(last == "1" || last == "430[]\x1e1", "{last}"); // what was answered before
        client.ended_with(MALFORMED).await;
    }
    let lengths = ": 1 1: 0: 2:2 1:20 -1:2 01x:2 3:\u{1f600} 1:\u{1f600} 9999999999999999999:2 \
        1000000000000:2 7:b4AQID= 6:b5AQID";
    let lengths = lengths.split(' ').map(str::as_bytes).chain([&b""[..], b"1:\xff"]);
    let bytes: [&[u8]; 13] = [
        b"",
        b"\0",
        b"\0\xff",
        b"\0\x01\xff",
        b"\0\x00\xff",
        b"\0\x01",
        b"\0\x0a\xff2",
        b"\x02\x01\xff2",
        b"\0\x02\xff2",
        b"\0\x01\xff\xff",
        b"\x01\x01\xff\x05",
        b"\x01\x00\xff",
        b"\0\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff2",
    ];
    let bodies = lengths.map(|body| ("EIO=3&b64=1", "", body));
    for (query, kind, body) in bodies.chain(bytes.map(|body| ("EIO=3", BYTES, body))) {
        let (mut client, _) = Client::open(&service, query).await;
        assert_eq!(client.post(kind, body).await.status, 400, "{body:?}");
        client.ended_with(MALFORMED).await;
    }
}

#[tokio::test]
async fn a87_many_packets_in_a_body_take_time_in_proportion() {
    let took = async |packets| {
        let (client, _) = Client::open(&service(), "EIO=3&b64=1").await;
        let begun = std::time::Instant::now();
        // Acknowledges what nobody asked.
        let pings = client.post("", "6:439[1]".repeat(packets)).await;
        assert_eq!(pings.text(), "ok");
        begun.elapsed()
    };
    // Four times as many take four times as long; sixteen times, if each looked at all of them. A
    // busy machine takes longer now and then, for either.
    let (mut few, mut many) = (Duration::MAX, Duration::MAX);
    for _ in 0..100 {
        (few, many) = (few.min(took(30_000).await), many.min(took(120_000).await));
        if many < 8 * few {
            return;
        }
    }
    panic!("{few:?} for 30,000, {many:?} for 120,000");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_not_read_yet_is_not_replaced_by_the_next() {
    let service = service();
    let mut client = Client::joined(&service).await;
    let long = "x".repeat(300_000);
    client.says(format!(r#"420["echo","{long}"]"#)).await;
    // The answer is not fetched: the next body waits, until its request is given up.
    let (to, target) = (service.clone(), client.target.clone());
    let waits =
        tokio::spawn(async move { http(&to, "POST", &target, "", br#"421["echo"]"#).await.0 });
    sleep(Duration::from_millis(1)).await;
    assert!(!waits.is_finished());
    waits.abort();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(client.post("", r#"422["echo"]"#).await.status, 400);
    client.ended_with(End::Overlap).await;
}

#[tokio::test(start_paused = true)]
async fn a99_a_response_that_nobody_reads_ends_its_connection() {
    let service = service();
    let client = Client::joined(&service).await;
    let long = "x".repeat(200_000);
    for read_on in [true, false] {
        client.says(format!(r#"420["echo","{long}"]"#)).await;
        let (mut near, running, _) = connect(&service);
        let get = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", client.target);
        near.write_all(get.as_bytes()).await.unwrap();
        let mut got = vec![0; 40_000];
        if read_on {
            // However slowly.
            for _ in 0..5 {
                sleep(Duration::from_secs(29)).await;
                near.read_exact(&mut got).await.unwrap();
                client.says("3").await; // its pong
            }
        } else {
            sleep(Duration::from_secs(31)).await;
            let mut rest = Vec::new();
            let _ = near.read_to_end(&mut rest).await;
            assert!(rest.len() < long.len(), "{}", rest.len());
        }
        drop(running);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_overlap_end_the_session() {
    let service = service();
    let mut client = Client::joined(&service).await;
    let poll = client.polls().await;
    let second = client.get().await;
    assert_eq!((second.status, second.text().contains(r#""code":3"#)), (400, true));
    assert_eq!(poll.await.unwrap().text(), "1");
    client.ended_with(End::Overlap).await;
    // Two bodies.
    let mut client = Client::joined(&service).await;
    let (mut stream, _running, _) = connect(&service);
    let head = format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n4", client.target);
    stream.write_all(head.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.post("", "3").await.status, 400);
    client.ended_with(End::Overlap).await;
}

// A88.

#[tokio::test(start_paused = true)]
async fn a88_a_body_is_bounded_in_bytes_and_in_time() {
    let service = service();
    let client = Client::joined(&service).await;
    let long = format!(r#"420["echo","{}"]"#, "x".repeat(1_000_000));
    assert_eq!(client.post("", &long).await.status, 413);
    client.lives().await;
    // Without saying how long it is.
    let chunked =
        format!("POST {} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", client.target);
    let (mut stream, _running, _) = connect(&service);
    let body = format!("{chunked}{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let _ = bounded(stream.write_all(body.as_bytes())).await;
    assert_eq!(bounded(answer(&mut stream)).await.status, 413);
    // So slowly that it takes for ever.
    let (mut stream, _running, _) = connect(&service);
    stream.write_all(format!("{chunked}1\r\n4\r\n").as_bytes()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(bounded(answer(&mut stream)).await.status, 408);
    assert_eq!(begun.elapsed().as_secs(), 20);
    client.lives().await; // and the turn is free again
}

#[tokio::test(start_paused = true)]
async fn a88_attachments_over_polling_are_bounded_and_have_to_come() {
    let service = service_with(Settings { max_packet: 100_000, ..Settings::default() });
    let mut client = Client::joined(&service).await;
    client.says(r#"452-1["echo",{"_placeholder":true,"num":1}]"#).await;
    client.says("bAQ==").await;
    for _ in 0..2 {
        assert_eq!(client.hears().await, "2");
        client.says("3").await;
    }
    client.ended_with(End::AttachmentTimeout).await;
    let mut client = Client::joined(&service).await;
    let half = format!("b{}", "AAAA".repeat(20_000));
    client.says(r#"452-1["echo",{"_placeholder":true,"num":1}]"#).await;
    client.says(&half).await;
    assert_eq!(client.post("", &half).await.status, 400);
    client.ended_with(MALFORMED).await;
}
