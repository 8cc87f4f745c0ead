//! Servers that don't let everybody in, and certificates that nobody else has signed.

use super::*;
use wsconform_cases::judge::http::Head;

const ORIGIN: &str = "https://app.example";
const TOKEN: &str = "Bearer 5ecret-t0ken";
/// `ada:pa:ss w` in base64.
const BASIC: &str = "Basic YWRhOnBhOnNzIHc=";

/// What a request lacks: a status.
type Check = fn(&Head) -> Option<u16>;

fn lacks_subprotocol(head: &Head) -> Option<u16> {
    (!head.lists("Sec-WebSocket-Protocol", "secret.v2")).then_some(400)
}

fn lacks_token(head: &Head) -> Option<u16> {
    (head.one("Authorization") != Some(TOKEN)).then_some(401)
}

fn lacks_origin(head: &Head) -> Option<u16> {
    (head.one("Origin") != Some(ORIGIN)).then_some(403)
}

fn lacks_password(head: &Head) -> Option<u16> {
    (head.one("Authorization") != Some(BASIC)).then_some(401)
}

/// A server that refuses what lacks something, takes the subprotocol, and tells the secrets to
/// everybody who has seen them already.
fn serve_members(flaw: Flaw, checks: &'static [Check]) -> String {
    serve_with(move |mut tcp| {
        let mut bytes = vec![0; 64 << 10];
        let until = Instant::now() + Duration::from_secs(10);
        let head = loop {
            let length = tcp.peek(&mut bytes).unwrap_or(0);
            match Head::read(&bytes[..length]) {
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                Ok(Some((head, _))) => break head,
                _ => return play(tcp, next_model(Role::Server, flaw)),
            }
        };
        if let Some(status) = checks.iter().find_map(|check| check(&head)) {
            let _ = tcp.read(&mut bytes);
            let refusal = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
            return tcp.write_all(refusal.as_bytes()).unwrap();
        }
        let mut told = String::new();
        if head.lists("Sec-WebSocket-Protocol", "secret.v2") {
            told += "Sec-WebSocket-Protocol: secret.v2\r\n";
        }
        for name in ["Authorization", "Origin"] {
            told += &format!("X-{name}: {}\r\n", head.one(name).unwrap_or_default());
        }
        let mut model = next_model(Role::Server, flaw);
        while model.output.is_empty() && !model.ended {
            match tcp.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(length) => model.read(&bytes[..length]),
            }
        }
        let start = b"HTTP/1.1 101 Switching Protocols\r\n";
        if model.output.starts_with(start) {
            model.output.splice(start.len()..start.len(), told.into_bytes());
        }
        play(tcp, model);
    })
}

fn with_credentials(url: &str) -> String {
    url.replace("ws://", "ws://ada:pa%3Ass%20w@")
}

#[test]
fn what_a_server_wants_to_see_opens_it_and_a_refusal_names_the_option() {
    let one = |check: &'static [Check]| serve_members("", check);
    let subprotocol = one(&[lacks_subprotocol]);
    let token = one(&[lacks_token]);
    let origin = one(&[lacks_origin]);
    let password = one(&[lacks_password]);
    let header = format!("Authorization: {TOKEN}");
    for (url, key, option, refused) in [
        (&subprotocol, &subprotocol, &["--subprotocol", "secret.v2"][..], "400; --subprotocol"),
        (&token, &token, &["--header", &header], "401; for a token there is --header"),
        (&origin, &origin, &["--origin", ORIGIN], "403; --origin"),
        (&password, &with_credentials(&password), &[], "401; for a token there is --header"),
    ] {
        let cases = ["--case", "HS-00", "--case", "F-20", "--case", "D-20"];
        let run = |url: &str| program().args(["server", url]).args(cases).output().unwrap();
        let output = run(url);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(refused), "{}", text(&output));
        let mut command = program();
        let output = command.args(["server", key]).args(cases).args(option).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(text(&output).contains(" 0 fail, "), "{}", text(&output));
    }
}

/// With all of it at once, in failures and `--hex`, from a server that repeats it.
#[test]
fn no_report_has_what_opened_the_server() {
    let url = serve_members("http-1.0", &[lacks_subprotocol, lacks_password, lacks_origin]);
    let files = ["json", "html"].map(|end| file(&format!("secret.{end}")));
    let output = program()
        .args(["server", &with_credentials(&url), "--hex", "--case", "HS-01", "--case", "F-20"])
        .args(["--subprotocol", "secret.v1", "--subprotocol", "secret.v2", "--origin", ORIGIN])
        .args(["--header", "Cookie: session=my5ession; theme=dark"])
        .args(["--json", &files[0], "--html", &files[1]])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let told = files.each_ref().map(|file| std::fs::read_to_string(file).unwrap());
    assert!(told[0].contains("\"fail\"") && told[0].contains("received"), "{}", told[0]);
    for told in told.into_iter().chain([text(&output)]) {
        for secret in ["secret.v2", ORIGIN, "YWRhOnBhOnNzIHc=", "pa:ss", "my5ession", "ada"] {
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!told.contains(secret) && !told.contains(&hex), "{secret}: {told}");
        }
    }
}

/// A case about a header has its own.
#[test]
fn a_case_keeps_its_own_header() {
    let (send, seen) = std::sync::mpsc::channel();
    let send = Mutex::new(send);
    let url = serve_with(move |tcp| {
        let mut head = [0; 4096];
        let length = tcp.peek(&mut head).unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        send.lock().unwrap().send(head).unwrap();
        play(tcp, next_model(Role::Server, ""));
    });
    let run = |case: &str| {
        let output = program()
            .args(["server", &url, "--case", case, "--subprotocol", "mine", "--origin", ORIGIN])
            .output()
            .unwrap();
        assert_ne!(output.status.code(), Some(2), "{}", text(&output));
        seen.try_iter().collect::<Vec<String>>()
    };
    let ours = format!("Sec-WebSocket-Protocol: mine\r\nOrigin: {ORIGIN}\r\n\r\n");
    assert!(run("F-202").iter().all(|head| head.contains(&ours)));
    // RFC 6455 1.2 has both.
    let heads = run("HS-001");
    let own = |head: &&String| head.contains("chat, superchat") && !head.contains("mine");
    assert_eq!(heads.iter().filter(own).count(), 1, "{heads:?}");
}

#[test]
fn what_no_request_can_have_is_refused() {
    let long = "--header X: it takes 'NAME: VALUE'";
    for (arguments, why) in [
        (&["--header", "X"][..], long),
        (&["--header", "X: a\nY: b"], "it takes 'NAME: VALUE'"),
        (&["--header", "X Y: b"], "it takes 'NAME: VALUE'"),
        (&["--header", "Host: b"], "--header Host: the cases write that themselves"),
        (&["--subprotocol", "a b"], "--subprotocol a b: it takes the name of one"),
        (&["--origin", ""], "--origin takes one"),
    ] {
        let output =
            program().args(["server", "ws://localhost/"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(why), "{arguments:?}: {}", text(&output));
    }
    // What cannot be read is no reason to print a password.
    for url in ["ws://ada:pa%ss@localhost/", "http://ada:pa5sword@localhost/"] {
        let output = program().args(["server", url]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(!text(&output).contains("pa"), "{}", text(&output));
    }
}
