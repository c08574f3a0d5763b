//! How long an answer may be kept (RFC 9111 §5.2.2, RFC 5861 §4).

use std::time::Duration;

/// How long an answer may be kept. Not at all, unless it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So long it is as good as a new one (`max-age`, less the age it has).
    pub fresh: Duration,
    /// So long after that it may be used while no new one can be had (`stale-if-error`).
    pub stale: Duration,
}

impl Keep {
    /// Reads `Cache-Control`; `age` is what the answer is old already.
    pub(super) fn read(said: &str, age: Duration) -> Self {
        let (mut keep, mut never) = (Self::default(), false);
        for directive in said.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || value.trim().trim_matches('"').parse().map(Duration::from_secs).unwrap_or_default();
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => never = true,
                "max-age" => keep.fresh = seconds(),
                "stale-if-error" => keep.stale = seconds(),
                _ => {}
            }
        }
        if never || keep.fresh <= age {
            return Self::default();
        }
        Self { fresh: keep.fresh.saturating_sub(age), ..keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, age: u64, fresh: u64, stale: u64) {
        let keep = Keep { fresh: Duration::from_secs(fresh), stale: Duration::from_secs(stale) };
        assert_eq!(Keep::read(said, Duration::from_secs(age)), keep, "{said}");
    }

    #[test]
    fn keeps_what_says_so_and_nothing_else() {
        check("", 0, 0, 0);
        check("private, Max-Age=60", 0, 60, 0);
        check("max-age=\"60\", stale-if-error=300", 20, 40, 300);
        check("max-age=60", 60, 0, 0);
        check("max-age=60, no-store", 0, 0, 0);
        check("no-cache, max-age=60, stale-if-error=60", 0, 0, 0);
        check("max-age=soon", 0, 0, 0);
        check("stale-if-error=60", 0, 0, 0);
    }
}
