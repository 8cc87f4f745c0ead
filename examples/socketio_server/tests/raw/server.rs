//! What an application can do: to whom it emits, whom it disconnects, and why it hears that one
//! went.
use super::*;

/// A service, and what its application says: the reasons of those who go.
fn application(setup: impl FnOnce(&mut Io)) -> (Service, Io, mpsc::Receiver<String>) {
    let (say, said) = mpsc::channel();
    let mut io = Io::default();
    io.of("/").on("echo", |socket, args, ack| socket.ack(ack, args)).on_disconnect(
        move |socket, why| {
            socket.emit("lost", Args::default()); // it has gone: nobody gets that
            say.send(format!("{why}, {:?}", socket.data().get("name"))).unwrap();
        },
    );
    setup(&mut io);
    (Service::new(io.clone()), io, said)
}

#[tokio::test(start_paused = true)]
async fn events_reach_whom_they_are_for() {
    let (service, io, _said) = application(|io| {
        io.of("/")
            .on("join", |socket, args, _| assert!(socket.join(&args.get::<String>(0).unwrap())))
            .on("self", |socket, args, _| socket.emit("hears", args))
            .on("all", |socket, args, _| socket.nsp().emit("hears", args))
            .on("others", |socket, args, _| socket.broadcast().emit("hears", args))
            .on("room", |socket, args, _| socket.nsp().to("tea").emit("hears", args))
            .on("others in room", |socket, args, _| socket.to("tea").emit("hears", args))
            .on("one", |socket, args, _| {
                let id = args.get::<String>(0).unwrap();
                socket.nsp().socket(&id).emit("hears", args);
            });
    });
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::open(&service).await);
    }
    let mut ids = Vec::new();
    for client in &mut clients {
        ids.push(client.join("40").await);
    }
    for client in &mut clients[..2] {
        client.send(r#"42["join","tea"]"#).await;
    }
    // The name of a room is no id: nobody gets what is for another by joining its name.
    clients[3].send(&format!(r#"42["join","{}"]"#, ids[2])).await;
    let to_one = format!(r#"["one","{}"]"#, ids[2]);
    for (event, hear) in [
        (r#"["self",1]"#, [true, false, false, false]),
        (r#"["all",1]"#, [true; 4]),
        (r#"["others",1]"#, [false, true, true, true]),
        (r#"["room",1]"#, [true, true, false, false]),
        (r#"["others in room",1]"#, [false, true, false, false]),
        (&to_one, [false, false, true, false]),
    ] {
        clients[0].send(&format!("42{event}")).await;
        let said = event.split_once(',').unwrap().1;
        for (client, hears) in clients.iter_mut().zip(hear) {
            let wanted = format!(r#"42["hears",{said}"#);
            assert_eq!(client.heard().await, vec![wanted; usize::from(hears)], "{event}");
        }
    }
    // Others than handlers may speak too, and bytes go with it.
    io.nsp("/").to("tea").emit("bytes", Args::from(1).and_bytes(vec![7]));
    let heard = clients[1].text().await;
    assert_eq!(heard, r#"451-["bytes",1,{"_placeholder":true,"num":0}]"#);
    assert_eq!(clients[1].bytes().await, [7]);
}

#[tokio::test(start_paused = true)]
async fn the_application_hears_who_goes_and_why() {
    let (service, _io, said) = application(|io| {
        io.of("/").on("name", |socket, args, _| {
            socket.data().insert("name".into(), args.get(0).unwrap());
        });
    });
    for (why, last) in [
        ("client namespace disconnect", "41"),
        ("transport close", "1"),
        ("parse error", "4nonsense"),
        ("ping timeout", ""),
        ("transport close", "drop"),
        ("transport close", "close"),
        ("server shutting down", "stop"),
    ] {
        let mut client = Client::joined(&service).await;
        client.send(r#"42["name","Ann"]"#).await;
        client.lives().await;
        match last {
            "" => tokio::time::sleep(Duration::from_secs(46)).await,
            "drop" => drop(client.ws),
            "close" => drop(bounded(client.ws.close(None)).await),
            "stop" => drop(client.running),
            packet => client.send(packet).await,
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(said.try_recv().unwrap(), format!(r#"{why}, Some(String("Ann"))"#), "{last}");
    }
    assert!(said.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn who_is_going_is_still_in_its_rooms() {
    let (service, io, said) = application(|io| {
        io.of("/")
            .on("join", |socket, args, _| assert!(socket.join(&args.get::<String>(0).unwrap())))
            .on_disconnecting(|socket, why| {
                assert!(!socket.join("another"));
                let rooms = socket.rooms().clone();
                rooms.iter().for_each(|room| socket.to(room).emit("leaves", why));
                let count = socket.nsp().to("tea").count();
                socket.data().insert("name".into(), count.into());
            });
    });
    let (mut goes, mut stays) = (Client::joined(&service).await, Client::joined(&service).await);
    for client in [&mut goes, &mut stays] {
        client.send(r#"42["join","tea"]"#).await;
        client.lives().await;
    }
    drop(goes.ws);
    assert_eq!(stays.text().await, r#"42["leaves","transport close"]"#);
    assert_eq!(said.try_recv().unwrap(), "transport close, Some(Number(2))");
    assert_eq!(io.nsp("/").to("tea").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_application_disconnects_a_socket_or_a_whole_client() {
    let (service, io, said) = application(|io| {
        io.of("/admin");
        io.of("/").on("disconnect me", |socket, args, _| {
            socket.disconnect(args.get(0).unwrap());
        });
    });
    // From one namespace, after what was emitted before.
    let mut client = Client::joined(&service).await;
    client.join("40/admin").await;
    client.send(r#"42["disconnect me",false]"#).await;
    assert_eq!(client.text().await, "41");
    assert_eq!(said.try_recv().unwrap(), "server namespace disconnect, None");
    client.send(r#"42["echo"]"#).await; // which was on its way already
    client.join("40").await;
    // From all, with the connection.
    client.send(r#"42["disconnect me",true]"#).await;
    assert_eq!((client.text().await, client.text().await), ("41".into(), "41/admin,".into()));
    assert!(bounded(client.ws.recv()).await.unwrap().is_none());
    assert!(client.served.next().await.is_ok());
    assert!(io.rooms().is_empty());
    // By somebody else, though it says nothing.
    let mut client = Client::joined(&service).await;
    io.nsp("/").emit("bye", "bye");
    io.nsp("/").disconnect(true);
    assert_eq!(
        (client.text().await, client.text().await),
        (r#"42["bye","bye"]"#.into(), "41".into())
    );
    assert!(bounded(client.ws.recv()).await.unwrap().is_none());
    // One that is in no namespace any more has to join one in time.
    let mut client = Client::joined(&service).await;
    client.send(r#"42["disconnect me",false]"#).await;
    assert_eq!((client.text().await, client.text().await), ("41".into(), "2".into()));
    client.send("3").await;
    client.ends_with(End::ConnectTimeout).await;
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_has_the_time_that_the_application_gives_it() {
    let (say, answers) = mpsc::channel();
    let (service, _io, said) = application(|io| {
        io.of("/").on("ask", move |socket, args, _| {
            let (say, timeout) = (say.clone(), Duration::from_secs(args.get(0).unwrap()));
            let asked = socket.emit_with_ack("question", args, timeout, move |_, answer| {
                say.send(answer.map(|args| args.to_string()).ok()).unwrap();
            });
            assert!(asked.is_ok());
        });
    });
    let mut client = Client::joined(&service).await;
    for seconds in [10, 5, 15] {
        client.send(&format!(r#"42["ask",{seconds}]"#)).await;
    }
    assert_eq!(client.heard().await.len(), 3);
    client.send(r#"430["in time"]"#).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    client.send(r#"431["too late"]"#).await;
    client.lives().await;
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [Some(r#""in time""#.into()), None]);
    // From one who has gone there is no answer, late or not.
    client.send("41").await;
    client.join("40").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(answers.try_recv().is_err());
    assert_eq!(said.try_recv().unwrap(), "client namespace disconnect, None");
}
