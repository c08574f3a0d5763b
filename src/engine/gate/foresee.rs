//! What will become of what is not being sent: what waits for consent is held from the start where nothing would be attempted for a while: a destination that is
//! stopped or down. For display: before the attempt it is decided about again.

use jiff::Timestamp;

use super::{Answer, Asked, Gate, Guard};
use crate::config::DestinationConfig;
use crate::store::{DeliveryId, DeliveryRecord, NewDelivery, NewOutput, Outcome, State, StoreError};

/// A delivery that is held from the start.
pub(in crate::engine) struct Foreseen {
    /// Its place among the deliveries of its message.
    at: usize,
    until: Option<Timestamp>,
    guard: Guard,
}

impl Gate {
    /// Holds the deliveries of `outcome` that wait for consent, to destinations that are not being sent to. What cannot
    /// be looked up stays queued: its attempt decides.
    pub(in crate::engine) async fn foresee(
        &self,
        channel: &str,
        destinations: &[std::sync::Arc<DestinationConfig>],
        outcome: &mut Outcome,
    ) -> Vec<Foreseen> {
        let Outcome::Queued { outputs, deliveries } = outcome else { return Vec::new() };
        let mut foreseen = Vec::new();
        for (at, delivery) in deliveries.iter_mut().enumerate().filter(|(_, delivery)| delivery.held.is_none()) {
            let config = destinations.iter().find(|config| config.name == delivery.destination);
            let Some(config) = config.filter(|config| config.policy.is_some()) else { continue };
            // Who is asked is asked when it is to go: intake waits for nobody.
            if config.consent_service.is_some() || self.services.load().identities().asks() {
                continue;
            }
            if config.enabled && self.is_sent_to(&config.name) {
                continue;
            }
            let Some(output) = outputs.get(delivery.output as usize) else { continue };
            if let Some((reason, until, guard)) = self.waits(channel, config, delivery, output).await {
                delivery.held = Some(reason);
                foreseen.push(Foreseen { at, until, guard });
            }
        }
        foreseen
    }

    /// What would become of a queued delivery to a destination that is not being sent to, if it left at this moment and
    /// not all of it may; `None` where that is nothing to tell of. For display: its attempt decides.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if what is on file cannot be looked up now.
    pub(crate) async fn outlook(&self, delivery: &DeliveryRecord) -> Result<Option<String>, StoreError> {
        let site = self.site.load_full();
        let config = site.destinations.get(&delivery.destination).filter(|config| config.policy.is_some());
        let Some(config) = config.filter(|_| delivery.state == State::Queued) else { return Ok(None) };
        let asks = config.consent_service.is_some() || self.services.load().identities().asks();
        if asks || (config.enabled && self.is_sent_to(&config.name)) {
            return Ok(None);
        }
        let channel = self.store.message(delivery.message).await?.map(|message| message.received.channel);
        let content = self.store.content(delivery.id).await?;
        let asked = Asked {
            message: None,
            destination: config,
            channel: channel.as_deref().unwrap_or_default(),
            subjects: &delivery.subjects,
            purposes: &delivery.purposes,
            format: content.format,
            bytes: &content.bytes,
        };
        Ok(match self.ask(asked).await?.0 {
            Answer::Suppress { reason } | Answer::Park { reason, .. } => Some(format!("as it stands: {reason}")),
            Answer::Permit { .. } => None,
        })
    }

    async fn waits(
        &self,
        channel: &str,
        destination: &DestinationConfig,
        delivery: &NewDelivery,
        output: &NewOutput,
    ) -> Option<(String, Option<Timestamp>, Guard)> {
        let (subjects, purposes, format) = (&delivery.subjects, &delivery.purposes, output.format);
        let bytes = output.bytes.as_ref()?;
        let asked = Asked { message: None, destination, channel, subjects, purposes, format, bytes };
        match self.ask(asked).await {
            Ok((Answer::Park { reason, until }, guard)) => Some((reason, until, guard)),
            Ok((Answer::Permit { .. } | Answer::Suppress { .. }, _)) | Err(_) => None,
        }
    }

    /// The deliveries of a message were written with these numbers.
    pub(in crate::engine) async fn foreseen(
        &self,
        foreseen: Vec<Foreseen>,
        deliveries: &[(DeliveryId, &NewDelivery)],
        at: Timestamp,
    ) {
        for Foreseen { at: place, until, guard } in foreseen {
            let Some((id, delivery)) = deliveries.get(place) else { continue };
            if !self.park(*id, &delivery.destination, at, until, &guard) {
                // What it waits for came while that was written down.
                self.reconsider(&delivery.destination, vec![*id]).await;
            }
        }
    }
}
