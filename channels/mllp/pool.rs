//! Connections of one destination that are kept alive between messages.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::client::Client;

/// How often unused connections are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Unused connections, the last used on top, so that those that are too many grow old.
pub(super) struct Pool {
    idle: Arc<Idle>,
    /// The task that closes old connections, once there was one; it ends with the pool.
    cleaner: Mutex<JoinSet<()>>,
    idle_close: Duration,
}

type Idle = Mutex<Vec<(Client, Instant)>>;

impl Pool {
    /// A pool whose connections are closed after `idle_close` without use.
    pub(super) fn new(idle_close: Duration) -> Self {
        Self { idle: Arc::default(), cleaner: Mutex::default(), idle_close }
    }

    /// A connection on which the peer has been silent and is still there.
    pub(super) fn take(&self) -> Option<Client> {
        loop {
            let (mut client, since) = lock(&self.idle).pop()?;
            if since.elapsed() < self.idle_close && client.is_fresh() {
                return Some(client);
            }
        }
    }

    /// Keeps a connection for the next message.
    pub(super) fn put(&self, client: Client) {
        lock(&self.idle).push((client, Instant::now()));
        let mut cleaner = lock(&self.cleaner);
        if cleaner.is_empty() {
            cleaner.spawn(clean(Arc::downgrade(&self.idle), self.idle_close));
        }
    }

    /// How many connections are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.idle).len()
    }
}

/// Closes connections that are old, or that the peer has closed, so that neither side is left with them.
async fn clean(idle: Weak<Idle>, idle_close: Duration) {
    let mut tick = interval(idle_close.clamp(Duration::from_millis(10), LOOK_EVERY));
    loop {
        tick.tick().await;
        let Some(idle) = idle.upgrade() else { return };
        lock(&idle).retain_mut(|(client, since)| since.elapsed() < idle_close && client.is_fresh());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
