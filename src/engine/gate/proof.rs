//! What an answer rests on, in words for logs, lists and the record of a delivery: codes and ids, and no patient data.

use message::Sha256;
use message::json::Text;

use super::Guard;
use super::judge::{Case, Judged};

impl Guard {
    /// How much was known of each patient, as a proof tells it.
    pub(super) fn epochs(&self) -> String {
        let epochs: Vec<String> = self.patients.iter().map(|basis| basis.epoch.to_string()).collect();
        if epochs.is_empty() { String::new() } else { format!("; epoch {}", epochs.join(" ")) }
    }
}

/// What it rests on, with the Consents that were weighed and their versions.
pub(super) fn grounds(judged: &Judged) -> String {
    let weighed: Vec<String> = judged.weighed().into_iter().collect();
    if weighed.is_empty() {
        judged.grounds()
    } else {
        format!("{}; by Consent {}", judged.grounds(), weighed.join(", "))
    }
}

/// What a delivery rested on, in one line: the policy and the other rules by their digests, the Consents with their
/// versions, what was left out, what the recipient must do, and the digest of what left.
pub(super) fn proof(case: &Case<'_>, judged: &Judged, removed: usize, sent: Option<&[u8]>) -> String {
    let mut parts = vec![judged.grounds_of_permit()];
    if removed > 0 {
        parts.push(format!("{removed} entries left out: {}", judged.grounds()));
    }
    let weighed: Vec<String> = judged.weighed().into_iter().collect();
    if !weighed.is_empty() {
        parts.push(format!("by Consent {}", weighed.join(", ")));
    }
    if !judged.obligations.is_empty() {
        let codes: Vec<&str> = judged.obligations.iter().map(AsRef::as_ref).collect();
        parts.push(format!("with {}", codes.join(" ")));
    }
    let masked: Vec<Text> = judged.masked().into_iter().collect();
    if !masked.is_empty() {
        parts.push(format!("masked {}", masked.join(" ")));
    }
    let hash = case.policy.hash.get(..12).unwrap_or_default();
    parts.push(format!("policy {} {hash}", case.policy.policy.id));
    // Label rules, value sets, the directory and all policies together.
    parts.extend(case.rules.hash.get(..12).map(|hash| format!("rules {hash}")));
    if let Some(sent) = sent {
        parts.push(format!("sent sha-256 {}", Sha256::of(sent)));
    }
    parts.join("; ")
}
