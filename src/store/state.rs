//! The names of states, for people and scripts.

use std::fmt;

use super::State;

impl State {
    /// Every state, in their order.
    pub const ALL: [Self; 8] = super::keys::STATES;

    /// Its name: `queued`, `held`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
            Self::Filtered => "filtered",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
