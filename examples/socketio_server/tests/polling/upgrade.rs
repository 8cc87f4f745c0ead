//! From polling to a WebSocket.
use super::*;

#[tokio::test(start_paused = true)]
async fn what_waits_comes_once_and_in_order_across_the_upgrade() {
    let service = service();
    let (talks, mut hears) = (Client::joined(&service).await, Client::joined(&service).await);
    for client in [&talks, &hears] {
        client.says(r#"420["join","tea"]"#).await;
        client.hears().await;
    }
    let said = async |from: usize, n: usize| {
        for i in from..from + n {
            talks.says(format!(r#"42["say","tea",{i}]"#)).await;
        }
    };
    let mut heard = Vec::new();
    said(0, 3).await;
    heard.extend(hears.hears().await.split('\x1e').map(str::to_owned));
    let mut poll = hears.polls().await;
    let mut ws = hears.probed().await;
    assert_eq!((&mut poll).await.unwrap().text(), "6"); // released
    // Before the client goes over, it may poll, and send.
    said(3, 3).await;
    heard.extend(hears.hears().await.split('\x1e').map(str::to_owned));
    assert_eq!(hears.hears().await, "6");
    hears.says(r#"42["say","tea","heard"]"#).await;
    said(6, 40).await;
    ws.send("5").await.unwrap();
    ws.send(r#"427["echo"]"#).await.unwrap();
    loop {
        match text(&mut ws).await {
            ack if ack == "437[]" => break,
            packet => heard.push(packet),
        }
    }
    said(46, 3).await;
    for _ in 0..3 {
        heard.push(text(&mut ws).await);
    }
    let wanted: Vec<_> = (0..49).map(|i| format!(r#"42["said",{i}]"#)).collect();
    assert_eq!(heard, wanted);
    assert_eq!(talks.hears().await, r#"42["said","heard"]"#);
    // Requests are nothing to it any more, and another WebSocket is closed.
    for answer in [hears.get().await, hears.post("", "1").await] {
        assert_eq!((answer.status, answer.text().contains(r#""code":3"#)), (400, true));
    }
    let mut other = hears.websocket().await;
    assert!(!matches!(bounded(other.recv()).await, Ok(Some(_))));
    ws.send(r#"428["echo"]"#).await.unwrap();
    assert_eq!(text(&mut ws).await, "438[]");
    bounded(ws.close(None)).await.unwrap();
    assert!(hears.ends.next().await.is_ok());
    hears.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_comes_to_nothing_leaves_the_session_where_it_was() {
    let client = Client::joined(&service()).await;
    // Probed, and gone.
    drop(client.probed().await);
    client.lives().await;
    // Probed, and silent for longer than it may.
    let mut silent = client.probed().await;
    sleep(Duration::from_secs(11)).await;
    assert!(!matches!(bounded(silent.recv()).await, Ok(Some(_))));
    client.lives().await;
    // What may not be said by one that has not taken over.
    for message in ["5", "2", "3", "3probe", "40", r#"420["echo"]"#, "", "1"] {
        let mut ws = client.websocket().await;
        ws.send(message).await.unwrap();
        assert!(!matches!(bounded(ws.recv()).await, Ok(Some(_))), "{message}");
        client.lives().await;
    }
    let mut ws = client.websocket().await;
    ws.send(Message::Binary(b"2probe")).await.unwrap();
    assert!(!matches!(bounded(ws.recv()).await, Ok(Some(_))));
    // One at a time.
    let mut first = client.probed().await;
    let mut second = client.websocket().await;
    assert!(!matches!(bounded(second.recv()).await, Ok(Some(_))));
    first.send("5").await.unwrap();
    first.send(r#"427["echo"]"#).await.unwrap();
    assert_eq!(text(&mut first).await, "437[]");
}
