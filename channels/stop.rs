//! The signal that ends things in order.

use std::future::Future;

use tokio::sync::watch;

/// Fires once: read nothing new, finish what you hold.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of a [`Stop`]. Dropping it fires too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// A stopper and its signal; clone the signal for each task.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Fires.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// True once it has fired.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it fires.
    pub async fn stopped(&mut self) {
        // An error means that the stopper is gone, which fires too.
        if self.0.wait_for(|stopped| *stopped).await.is_err() {}
    }

    /// What `future` yields, or `None` if the signal fires first.
    pub async fn or<F: Future>(&mut self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.stopped() => None,
            output = future => Some(output),
        }
    }
}
