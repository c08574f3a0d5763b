//! Our two ends with each other.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use message::Format;
use message::hl7v2::Header;
use message::hl7v2::ack::Acknowledgment;
use tokio::task::JoinSet;

use super::super::{Client, ClientConfig, ClientError, Outbound, OutboundConfig, serve_sink};
use super::{SOON, adt, adt_asking, bind, id, stop_signal};
use crate::{Outbound as _, Outgoing, Stopper};

type Seen = Arc<Mutex<Vec<Bytes>>>;

fn sink() -> (String, Seen, Stopper, JoinSet<()>) {
    let inbound = bind(|_| ());
    let (address, seen) = (inbound.address().to_string(), Seen::default());
    let (stopper, stop) = stop_signal();
    let mut serving = JoinSet::new();
    let see = seen.clone();
    serving.spawn(async move {
        serve_sink(inbound, move |offered| see.lock().unwrap().push(offered.bytes.clone()), stop).await.unwrap();
    });
    (address, seen, stopper, serving)
}

#[tokio::test]
async fn the_client_and_the_sink_understand_each_other() {
    let (address, seen, stopper, mut serving) = sink();
    let mut client = Client::connect(&address, ClientConfig::default()).await.unwrap();
    for number in ["1", "2"] {
        let answer = client.exchange(adt(number).as_bytes()).await.unwrap();
        let ack = Acknowledgment::read(&answer).unwrap();
        assert_eq!((ack.code.code(), ack.control_id.as_str()), ("AA", number));
    }
    assert!(client.is_fresh());
    stopper.stop();
    tokio::time::timeout(SOON, serving.join_next()).await.unwrap();
    assert!(!client.is_fresh());
    assert!(matches!(client.exchange(b"\x0B").await, Err(ClientError::Unframable { offset: 0 })));
    assert_eq!(*seen.lock().unwrap(), [adt("1"), adt("2")]);
}

#[tokio::test]
async fn a_client_may_send_ahead_of_the_answers() {
    let (address, seen, _stopper, _serving) = sink();
    let mut client = Client::connect(&address, ClientConfig::default()).await.unwrap();
    for number in 0..500 {
        client.send(adt(&number.to_string()).as_bytes()).await.unwrap();
    }
    for number in 0..500 {
        let answer = client.receive().await.unwrap();
        assert_eq!(Acknowledgment::read(&answer).unwrap().control_id, number.to_string());
    }
    let seen = seen.lock().unwrap();
    assert!(seen.iter().enumerate().all(|(number, bytes)| Header::read(bytes).control_id() == number.to_string()));
}

#[tokio::test]
async fn what_outbound_delivers_inbound_takes_unchanged() {
    let (address, seen, _stopper, _serving) = sink();
    let outbound = Outbound::new("next".into(), OutboundConfig::new(address.parse().unwrap()));
    let messages = [
        adt("1"),
        adt_asking("2", "AL", "AL"),
        adt_asking("3", "AL", "NE"),
        adt_asking("4", "NE", "NE"),
        adt("5").replace("123", &"A".repeat(20_000_000)),
    ];
    let mut summaries = Vec::new();
    for message in &messages {
        let outgoing = Outgoing {
            message: id(1),
            delivery: 1,
            attempt: 0,
            format: Format::Hl7v2,
            bytes: Bytes::copy_from_slice(message.as_bytes()),
            transaction: None,
            unsigned: None,
            names: Vec::new(),
        };
        let receipt = outbound.deliver(&outgoing).await.unwrap();
        summaries.push(receipt.summary.chars().take(10).collect::<String>());
    }
    assert_eq!(summaries, ["AA", "AA", "CA", "sent whole", "AA"]);
    assert!(*seen.lock().unwrap() == messages);
}
