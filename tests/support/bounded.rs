//! For tests that could hang.
use std::{future::Future, time::Duration};

include!("patience.rs");

/// Fails instead of hanging. Under paused time an idle runtime gets here at once, so it is longer
/// than any deadline under test.
pub async fn bounded<F: Future>(future: F) -> F::Output {
    let long = Duration::from_secs(100_000);
    let paused = {
        let before = tokio::time::Instant::now();
        let std = std::time::Instant::now();
        std::thread::sleep(Duration::from_micros(50));
        before.elapsed().is_zero() && !std.elapsed().is_zero()
    };
    tokio::time::timeout(if paused { long } else { PATIENCE }, future)
        .await
        .expect("the test hangs")
}
