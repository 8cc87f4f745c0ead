//! Tests once more, with configurations that keep their keys: rustls opens and seals all records.
use std::panic::resume_unwind;
use testkit::threads::spawn_as;

/// Runs these tests of a file once more.
macro_rules! once_more {
    ($($(#[$attribute:meta])* $test:ident)*) => {
        mod by_rustls {
            $(
                $(#[$attribute])*
                #[test]
                fn $test() {
                    let name = concat!(module_path!(), "::", stringify!($test));
                    crate::by_rustls::run(name, super::$test);
                }
            )*
        }
    };
}
pub(crate) use once_more;

/// The name is how `is_in_place` knows: libtest has none for a test if it runs one at a time.
pub(crate) fn run(name: &str, test: fn()) {
    spawn_as(name, test).join().unwrap_or_else(|panic| resume_unwind(panic));
}
