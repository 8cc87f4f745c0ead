//! Rooms, and who may join them.
use super::*;

#[tokio::test(start_paused = true)]
async fn rooms_are_bounded_and_left_in_whatever_way_one_goes() {
    let io = app(Settings::default());
    let mut client = Client::joined(&Service::new(io.clone())).await;
    let in_rooms = || (0..100).map(|i| io.nsp("/").to(&format!("room {i}")).count()).sum::<usize>();
    let error = r#"430[{"message":"join ROOM: too many, or too long a name","status":"error"}]"#;
    for i in 0..100 {
        let join = format!(r#"420["join","room {i}"]"#);
        assert_eq!(client.ask(&join).await, r#"430[{"status":"ok"}]"#);
    }
    assert_eq!(in_rooms(), 100);
    assert_eq!(client.ask(r#"420["join","room 100"]"#).await, error);
    assert_eq!(client.ask(r#"420["join","room 99"]"#).await, r#"430[{"status":"ok"}]"#);
    assert_eq!(client.ask(r#"420["leave","room 99"]"#).await, r#"430[{"status":"ok"}]"#);
    let long = format!(r#"420["join","{}"]"#, "x".repeat(201));
    assert_eq!(client.ask(&long).await, error);
    assert_eq!(in_rooms(), 99);
    client.send("41").await;
    client.join("40").await;
    assert_eq!((in_rooms(), io.nsp("/").count()), (0, 1));
    client.ask(r#"420["join","tea"]"#).await;
    drop(client.ws); // without a word
    assert!(client.served.next().await.is_err());
    assert!(io.rooms().is_empty());
}

#[tokio::test(start_paused = true)]
async fn admin_wants_the_token_and_nothing_like_it() {
    let mut client = Client::open(&service()).await;
    for auth in
        ["", "{}", "\"\"", "\"secre\"", "\"secretx\"", "\"Secret\"", "null", "[\"secret\"]", "true"]
    {
        let auth = match auth {
            "" | "{}" => auth.to_owned(),
            token => format!(r#"{{"token":{token}}}"#),
        };
        let answer = client.ask(&format!("40/admin,{auth}")).await;
        assert_eq!(answer, r#"44/admin,{"message":"Not authorized"}"#, "{auth}");
    }
    client.join(r#"40/admin,{"x":[1],"token":"secret"}"#).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_is_nowhere() {
    let mut io = Io::default();
    for i in 0..=16 {
        io.of(&format!("/{i}"))
            .allow(|auth| auth.get::<Value>(0).map(|_| ()).ok_or(Refusal("Not authorized")))
            .on("hello", |socket, args, _| socket.nsp().emit("hello", args));
    }
    let service = Service::new(io.clone());
    let mut client = Client::open(&service).await;
    assert!(client.ask("40/3").await.starts_with("44/3,"));
    let long = format!(r#"40/3,{{"token":"{}"}}"#, "x".repeat(16 << 10));
    assert_eq!(client.ask(&long).await, r#"44/3,{"message":"Too long"}"#);
    assert!(io.rooms().is_empty());
    // So many namespaces are known here, but nobody may join all.
    for i in 0..16 {
        client.join(&format!("40/{i},{{}}")).await;
    }
    let refused = r#"44/16,{"message":"Too many namespaces"}"#;
    assert_eq!(client.ask("40/16,{}").await, refused);
    client.send("41/7").await;
    client.join("40/16,{}").await;
    assert_eq!((io.nsp("/7").count(), io.nsp("/16").count()), (0, 1));
    // What is said in a namespace is heard in it.
    let mut other = Client::open(&service).await;
    other.join("40/3,{}").await;
    other.send(r#"42/3,["hello",1]"#).await;
    assert_eq!(client.text().await, r#"42/3,["hello",1]"#);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_what_the_room_says_is_disconnected_and_the_others_hear_all() {
    let service = service();
    let (mut talks, mut hears) = (Client::joined(&service).await, Client::joined(&service).await);
    let mut sleeps = Client::joined(&service).await;
    for client in [&mut talks, &mut hears, &mut sleeps] {
        client.ask(r#"420["join","tea"]"#).await;
    }
    let text = "x".repeat(500_000);
    let say = format!(r#"420["say","tea","{text}"]"#);
    let said = format!(r#"42["said","{text}"]"#);
    for _ in 0..30 {
        assert_eq!(talks.ask(&say).await, r#"430[{"status":"ok"}]"#);
        assert_eq!(hears.text().await, said);
    }
    talks.lives().await;
    hears.lives().await;
    assert!(matches!(sleeps.served.next().await, Err(Ended::TooSlow)));
}

#[tokio::test(start_paused = true)]
async fn what_an_application_says_to_one_who_joins_comes_behind_the_news_that_it_has() {
    let mut client = Client::open(&suite::socketio()).await;
    client.join(r#"40{"token":"123"}"#).await;
    assert_eq!(client.text().await, r#"42["auth",{"token":"123"}]"#);
    client.join("40/custom").await;
    assert_eq!(client.text().await, r#"42/custom,["auth",{}]"#);
    // One that is refused hears nothing of it.
    assert_eq!(client.ask("40/random").await, r#"44/random,{"message":"Invalid namespace"}"#);
    client.send("41/custom").await;
    assert_eq!(client.ask(r#"42["message",1]"#).await, r#"42["message-back",1]"#);
}
