//! Runs `order_entry`, `own_loop` and `big_message` with a small load, and checks what they print.
#![cfg(feature = "tokio")]
use crate::support_program::Program;

/// Runs a program, checks that it succeeds, and returns its output.
fn shown(name: &str, args: &[&str]) -> Vec<String> {
    let (code, out, errors) = Program::start(name, args).finish();
    assert_eq!((code, &errors[..]), (0, &[][..]), "{name}: {out:?}");
    out
}

/// The numbers in a line.
fn numbers(line: &str) -> Vec<u64> {
    let digits = line.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn a_cancel_overtakes_queued_quotes_and_after_a_cut_some_orders_have_not_left() {
    let out = shown("order_entry", &["--quotes", "300", "--orders", "50"]);
    let [queued, overtook, cut, threads, cores @ ..] = &out[..] else { panic!("{out:?}") };
    let few = std::thread::available_parallelism().unwrap().get() < 3;
    assert_eq!(cores.len(), usize::from(few), "{cores:?}");
    assert!(cores.iter().all(|line| line.starts_with("with 3 free cores ")), "{cores:?}");
    assert!(queued.starts_with("300 quotes, then a cancel: "), "{queued}");
    let [before, overtaken] = numbers(overtook)[..] else { panic!("{overtook}") };
    assert!(before > 0 && overtaken > 0 && before + overtaken == 300, "{overtook}");
    let [.., left, unsent] = numbers(cut)[..] else { panic!("{cut}") };
    assert!(left > 0 && unsent > 0 && left + unsent == 300, "{cut}");
    assert!(threads.starts_with("50 orders answered, ") && threads.ends_with("; 0 are open"));
}

#[test]
fn the_loop_serves_both_ends_and_ends_a_peer_that_answers_no_ping() {
    let mut out = shown("own_loop", &[]);
    out.sort();
    assert_eq!(out.len(), 4, "{out:?}");
    assert!(out.contains(&"Text(\"hello\") came back".to_owned()), "{out:?}");
    assert_eq!(out.iter().filter(|line| line.ends_with(": closed")).count(), 2, "{out:?}");
    assert_eq!(
        out.iter().filter(|line| line.ends_with("the heartbeat's timeout (heartbeat)")).count(),
        1,
        "{out:?}"
    );
}

#[test]
fn a_message_of_40_mib_each_way_takes_less_than_half_of_that() {
    let out = shown("big_message", &["--mib", "40"]);
    assert!(out[0].starts_with("40 MiB to the server, 40 MiB back, "), "{out:?}");
    if let Some(peak) = out.get(1) {
        assert!(numbers(peak)[1] < 20 << 10, "{peak}");
    }
}
