//! Rooms, and who may join them.
use super::*;

#[tokio::test(start_paused = true)]
async fn rooms_are_bounded_and_left_in_whatever_way_one_goes() {
    let shared = app();
    let (service, rooms) = (Service::new(shared.clone()), shared.rooms);
    let mut client = Client::joined(&service).await;
    let error = r#"430[{"message":"too many rooms, or too long a name","status":"error"}]"#;
    for i in 0..100 {
        let join = format!(r#"420["join","room {i}"]"#);
        assert_eq!(client.ask(&join).await, r#"430[{"status":"ok"}]"#);
    }
    assert_eq!(rooms.len(), 100);
    assert_eq!(client.ask(r#"420["join","room 100"]"#).await, error);
    assert_eq!(client.ask(r#"420["join","room 99"]"#).await, r#"430[{"status":"ok"}]"#);
    assert_eq!(client.ask(r#"420["leave","room 99"]"#).await, r#"430[{"status":"ok"}]"#);
    let long = format!(r#"420["join","{}"]"#, "x".repeat(201));
    assert_eq!(client.ask(&long).await, error);
    assert_eq!(rooms.len(), 99);
    client.send("41").await;
    client.join("40").await;
    assert!(rooms.is_empty());
    client.ask(r#"420["join","tea"]"#).await;
    drop(client.ws); // without a word
    assert!(client.served.next().await.is_err());
    assert!(rooms.is_empty());
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

/// Puts all into a room, and then looks whether they may join.
struct Hasty;

impl Handler for Hasty {
    fn connect(&self, socket: &mut Socket<'_>, auth: Option<&RawValue>) -> Result<(), Refusal> {
        assert!(socket.join("all"));
        auth.map(|_| ()).ok_or(Refusal::AUTHORIZATION)
    }

    fn event(&self, socket: &mut Socket<'_>, event: Event<'_>) {
        socket.say("all", event.name, event.args);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_is_in_no_room() {
    let shared = Shared::new(Hasty, Settings::default());
    let (service, rooms) = (Service::new(shared.clone()), shared.rooms);
    let mut client = Client::open(&service).await;
    assert!(client.ask("40/any").await.starts_with("44/any,"));
    assert!(rooms.is_empty());
    // Any number of namespaces are known here, but nobody may join so many.
    for i in 0..16 {
        client.join(&format!("40/{i},{{}}")).await;
    }
    let refused = r#"44/16,{"message":"Too many namespaces"}"#;
    assert_eq!(client.ask("40/16,{}").await, refused);
    assert_eq!(rooms.len(), 16);
    client.send("41/7").await;
    client.join("40/16,{}").await;
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
