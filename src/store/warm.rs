//! What is about to be sent, in memory, so that a message that flows through is not read back from the
//! log: what came in until its transforms have run, what came of them until it is delivered.
//!
//! It holds so many bytes and no more. What comes first stays until it is sent, because it is sent
//! first; what nothing happened to for a while makes room. Whatever is not here is read from the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use message::MessageId;

use super::record::{DeliveryId, NewOutput, Outcome, Received, Record};
use super::{Content, Whole};

/// After this long the destination is slow or down: others have more use for the room.
const STALE: Duration = Duration::from_secs(10);
/// What an entry takes besides its bytes, about.
const OVERHEAD: usize = 1024;
/// Longer ones are read from the log when it is their turn.
const LONGEST: usize = 64 << 10;

/// The memory.
pub(super) struct Warm {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    messages: HashMap<MessageId, Message>,
    deliveries: HashMap<DeliveryId, Ready>,
    /// In the order of coming; those that are gone stay in it until they are the first.
    order: VecDeque<(Instant, Key)>,
}

#[derive(Clone, Copy)]
enum Key {
    Message(MessageId),
    Delivery(DeliveryId),
}

/// A message: how it was accepted, its payload beside it.
#[derive(Clone)]
struct Message {
    received: Arc<Received>,
    payload: Bytes,
}

/// A delivery that has not been attempted, or is to be attempted again as it is.
#[derive(Clone)]
pub(super) struct Ready {
    /// Its message, without payload and search keys.
    pub(super) received: Arc<Received>,
    pub(super) size: u64,
    pub(super) content: Content,
}

/// What is kept of a record that is being written: the message, its outputs, and whose output is whose.
pub(super) struct Coming(Vec<(MessageId, Vec<NewOutput>, Vec<u32>)>);

impl Warm {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// What is to be kept of `received` if it is accepted; `None` if it is too long.
    pub(super) fn of(received: &Received) -> Option<(Received, Bytes)> {
        if received.payload.len() > LONGEST {
            return None;
        }
        // A copy: what came in together shares one allocation.
        let payload = Bytes::copy_from_slice(&received.payload);
        let kept = Received {
            id: received.id,
            channel: received.channel.clone(),
            peer: received.peer.clone(),
            at: received.at,
            format: received.format,
            kind: received.kind.clone(),
            control_id: received.control_id.clone(),
            sender: received.sender.clone(),
            search: std::collections::BTreeSet::new(),
            sha256: received.sha256,
            beside: received.beside.clone(),
            payload: Bytes::new(),
        };
        Some((kept, payload))
    }

    /// Keeps a message that was accepted.
    pub(super) fn accepted(&self, (received, payload): (Received, Bytes)) {
        let mut held = self.held();
        if held.room(self.most, payload.len()) {
            let id = received.id;
            held.bytes += payload.len() + OVERHEAD;
            held.order.push_back((Instant::now(), Key::Message(id)));
            held.messages.insert(id, Message { received: Arc::new(received), payload });
        }
    }

    /// What is to be kept of `records` once they are written.
    pub(super) fn coming(records: &[Record]) -> Coming {
        let come = records.iter().filter_map(|record| match record {
            Record::Processed { message, outcome: Outcome::Queued { outputs, deliveries }, .. } => {
                Some((*message, outputs.clone(), deliveries.iter().map(|delivery| delivery.output).collect()))
            }
            Record::Processed { message, .. } => Some((*message, Vec::new(), Vec::new())),
            _ => None,
        });
        Coming(come.collect())
    }

    /// Keeps what came of messages; `deliveries` are the numbers that were given.
    pub(super) fn processed(&self, Coming(come): Coming, deliveries: &[DeliveryId]) {
        if come.is_empty() {
            return;
        }
        let mut numbers = deliveries.iter().copied();
        let mut held = self.held();
        for (id, outputs, of) in come {
            let message = held.take_message(&id);
            for (output, number) in of.into_iter().zip(&mut numbers) {
                let Some(message) = &message else { continue };
                let Some(output) = outputs.get(output as usize) else { continue };
                let bytes = output.bytes.clone().unwrap_or_else(|| message.payload.clone());
                let size = message.payload.len();
                if bytes.len() > LONGEST || !held.room(self.most, bytes.len()) {
                    continue;
                }
                held.bytes += bytes.len() + OVERHEAD;
                held.order.push_back((Instant::now(), Key::Delivery(number)));
                let NewOutput { format, transaction, .. } = *output;
                let content = Content { format, bytes, transaction, flags: output.flags.clone() };
                let received = Arc::clone(&message.received);
                held.deliveries.insert(number, Ready { received, size: size as u64, content });
            }
        }
    }

    /// Forgets deliveries that are through with.
    pub(super) fn done(&self, deliveries: impl Iterator<Item = DeliveryId>) {
        let mut held = self.held();
        deliveries.for_each(|id| held.drop_delivery(id));
    }

    /// A message whose transforms have not run.
    pub(super) fn message(&self, id: &MessageId) -> Option<Whole> {
        let held = self.held();
        let Message { received, payload } = held.messages.get(id)?;
        Some(Whole { received: Arc::clone(received), payload: payload.clone() })
    }

    /// What is known of a delivery.
    pub(super) fn get(&self, id: DeliveryId) -> Option<Ready> {
        self.held().deliveries.get(&id).cloned()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether there is room for `bytes` more, now or by giving up what is stale.
    fn room(&mut self, most: usize, bytes: usize) -> bool {
        while let Some((since, key)) = self.order.front().copied() {
            let full = self.bytes + bytes + OVERHEAD > most;
            if self.has(key) && !(full && since.elapsed() > STALE) {
                break;
            }
            self.order.pop_front();
            match key {
                Key::Message(id) => _ = self.take_message(&id),
                Key::Delivery(id) => self.drop_delivery(id),
            }
        }
        // One at the front that stays long must not let the order grow without end.
        if self.order.len() > 2 * (self.messages.len() + self.deliveries.len()) + 1024 {
            let order = std::mem::take(&mut self.order);
            self.order = order.into_iter().filter(|(_, key)| self.has(*key)).collect();
        }
        self.bytes + bytes + OVERHEAD <= most
    }

    fn has(&self, key: Key) -> bool {
        match key {
            Key::Message(id) => self.messages.contains_key(&id),
            Key::Delivery(id) => self.deliveries.contains_key(&id),
        }
    }

    fn take_message(&mut self, id: &MessageId) -> Option<Message> {
        let message = self.messages.remove(id)?;
        self.bytes = self.bytes.saturating_sub(message.payload.len() + OVERHEAD);
        Some(message)
    }

    fn drop_delivery(&mut self, id: DeliveryId) {
        if let Some(ready) = self.deliveries.remove(&id) {
            self.bytes = self.bytes.saturating_sub(ready.content.bytes.len() + OVERHEAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use message::consent::Flags;
    use message::{Format, Sha256};

    use super::super::record::NewDelivery;
    use super::*;

    const AT: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

    fn received(number: u8, length: usize) -> Received {
        let payload = Bytes::from(vec![number; length]);
        Received {
            id: MessageId(uuid::Uuid::from_bytes([number; 16])),
            channel: "adt".into(),
            peer: "peer".into(),
            at: AT,
            format: Format::Hl7v2,
            kind: "ADT^A01".into(),
            control_id: None,
            sender: String::new(),
            search: std::collections::BTreeSet::new(),
            sha256: Sha256::of(&payload),
            beside: Bytes::new(),
            payload,
        }
    }

    fn processed(number: u8, outputs: &[Option<&'static [u8]>]) -> Record {
        let output = |bytes: &Option<&'static [u8]>| NewOutput {
            format: Format::Hl7v2,
            flags: Flags::default(),
            bytes: bytes.map(Bytes::from_static),
            transaction: None,
        };
        let deliveries = (0u32..).zip(outputs).map(|(output, _)| NewDelivery {
            destination: "lab".into(),
            output,
            lanes: Vec::new(),
            subjects: Vec::new(),
            purposes: Vec::new(),
            held: None,
        });
        let outcome =
            Outcome::Queued { deliveries: deliveries.collect(), outputs: outputs.iter().map(output).collect() };
        Record::Processed {
            message: MessageId(uuid::Uuid::from_bytes([number; 16])),
            at: AT,
            outcome,
            steps: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn flow(warm: &Warm, number: u8, length: usize, outputs: &[Option<&'static [u8]>], ids: &[DeliveryId]) {
        warm.accepted(Warm::of(&received(number, length)).unwrap());
        warm.processed(Warm::coming(&[processed(number, outputs)]), ids);
    }

    #[test]
    fn each_delivery_has_its_own_output_and_the_original_where_there_is_none() {
        let warm = Warm::new(1 << 20);
        flow(&warm, 1, 3, &[Some(b"out"), None], &[11, 12]);
        assert_eq!(&warm.get(11).unwrap().content.bytes[..], b"out");
        let ready = warm.get(12).unwrap();
        assert_eq!((&ready.content.bytes[..], ready.size), (&[1, 1, 1][..], 3));
    }

    #[test]
    fn what_is_through_takes_no_room() {
        let warm = Warm::new(1 << 20);
        flow(&warm, 1, 3, &[None], &[11]);
        warm.done([11].into_iter());
        assert!(warm.get(11).is_none());
        assert_eq!(warm.held().bytes, 0);
    }

    #[test]
    fn when_it_is_full_what_came_first_stays() {
        let warm = Warm::new(5 * OVERHEAD);
        (1..=20).for_each(|number| flow(&warm, number, 200, &[None], &[u64::from(number)]));
        assert!(warm.get(1).is_some() && warm.get(20).is_none());
        let held = warm.held();
        assert!(held.bytes <= 5 * OVERHEAD && held.messages.is_empty());
    }

    #[test]
    fn a_message_of_an_earlier_run_is_read_from_the_log() {
        let warm = Warm::new(1 << 20);
        warm.processed(Warm::coming(&[processed(1, &[Some(b"out")])]), &[11]);
        assert!(warm.get(11).is_none());
        assert!(Warm::of(&received(1, LONGEST + 1)).is_none());
    }

    #[test]
    fn one_that_stays_does_not_let_the_order_grow() {
        let warm = Warm::new(1 << 20);
        flow(&warm, 1, 3, &[None], &[1]);
        for number in 2..6000 {
            flow(&warm, 2, 3, &[None], &[number]);
            warm.done([number].into_iter());
        }
        assert!(warm.get(1).is_some() && warm.held().order.len() < 2000);
    }
}
