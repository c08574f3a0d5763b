//! Listens for MLLP connections, as many as the settings allow.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use super::acknowledger::Acknowledger;
use super::budget::Budget;
use super::config::InboundConfig;
use super::conversation::{Channel, Conversation};
use super::counts::{Counts, add};
use super::seats::{NoSeat, Seat, Seats};
use crate::{ChannelError, Clock, Intake, Stop};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long to wait after the system had no connection for us, for want of file handles or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// At most one line about refused connections in this time.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// A silent peer is asked whether it is still there after this time.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// One MLLP listener.
pub struct Inbound {
    name: Arc<str>,
    config: InboundConfig,
    acknowledger: Acknowledger,
    listener: TcpListener,
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Inbound {
    /// Listens on `config.listen` as the channel `name`. Acknowledgments are dated by `clock`, in
    /// `zone`. Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if the address cannot be listened on.
    pub fn bind(name: Arc<str>, config: InboundConfig, zone: TimeZone, clock: Clock) -> Result<Self, ChannelError> {
        let (listener, address) = listen(config.listen).map_err(|source| ChannelError {
            what: format!("cannot listen on {} for MLLP", config.listen),
            source: Some(source),
        })?;
        let acknowledger = Acknowledger::new(&config, clock, zone);
        Ok(Self { name, config, acknowledger, listener, address, counts: Arc::default() })
    }

    /// The address, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What this channel counts.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

#[async_trait]
impl crate::Inbound for Inbound {
    fn bound(&self) -> String {
        self.address.to_string()
    }

    fn tally(&self) -> Option<Arc<dyn crate::Tally>> {
        Some(self.counts())
    }

    async fn run(self: Box<Self>, intake: Arc<dyn Intake>, mut stop: Stop) -> Result<(), ChannelError> {
        let Self { name, config, acknowledger, listener, counts, .. } = *self;
        let seats = Seats::new(config.max_connections.get(), config.max_connections_per_peer.get());
        let budget = Budget::new(config.max_bytes_in_flight.as_usize());
        let channel = Arc::new(Channel { name, config, acknowledger, intake, budget, counts });
        let mut door = Door { channel, seats, conversations: JoinSet::new(), refused: Refused::default() };
        while let Some(accepted) = stop.or(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => door.admit(stream, peer, &stop),
                Err(error) => door.wait_after(&error).await,
            }
        }
        drop(listener);
        while let Some(ended) = door.conversations.join_next().await {
            door.check(ended);
        }
        Ok(())
    }
}

/// Lets connections in, or closes them.
struct Door {
    channel: Arc<Channel>,
    seats: Seats,
    conversations: JoinSet<()>,
    refused: Refused,
}

impl Door {
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, stop: &Stop) {
        while let Some(ended) = self.conversations.try_join_next() {
            self.check(ended);
        }
        match self.seats.take(peer.ip()) {
            Ok(seat) => self.seat(stream, peer, seat, stop.clone()),
            Err(why) => self.refuse(peer, why),
        }
    }

    fn seat(&mut self, stream: TcpStream, peer: SocketAddr, seat: Seat, stop: Stop) {
        let channel = self.channel.clone();
        add(&channel.counts.connections, 1);
        tracing::debug!(channel = %channel.name, %peer, "connection taken");
        if let Err(error) = keep_alive(&stream) {
            tracing::debug!(channel = %channel.name, %peer, %error, "the socket's options could not be set");
        }
        let (reader, writer) = stream.into_split();
        let conversation = Conversation::new(channel, peer.to_string().into(), reader, writer);
        self.conversations.spawn(async move {
            conversation.run(stop).await;
            drop(seat);
        });
    }

    /// A conversation never fails; one that panicked is a fault of ours that must be seen.
    fn check(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(channel = %self.channel.name, %error, "a connection's task failed");
        }
    }

    fn refuse(&mut self, peer: SocketAddr, why: NoSeat) {
        add(&self.channel.counts.refused_connections, 1);
        if let Some(refused) = self.refused.told_now() {
            tracing::warn!(channel = %self.channel.name, %peer, %why, refused, "connections are closed as they come");
        }
    }

    async fn wait_after(&mut self, error: &io::Error) {
        if self.refused.told_now().is_some() {
            tracing::warn!(channel = %self.channel.name, %error, "cannot accept a connection; trying again");
        }
        sleep(ACCEPT_AGAIN).await;
    }
}

/// Sets what every connection of ours needs: no waiting for full packets, and a probe of silent peers.
pub(super) fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEP_ALIVE))
}

/// Keeps a flood of connections from becoming a flood of lines in the log.
#[derive(Default)]
struct Refused {
    since: u64,
    told: Option<Instant>,
}

impl Refused {
    /// Counts one; how many there were since the last line, if it is time for another.
    fn told_now(&mut self) -> Option<u64> {
        self.since += 1;
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}
