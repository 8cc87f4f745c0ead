//! `learn`: peers of the tests, of which the machine is known.

use super::{
    command::{is_free, of_command},
    *,
};
use wsconform_cases::judge::frame::Header;

const RFC: &str = "It is the machine of the RFCs.";

/// After a Pong in a binary message, what comes back of that is no message.
const MORE: &str = "no-deflate+pong-spoils-binary";
const TRACE: &str = "R RFC 6455 5.4, 6.2: binary.. | Pong | ..last\n    \
     answer: a breach of RFC 6455 5.2; expected: binary\n";

fn learn_server(url: &str, more: &[&str]) -> Output {
    program().args(["learn", url]).args(more).output().unwrap()
}

/// What a driver of Autobahn's gets that asks how many cases there are.
fn case_count(address: &str) -> String {
    let request = String::from_utf8(next_model(Role::Client, "").output).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(request.replace("GET / ", "GET /getCaseCount ").as_bytes()).unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let mut response = Vec::new();
    tcp.read_to_end(&mut response).unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

/// Learns a client that connects for as long as somebody listens.
fn learn_client(flaw: Flaw, more: &[&str]) -> Output {
    let mut learning = program();
    learning.args(["learn", "--listen", "127.0.0.1:0"]).args(more);
    let mut learning = learning.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(learning.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ws://").unwrap().to_owned();
    assert!(case_count(&address).contains(&u32::MAX.to_string()));
    thread::spawn(move || {
        while let Ok(tcp) = TcpStream::connect(&address) {
            play(tcp, next_model(Role::Client, flaw));
        }
    });
    let mut stdout = Vec::new();
    told.read_to_end(&mut stdout).unwrap();
    let mut output = learning.wait_with_output().unwrap();
    output.stdout = stdout;
    output
}

fn good(output: &Output) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    // Between two messages, eight in a text, in a binary message, and over.
    assert!(text.contains(": 11 states, by ") && text.contains(RFC), "{text}");
    assert!(text.contains(" has at most 12 states"), "{text}");
}

fn with_a_state_more(output: &Output) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(": 12 states, by ") && text.contains(TRACE), "{text}");
    assert!(!text.contains(RFC), "{text}");
}

#[test]
fn a_good_server_is_the_machine_of_the_table() {
    good(&learn_server(&serve("no-deflate"), &[]));
}

#[test]
fn a_good_client_is_the_machine_of_the_table() {
    good(&learn_client("no-deflate", &[]));
}

#[test]
fn a_state_more_of_a_server_is_learned_and_the_way_to_it_named() {
    let file = file("learned.dot");
    with_a_state_more(&learn_server(&serve(MORE), &["--states", "12", "--dot", &file]));
    let dot = std::fs::read_to_string(file).unwrap();
    assert!(dot.starts_with("digraph {") && dot.matches("shape=doublecircle").count() == 1);
    assert!(dot.contains("/ a breach of RFC 6455 5.2"), "{dot}");
}

#[test]
fn a_state_more_of_a_client_is_learned_and_the_way_to_it_named() {
    with_a_state_more(&learn_client(MORE, &["--states", "12"]));
}

#[test]
fn a_command_is_started_learned_and_stopped() {
    let address = free_address().to_string();
    good(&of_command("learn", &address, &[], &[]).output().unwrap());
    assert!(is_free(&address));
}

/// An end of TCP by a death is not taken for an answer.
#[test]
fn a_command_that_dies_is_not_learned() {
    let address = free_address().to_string();
    let fragile = ["env", "WSCONFORM_FRAGILE=1"];
    let output = of_command("learn", &address, &["--states", "0"], &fragile).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let why = "the command has died, and is not learned (exit status: 3: ";
    assert!(text(&output).contains(why), "{}", text(&output));
    assert!(is_free(&address));
}

#[test]
#[cfg(unix)]
fn an_interrupt_stops_the_command() {
    let address = free_address().to_string();
    let mut learning = of_command("learn", &address, &["--states", "99"], &[]);
    let learning = learning.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while is_free(&address) {
        assert!(Instant::now() < until, "nothing listens");
        thread::sleep(Duration::from_millis(10));
    }
    signal(&learning, "-INT");
    let output = learning.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("interrupted"), "{}", text(&output));
    assert!(is_free(&address));
}

/// What is agreed of compression is learned too.
#[test]
fn a_server_that_compresses_is_the_machine_of_the_table() {
    let output = learn_server(&serve(""), &["--deflate", "--states", "0"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains(", with permessage-deflate\n"), "{text}");
    assert!(!text.contains("\nR ") && !text.contains("\nS "), "{text}");
}

/// What a rule binds has its level.
#[test]
fn levels_are_those_of_the_suite() {
    for (flaw, line, code, strict) in [
        ("no-deflate+any-utf8", "R RFC 6455 8.1: text, not UTF-8\n", 1, 1),
        ("no-deflate+any-control", "S RFC 6455 5.5: control frame, not final\n", 0, 1),
        ("no-deflate+no-close-reply", "R RFC 6455 5.5.1: Close\n", 1, 1),
    ] {
        let url = serve(flaw);
        for (more, code) in
            [(&["--states", "0"][..], code), (&["--states", "0", "--strict"], strict)]
        {
            let output = learn_server(&url, more);
            assert_eq!(output.status.code(), Some(code), "{flaw}: {}", text(&output));
            assert!(text(&output).contains(line), "{flaw}: {}", text(&output));
        }
    }
}

#[test]
fn what_answers_in_two_ways_is_named_and_not_learned() {
    let url = serve_with(|tcp| {
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let flaw = if number % 7 == 6 { "no-deflate+text-as-binary" } else { "no-deflate" };
        play(tcp, Model::new(Role::Server, flaw, number));
    });
    let output = learn_server(&url, &[]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("it races, and is not learned: the last answer to "), "{text}");
}

#[test]
fn what_cannot_be_learned_is_named() {
    for (flaw, why) in [
        ("no-pong", "it does not answer a Ping"),
        ("wrong-accept", "the server does not open: HTTP/1.1 101"),
    ] {
        let output = learn_server(&serve(flaw), &[]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(why), "{}", text(&output));
    }
    let output = program().args(["learn", "--listen", "127.0.0.1:0", "--idle", "1"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("no client connects within 1 s"), "{}", text(&output));
}

/// It answers Pings, and sends texts without end behind the first that it gets.
#[test]
#[cfg(target_os = "linux")]
fn a_flood_ends_and_takes_no_memory() {
    let url = serve_with(|mut tcp| {
        let mut model = next_model(Role::Server, "");
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = tcp.read(&mut buffer) {
            model.read(&buffer[..length]);
            let is_text = model.output.windows(16).any(|part| part == b"wsconform learns");
            let mut sent = tcp.write_all(&std::mem::take(&mut model.output));
            while is_text && sent.is_ok() {
                sent = tcp.write_all(&b"\x81\x04more".repeat(10_000));
            }
        }
    });
    let limited = "ulimit -v 524288; exec \"$0\" learn \"$1\"";
    let wsconform = env!("CARGO_BIN_EXE_wsconform");
    let output = Command::new("sh").args(["-c", limited, wsconform, &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("it sends without end"), "{}", text(&output));
}

/// A server with a task of its own for what it sends back.
fn serve_late(pause: Duration) -> String {
    serve_with(move |mut tcp| {
        let mut model = next_model(Role::Server, "");
        let mut buffer = vec![0; 64 << 10];
        let mut writing = tcp.try_clone().unwrap();
        let (queue, messages) = std::sync::mpsc::channel::<Vec<u8>>();
        let writer = thread::spawn(move || {
            for message in messages {
                thread::sleep(pause);
                if writing.write_all(&message).is_err() {
                    return;
                }
            }
        });
        let mut is_open = false;
        while !model.ended
            && let Ok(length @ 1..) = tcp.read(&mut buffer)
        {
            model.read(&buffer[..length]);
            let output = std::mem::take(&mut model.output);
            let mut rest = &output[..];
            while is_open && let Some((header, start)) = Header::read(rest) {
                let (frame, behind) = rest.split_at(start + header.length as usize);
                rest = behind;
                match header.opcode {
                    9.. => tcp.write_all(frame).unwrap_or_default(),
                    _ => queue.send(frame.to_vec()).unwrap_or_default(),
                }
            }
            is_open = true;
            let _ = tcp.write_all(rest); // the head
        }
        drop(queue);
        let _ = writer.join();
    })
}

#[test]
fn an_echo_behind_the_pongs_is_waited_for() {
    let url = serve_late(Duration::from_millis(3));
    let output = learn_server(&url, &["--states", "0"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains(RFC), "{}", text(&output));
}

#[test]
fn a_time_that_is_over_is_told() {
    let output = learn_server(&serve(""), &["--within", "0"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("the machine is not learned yet"), "{}", text(&output));
}
