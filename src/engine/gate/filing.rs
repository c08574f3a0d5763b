//! Files what messages say of consents and identities: what is new of it, and never an older word over a newer one.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use message::consent::by_entry::Span;
use message::fhir;

use super::arrive::{Arrived, Filed, suspended};
use crate::store::{Lane, Store, StoreError};

/// How many links are remembered, so that each is written once.
const REMEMBERED: usize = 200_000;
/// How many Consents are remembered as they were filed last.
const REMEMBERED_VERSIONS: usize = 10_000;

/// What was filed before.
#[derive(Default)]
pub(in crate::engine) struct Filing {
    /// Identifiers that were said to be one person's.
    links: Mutex<HashSet<Vec<Lane>>>,
    /// The latest version of what was filed lately, also if it is still being written.
    latest: Mutex<HashMap<Lane, Bytes>>,
}

impl Filing {
    /// Leaves of `arrived` what is to be written.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if what is on file cannot be read.
    pub(in crate::engine) async fn settle(&self, store: &Store, arrived: &mut Arrived) -> Result<(), StoreError> {
        self.forget_known(arrived);
        let mut kept = Vec::with_capacity(arrived.consents.len());
        for mut filed in std::mem::take(&mut arrived.consents) {
            let versions = match store.consent_versions(filed.consent.key).await {
                Ok(versions) => versions,
                // What cannot be read is no reason to lose what comes now.
                Err(error) if error.is_damage() => Vec::new(),
                Err(error) => return Err(error),
            };
            let lately = self.latest().get(&filed.consent.key).cloned();
            let latest = lately.or_else(|| versions.into_iter().next_back().map(|version| version.body));
            if filed.rescinds && latest.is_none() {
                tracing::error!(
                    "a consent was taken back that is not on file: what is of this patient waits for a person"
                );
                filed.consent.body = suspended(&filed.consent.body).unwrap_or(filed.consent.body);
            }
            if latest.as_ref().is_some_and(|latest| is_older(&filed, latest)) {
                tracing::warn!("an older version of a Consent came late: the newer one stays");
                continue;
            }
            // The same again is no version.
            if latest.is_none_or(|latest| latest != filed.consent.body) {
                let mut latest = self.latest();
                if latest.len() >= REMEMBERED_VERSIONS {
                    latest.clear();
                }
                latest.insert(filed.consent.key, filed.consent.body.clone());
                kept.push(filed);
            }
        }
        arrived.consents = kept;
        Ok(())
    }

    fn latest(&self) -> MutexGuard<'_, HashMap<Lane, Bytes>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_known(&self, arrived: &mut Arrived) {
        let mut known = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if !arrived.parts.is_empty() || known.len() > REMEMBERED {
            known.clear();
        }
        arrived.links.retain(|link| link.len() > 1 && known.insert(link.clone()));
    }
}

/// True if a Consent was written before the one on file, where both say when in the same words. One that is no longer
/// active is never taken for older: to take back too much is the lesser mistake.
fn is_older(filed: &Filed, latest: &[u8]) -> bool {
    let read = |body: &[u8]| fhir::read(body, &fhir::Limits::default()).ok();
    let (Some(new), Some(old)) = (read(&filed.consent.body), read(latest)) else { return false };
    let written = |place: &str| {
        let at = |consent| fhir::get_str(consent, place).and_then(Span::parse);
        at(&new).zip(at(&old))
    };
    let is_active = fhir::get_str(&new, "status") == Some("active");
    let said = ["meta.lastUpdated", "dateTime", "date"].into_iter().find_map(written);
    is_active && said.is_some_and(|(new, old)| new.until <= old.from)
}
