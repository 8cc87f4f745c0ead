//! What CI servers read, and what makes a gate of notes.

use super::*;

/// Frames that bind their sender alone.
const CONTROL: [&str; 4] = ["--case", "F-06", "--case", "F-202"];

#[test]
fn with_strict_what_no_peer_may_send_must_not_be_taken() {
    let url = serve("any-control");
    let json = file("strict.json");
    let run = |more: &[&str]| {
        let mut command = program();
        command.args(["server", &url, "--json", &json]).args(CONTROL).args(more).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let noted: Vec<Row> = report_of(&json).rows;
    let noted: Vec<&Row> =
        noted.iter().filter(|row| matches!(row.verdict, Verdict::Note { .. })).collect();
    assert!(!noted.is_empty(), "{}", text(&output));
    let output = run(&["--strict"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let rows = report_of(&json).rows;
    let fails = |row: &&Row| matches!(row.verdict, Verdict::Fail { .. });
    let failed: Vec<&str> = rows.iter().filter(fails).map(|row| &*row.case).collect();
    assert_eq!(failed, noted.iter().map(|row| &*row.case).collect::<Vec<_>>());
    // A good server takes none of it.
    let mut command = program();
    let output = command.args(["server", &serve(""), "--strict"]).args(CONTROL).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

/// The file of the first run makes the second one green, and is read before it is written.
#[test]
fn a_file_of_known_failures_is_written() {
    let url = serve("http-1.0");
    let expect = file("written.expect");
    let junit = file("written.xml");
    let run = |more: &[&str]| {
        let cases = ["--case", "HS-01", "--junit", &junit, "--write-expect", &expect];
        program().args(["server", &url]).args(cases).args(more).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let written = std::fs::read_to_string(&expect).unwrap();
    assert!(
        written.contains("\nfail HS-014 server  # HTTP/1.0: the server upgrades\n"),
        "{written}"
    );
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(
        xml.contains("<failure message=\"the server upgrades\" type=\"RFC 9110 7.8\">"),
        "{xml}"
    );
    assert!(xml.contains("  GET / HTTP/1.0\n"), "{xml}");
    let output = run(&["--expect", &expect]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(std::fs::read_to_string(&expect).unwrap(), written);
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("<skipped message=\"known failure: the server upgrades\"/>"), "{xml}");
}

/// Nobody has to read hexadecimal to see what went wrong.
#[test]
fn a_failure_shows_heads_and_frames_in_words() {
    let json = file("words.json");
    let arguments = ["--case", "F-201", "--json", &json];
    program().args(["server", &serve("any-mask")]).args(arguments).output().unwrap();
    let Verdict::Fail { evidence, .. } = report_of(&json).rows.remove(0).verdict else { panic!() };
    let (sent, received) = evidence.split_once("\nreceived\n").unwrap();
    let (received, bytes) = received.split_once("\nbytes of frames\n").unwrap();
    for (part, line) in [
        (sent, "  GET / HTTP/1.1"),
        (sent, "  Sec-WebSocket-Version: 13"),
        (sent, "  text, FIN, unmasked, length 1: \"x\""),
        (received, "  HTTP/1.1 101 Switching Protocols"),
        (received, "  text, FIN, unmasked, length 1: \"x\""),
        (bytes, "  received 810178"),
    ] {
        assert!(part.contains(line), "{line}: {evidence}");
    }
}

/// An answer that breaks a rule stands there beside the offer, and with the rule.
#[test]
fn a_wrong_answer_is_shown_with_its_offer_and_its_rule() {
    let json = file("answer.json");
    let arguments = ["--case", "D-24", "--json", &json];
    program().args(["server", &serve("forgets-window")]).args(arguments).output().unwrap();
    let whys: Vec<(String, String)> = report_of(&json)
        .rows
        .into_iter()
        .filter_map(|row| match row.verdict {
            Verdict::Fail { why, section, .. } => Some((why, section)),
            _ => None,
        })
        .collect();
    let is_told = |(why, section): &(String, String)| {
        why.starts_with("\"permessage-deflate; server_max_window_bits=")
            && why.contains("\" is answered with \"permessage-deflate\": ")
            && why.ends_with("server_max_window_bits is above the offer")
            && section == "RFC 7692 7.1.2.1"
    };
    assert!(whys.iter().any(is_told), "{whys:?}");
}
