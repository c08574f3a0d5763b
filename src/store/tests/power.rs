//! Power cuts: what was acknowledged is there, and nothing is taken for damage.

use std::collections::HashMap;
use std::sync::Mutex;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use super::*;

/// What the senders and the operator were told.
#[derive(Default)]
struct Told {
    accepted: Mutex<HashMap<MessageId, Bytes>>,
    settled: Mutex<HashMap<DeliveryId, MessageId>>,
    /// By consent: how many versions were told of, and the epoch then.
    consents: Mutex<HashMap<u8, (u32, u64)>>,
}

/// Sends until the power is off.
async fn send(store: Store, told: Arc<Told>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    loop {
        let size = if random.random_bool(0.05) { 80_000 } else { random.random_range(10..3000) };
        let mut payload = vec![0; size];
        random.fill(&mut payload[..]);
        let message = Received { control_id: Some(random.random::<u64>().to_string()), ..message_of(payload) };
        let (id, payload) = (message.id, message.payload.clone());
        match store.accept(message).await {
            Ok(Accepted::New) => _ = told.accepted.lock().unwrap().insert(id, payload),
            Ok(other) => panic!("{other:?}"),
            Err(_) => return,
        }
        let mut records = vec![processed_in(id, &["a", "b"], &[seed as u8])];
        let files_consent = random.random_bool(0.3);
        records.extend(files_consent.then(|| consent(id, seed as u8)));
        let Ok(committed) = store.commit(records).await else { return };
        if files_consent {
            let mut told = told.consents.lock().unwrap();
            let (versions, epoch) = told.entry(seed as u8).or_default();
            (*versions, *epoch) = (*versions + 1, store.epoch_of(&[[seed as u8; 16]]));
        }
        let number = committed.deliveries[0];
        let record = if random.random_bool(0.5) { delivered(number) } else { dead(number) };
        if random.random_bool(0.3) {
            let Ok(_) = store.commit_synced(vec![record]).await else { return };
            told.settled.lock().unwrap().insert(number, id);
        } else if store.commit(vec![record]).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// A version of the one Consent of patient `number`.
fn consent(message: MessageId, number: u8) -> Record {
    let consent = NewConsent { key: [number; 16], subjects: vec![[number; 16]], body: Bytes::from_static(b"{}") };
    Record::Consent { message: Some(message), at: at(1), order: Order::default(), consent }
}

/// All that was told is true.
async fn check(store: &Store, told: &Told) {
    let accepted = told.accepted.lock().unwrap().clone();
    for (id, payload) in accepted {
        assert_eq!(store.payload(id).await.unwrap(), payload, "message {id}");
    }
    let settled = told.settled.lock().unwrap().clone();
    for (number, id) in settled {
        let delivery = store.delivery(number).await.unwrap().unwrap();
        assert_eq!(delivery.message, id);
        assert!(matches!(delivery.state, State::Delivered | State::Dead), "delivery {number}");
    }
    let consents = told.consents.lock().unwrap().clone();
    for (number, (versions, epoch)) in consents {
        let found = store.consents_of(&[[number; 16]]).await.unwrap();
        assert!(found.consents[0].version >= versions, "consent {number}: {} of {versions}", found.consents[0].version);
        assert!(found.epoch >= epoch, "consent {number}");
    }
}

/// One store through ten cuts, then another. What becomes of the index is another each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    let rounds: u64 = std::env::var("TRIBUTARY_POWER_CUTS").ok().map_or(50, |rounds| rounds.parse().unwrap());
    let mut site = Site::new();
    let (mut told, mut kept_index) = (Arc::new(Told::default()), false);
    for round in 0..rounds {
        let mut random = SmallRng::seed_from_u64(round);
        let (store, report) = site.open();
        assert!(report.damages.is_empty(), "round {round}: {:?}", report.damages);
        assert!(!kept_index || report.rebuilt.is_none(), "round {round}: {:?}", report.rebuilt);
        check(&store, &told).await;
        let mut senders = JoinSet::new();
        for sender in 0..8 {
            senders.spawn(send(store.clone(), told.clone(), round * 100 + sender));
        }
        let enough = site.disk.syncs() + random.random_range(1..40);
        while site.disk.syncs() < enough {
            tokio::task::yield_now().await;
        }
        let disk = site.disk.cut(&mut random);
        senders.join_all().await;
        drop(store);
        site.on(disk);
        kept_index = round % 3 == 0;
        if !kept_index {
            site.lose_index();
        }
        if round % 10 == 9 {
            // A new store, so that the rounds stay short.
            let (store, _) = site.open();
            check(&store, &told).await;
            assert_clean(&store).await;
            (site, told, kept_index) = (Site::new(), Arc::default(), false);
        }
    }
}
