//! Waiting for a condition.

use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Asks until there is an answer, and returns it.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut ask: impl FnMut() -> bool) {
    wait_for(what, || ask().then_some(()));
}
