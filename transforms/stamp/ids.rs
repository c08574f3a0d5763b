//! Ids that follow from what they name: the same message gives the same ids.

use message::Sha256;
use message::fhir::deterministic_id;
use uuid::Uuid;

/// Names ids for one provider of one site (UUIDv5).
#[derive(Clone, Debug)]
pub(super) struct Ids {
    site: Uuid,
    provider: Uuid,
}

impl Ids {
    pub(super) fn new(base_uri: &str, provider: &str) -> Self {
        let site = Uuid::new_v5(&Uuid::NAMESPACE_URL, base_uri.as_bytes());
        Self { site, provider: deterministic_id(site, &["provider", provider]) }
    }

    /// Of something that the whole site shares.
    pub(super) fn of_site(&self, kind: &str, name: &str) -> Uuid {
        deterministic_id(self.site, &[kind, name])
    }

    /// Of the resource that the provider's own system calls `kind/id`.
    pub(super) fn of_resource(&self, kind: &str, id: &str) -> Uuid {
        deterministic_id(self.provider, &[kind, id])
    }

    /// Of the part of a message at `path`, by the hash of the message's bytes.
    pub(super) fn of_part(&self, message: &Sha256, path: &str) -> Uuid {
        deterministic_id(Uuid::new_v5(&self.provider, &message.0), &[path])
    }
}
