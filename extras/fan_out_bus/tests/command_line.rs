//! What the program says of a wrong command line. It needs no broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "../../../examples/tests/examples/support_program.rs"]
mod program;

use program::Program;

fn run(args: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    Program::start_at(env!("CARGO_BIN_EXE_fan_out_bus").as_ref(), args).finish()
}

#[test]
fn it_has_help_and_refuses_what_it_does_not_know() {
    let (code, help, errors) = run(&["--help"]);
    assert_eq!((code, errors), (0, vec![]));
    assert!(help.iter().any(|line| line.starts_with("Usage: fan_out_bus")), "{help:?}");

    let (code, out, errors) = run(&["--nosuch"]);
    assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{errors:?}");
    assert!(errors[0].contains("--nosuch"), "{errors:?}");
}

#[test]
fn a_url_of_no_websocket_is_a_wrong_command_line() {
    let (code, out, errors) = run(&["client", "http://localhost", "channel"]);
    assert_eq!((code, out.len(), errors.len()), (2, 0, 1), "{errors:?}");
    assert!(errors[0].contains("write ws:// or wss:// instead"), "{errors:?}");
}
