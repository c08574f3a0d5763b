//! Senders that wait for more than "stored": who they wait for, and telling them.

use std::collections::HashMap;
use std::sync::Mutex;

use message::{Answer, MessageId};
use tokio::sync::oneshot;

/// How far a message must have come before its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Until {
    /// Its transforms and routes ran.
    Processed,
    /// All its deliveries are taken, dead, held or skipped.
    Settled,
}

type Waiting = HashMap<MessageId, Vec<(Until, oneshot::Sender<Answer>)>>;

/// Those who hung up are forgotten when about this many more messages are waited for.
const SWEEP_EVERY: usize = 1024;

/// The senders that wait, by message.
#[derive(Default)]
pub(super) struct Waiters(Mutex<Waiting>);

impl Waiters {
    /// Waits for `id` to come as far as `until`.
    pub(super) fn wait(&self, id: MessageId, until: Until) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.locked(|waiting| {
            if waiting.len() % SWEEP_EVERY == SWEEP_EVERY - 1 {
                sweep(waiting);
            }
            waiting.entry(id).or_default().push((until, sender));
        });
        receiver
    }

    /// True if somebody waits for `id`: asked before the answer is worked out.
    pub(super) fn is_awaited(&self, id: MessageId) -> bool {
        self.locked(|waiting| waiting.contains_key(&id))
    }

    /// Tells everybody who waits for `id` to come as far as `reached`.
    pub(super) fn tell(&self, id: MessageId, reached: Until, answer: &Answer) {
        let told = self.locked(|waiting| {
            let waiters = waiting.remove(&id)?;
            let (told, rest): (Vec<_>, Vec<_>) = waiters.into_iter().partition(|(until, _)| *until <= reached);
            if !rest.is_empty() {
                waiting.insert(id, rest);
            }
            Some(told)
        });
        for (_, sender) in told.into_iter().flatten() {
            // A sender that hung up no longer waits.
            drop(sender.send(answer.clone()));
        }
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Forgets those who hung up.
fn sweep(waiting: &mut Waiting) {
    waiting.retain(|_, waiters| {
        waiters.retain(|(_, sender)| !sender.is_closed());
        !waiters.is_empty()
    });
}
