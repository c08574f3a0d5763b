//! Ids that follow from what they name: the same message gives the same ids.

use message::Sha256;
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
        Self { site, provider: Uuid::new_v5(&site, format!("provider/{provider}").as_bytes()) }
    }

    /// Of something that the whole site shares.
    pub(super) fn of_site(&self, name: &str) -> Uuid {
        Uuid::new_v5(&self.site, name.as_bytes())
    }

    /// Of the resource that the provider's own system calls `kind/id`.
    pub(super) fn of_resource(&self, kind: &str, id: &str) -> Uuid {
        Uuid::new_v5(&self.provider, format!("{kind}/{id}").as_bytes())
    }

    /// Of the part of a message at `path`, by the hash of the message's bytes.
    pub(super) fn of_part(&self, message: &Sha256, path: &str) -> Uuid {
        let mut name = Vec::with_capacity(message.0.len() + path.len());
        name.extend_from_slice(&message.0);
        name.extend_from_slice(path.as_bytes());
        Uuid::new_v5(&self.provider, &name)
    }
}
