//! Revision 3: other lengths, and Pings the other way round.
use super::*;

#[tokio::test(start_paused = true)]
async fn revision_3_has_lengths_and_joins_by_itself() {
    let service = service();
    let (mut client, first) = Client::open(&service, "EIO=3&b64=1").await;
    let (length, rest) =
        first.text().split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(rest.split_at(length.parse().unwrap()).1, "2:40");
    // As JavaScript counts: the last character is two units.
    client.says("18:420[\"echo\",\"ä\u{20ac}\u{1f600}\"]1:2").await;
    assert_eq!(client.hears().await, "11:430[\"ä\u{20ac}\u{1f600}\"]1:3");
    // Binary in base64.
    let event = r#"451-7["echo",{"_placeholder":true,"num":0}]"#;
    client.says(format!("{}:{event}10:b4AQIDBA==", event.len())).await;
    let ack = r#"461-7[{"_placeholder":true,"num":0}]"#;
    assert_eq!(client.hears().await, format!("{}:{ack}10:b4AQIDBA==", ack.len()));
    // What `auth` would say stands in the namespace.
    for (connect, answer) in [
        ("40/admin,", r#"44/admin,"Not authorized""#),
        ("40/admin?token=guess,", r#"44/admin,"Not authorized""#),
        ("40/admin?x=1&token=se%63ret,", "40/admin,"),
        ("40/nowhere", r#"44/nowhere,"Invalid namespace""#),
        (r#"42/admin,1["echo"]"#, "43/admin,1[]"),
    ] {
        client.says(format!("{}:{connect}", connect.len())).await;
        assert_eq!(client.hears().await, format!("{}:{answer}", answer.len()));
    }
    let poll = client.polls().await;
    client.says("1:1").await;
    assert_eq!(poll.await.unwrap().text(), "1:6");
    client.ended_with(End::Closed).await;
}

#[tokio::test(start_paused = true)]
async fn revision_3_may_have_its_payloads_as_bytes() {
    let (client, _) = Client::open(&service(), "EIO=3").await;
    let event = r#"451-7["echo",{"_placeholder":true,"num":0}]"#;
    let mut body = [&[0, 4, 3, 255], event.as_bytes()].concat();
    assert_eq!(event.len(), 43);
    body.extend([1, 5, 255, 4, 1, 2, 3, 4]);
    let answer = client.post(BYTES, &body).await;
    assert_eq!(answer.text(), "ok");
    let heard = client.get().await;
    assert_eq!(heard.header("content-type"), Some("application/octet-stream"));
    let ack = r#"461-7[{"_placeholder":true,"num":0}]"#;
    assert_eq!(ack.len(), 36);
    let wanted = [&[0, 3, 6, 255], ack.as_bytes(), &[1, 5, 255, 4, 1, 2, 3, 4]].concat();
    assert_eq!(heard.body, wanted);
    // Where characters would be counted otherwise by others, too; and only there.
    let event = "420[\"echo\",\"\u{1f600}\"]";
    let event = [&[0, 1, 8, 255], event.as_bytes()].concat();
    assert_eq!(client.post(BYTES, &event).await.text(), "ok");
    let heard = client.get().await;
    assert_eq!(heard.body, [&[0, 1, 1, 255], "430[\"\u{1f600}\"]".as_bytes()].concat());
    assert_eq!(client.post(BYTES, [0, 1, 255, b'2']).await.text(), "ok");
    assert_eq!(client.hears().await, "1:3");
    // And through a WebSocket the type stands before the bytes.
    let mut ws = client.probed().await;
    ws.send("5").await.unwrap();
    ws.send(r#"451-7["echo",{"_placeholder":true,"num":0}]"#).await.unwrap();
    ws.send(Message::Binary(b"\x04x")).await.unwrap();
    assert_eq!(text(&mut ws).await, ack);
    let message = bounded(ws.recv()).await.unwrap().unwrap();
    assert_eq!(message, Message::Binary(b"\x04x"));
    ws.send("2").await.unwrap();
    assert_eq!(text(&mut ws).await, "3");
}

#[tokio::test(start_paused = true)]
async fn revision_3_is_pinged_by_its_client_and_ends_without() {
    let (mut client, _) = Client::open(&service(), "EIO=3&b64=1").await;
    let begun = Instant::now();
    for _ in 0..4 {
        sleep(Duration::from_secs(40)).await;
        client.says("1:2").await;
        assert_eq!(client.hears().await, "1:3");
    }
    let poll = client.polls().await;
    client.ended_with(End::PingTimeout).await;
    assert_eq!(poll.await.unwrap().text(), "1:1");
    assert!((204..=206).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}
