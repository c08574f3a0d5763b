//! Senders: each on a connection of its own, most with one message under way at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use channels::mllp::{Client, ClientConfig};
use tokio::task::JoinSet;

use super::latency::Latencies;
use super::ledger::Ledger;

/// How long a sender whose engine is away waits before it tries again.
const RECONNECT: Duration = Duration::from_millis(20);
/// How long it keeps trying.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is sent, by how many, for how long.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) ledger: Arc<Ledger>,
    pub(super) senders: u32,
    /// A patient's messages all come from one sender, so that their order is known.
    pub(super) patients: u32,
    /// The number of the first of them: loads at the same time are of different patients.
    pub(super) first_patient: u32,
    pub(super) until: Until,
    pub(super) message: fn(u64, u32) -> Bytes,
    /// Time from one message of a sender to its next; zero is as soon as it is acknowledged.
    pub(super) pace: Duration,
    /// How many messages of a sender may be under way at a time. With more than one, as soon as may be and
    /// without patience.
    pub(super) ahead: usize,
    /// Whether the receiver may go away and come back.
    pub(super) patient_with_crashes: bool,
}

/// When senders stop.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Time(Instant),
    /// So many messages in the ledger.
    Count(u64),
}

/// What the senders saw.
pub(super) struct Sent {
    pub(super) acknowledgments: Latencies,
    pub(super) took: Duration,
}

impl Sent {
    /// Acknowledged messages a second.
    pub(super) fn rate(&self) -> f64 {
        self.acknowledgments.len() as f64 / self.took.as_secs_f64()
    }
}

impl Load {
    /// Sends until it is time to stop.
    pub(super) async fn run(&self) -> anyhow::Result<Sent> {
        let mut senders = JoinSet::new();
        let began = Instant::now();
        for index in 0..self.senders {
            let sender = Sender { load: self.clone(), index, client: None };
            match self.ahead {
                0 | 1 => senders.spawn(sender.run()),
                _ => senders.spawn(sender.run_ahead()),
            };
        }
        let mut acknowledgments = Latencies::default();
        while let Some(ended) = senders.join_next().await {
            acknowledgments.merge(ended.context("a sender broke off")??);
        }
        Ok(Sent { acknowledgments, took: began.elapsed() })
    }

    fn is_over(&self) -> bool {
        match self.until {
            Until::Time(at) => Instant::now() >= at,
            Until::Count(count) => self.ledger.begun() >= count,
        }
    }
}

struct Sender {
    load: Load,
    index: u32,
    client: Option<Client>,
}

impl Sender {
    async fn run(mut self) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut patient = self.first_patient();
        let mut next = Instant::now();
        while !self.load.is_over() {
            let number = self.load.ledger.begin(patient);
            let message = (self.load.message)(number, patient);
            let sent = Instant::now();
            self.deliver(&message).await?;
            latencies.add(sent.elapsed());
            self.load.ledger.acknowledge(number);
            patient = self.next_patient(patient);
            next = Instant::now().max(next + self.load.pace);
            tokio::time::sleep_until(next.into()).await;
        }
        Ok(latencies)
    }

    /// Sends without waiting for each acknowledgment; they come in the order of the messages.
    async fn run_ahead(self) -> anyhow::Result<Latencies> {
        let mut client = Client::connect(&self.load.address.to_string(), ClientConfig::default()).await?;
        let (mut latencies, mut under_way) = (Latencies::default(), VecDeque::new());
        let mut patient = self.first_patient();
        loop {
            if under_way.len() < self.load.ahead && !self.load.is_over() {
                let number = self.load.ledger.begin(patient);
                client.send(&(self.load.message)(number, patient)).await?;
                under_way.push_back((number, Instant::now()));
                patient = self.next_patient(patient);
                continue;
            }
            let Some((number, sent)) = under_way.pop_front() else { return Ok(latencies) };
            taken(&client.receive().await?)?;
            latencies.add(sent.elapsed());
            self.load.ledger.acknowledge(number);
        }
    }

    fn next_patient(&self, patient: u32) -> u32 {
        let next = patient + self.load.senders;
        if next < self.load.first_patient + self.load.patients { next } else { self.first_patient() }
    }

    fn first_patient(&self) -> u32 {
        self.load.first_patient + self.index % self.load.patients
    }

    /// Sends one message until it is acknowledged.
    async fn deliver(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.exchange(message).await {
                Ok(()) => return Ok(()),
                Err(error) if !self.load.patient_with_crashes || Instant::now() > deadline => return Err(error),
                Err(_) => {
                    self.client = None;
                    tokio::time::sleep(RECONNECT).await;
                }
            }
        }
    }

    async fn exchange(&mut self, message: &[u8]) -> anyhow::Result<()> {
        if self.client.is_none() {
            self.client = Some(Client::connect(&self.load.address.to_string(), ClientConfig::default()).await?);
        }
        let client = self.client.as_mut().context("there is a connection")?;
        taken(&client.exchange(message).await?)
    }
}

/// An error unless `answer` is AA.
fn taken(answer: &[u8]) -> anyhow::Result<()> {
    if memchr::memmem::find(answer, b"MSA|AA|").is_none() {
        bail!("a message was answered with {}", code_of(answer));
    }
    Ok(())
}

fn code_of(answer: &[u8]) -> String {
    let code = message::hl7v2::ack::Acknowledgment::read(answer).map(|acknowledgment| acknowledgment.code.to_string());
    code.unwrap_or_else(|_| "no acknowledgment".to_owned())
}
