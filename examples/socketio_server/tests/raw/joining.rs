//! Namespaces: A89.
use super::*;

// A89.

#[tokio::test(start_paused = true)]
async fn a89_what_comes_before_connect_closes_the_connection() {
    for packet in [r#"42["echo"]"#, r#"420["echo"]"#, "41", "431[]", r#"42/admin,["echo"]"#, "3x"] {
        let mut client = Client::open(&service()).await;
        client.send(packet).await;
        client.ends_malformed().await;
    }
    // Also for a namespace that was refused, or left.
    let mut client = Client::joined(&service()).await;
    assert_eq!(client.ask("40/admin,").await, r#"44/admin,{"message":"Not authorized"}"#);
    client.send(r#"42/admin,["echo"]"#).await;
    client.ends_malformed().await;
    let mut client = Client::joined(&service()).await;
    client.send("41").await;
    client.send(r#"42["echo"]"#).await;
    client.ends_malformed().await;
}

#[tokio::test(start_paused = true)]
async fn a89_namespaces_that_are_not_there_are_refused_and_nothing_else_happens() {
    let mut client = Client::joined(&service()).await;
    for name in ["/random", "/Admin", "/admin/", "/admin?token=secret", "/é", "/\"", "/__proto__"]
    {
        let refused = format!(r#"44{name},{{"message":"Invalid namespace"}}"#);
        assert_eq!(client.ask(&format!("40{name},")).await, refused);
        assert_eq!(client.ask(&format!("40{name}")).await, refused);
        assert_eq!(client.ask(&format!("40{name},{{\"token\":\"secret\"}}")).await, refused);
    }
    client.lives().await;
}

#[tokio::test(start_paused = true)]
async fn a89_a_second_connect_gets_another_id_and_one_socket_is_kept() {
    let io = app(Settings::default());
    let service = Service::new(io.clone());
    let (mut a, mut b) = (Client::open(&service).await, Client::joined(&service).await);
    let first = a.join("40").await;
    assert_eq!(a.ask(r#"421["join","tea"]"#).await, r#"431[{"status":"ok"}]"#);
    let in_room = || io.nsp("/").to("tea").count();
    assert_eq!(in_room(), 1);
    let second = a.join("40{}").await;
    assert_ne!(first, second);
    // It is another socket: in no room, and told things once.
    assert_eq!(in_room(), 0);
    assert_eq!(a.ask(r#"422["join","tea"]"#).await, r#"432[{"status":"ok"}]"#);
    assert_eq!(b.ask(r#"423["say","tea","hello"]"#).await, r#"433[{"status":"ok"}]"#);
    assert_eq!(a.text().await, r#"42["said","hello"]"#);
    a.lives().await;
    // One that fails leaves none.
    a.join(r#"40/admin,{"token":"secret"}"#).await;
    assert_eq!(a.ask("40/admin,").await, r#"44/admin,{"message":"Not authorized"}"#);
    a.send("41/admin,").await;
    a.ends_malformed().await;
}

#[tokio::test(start_paused = true)]
async fn a89_who_joins_nothing_is_disconnected() {
    let begun = Instant::now();
    let mut client = Client::open(&service()).await;
    let refused = client.ask("40/random").await;
    assert!(refused.starts_with("44"));
    assert_eq!(client.text().await, "2");
    client.send("3").await;
    client.ends_with(End::ConnectTimeout).await;
    assert!((45..=46).contains(&begun.elapsed().as_secs())); // a second for the end of the stream
}
