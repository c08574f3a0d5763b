//! Checkpoints that are cut off, and what is seen while one is written.

use std::sync::atomic::Ordering::SeqCst;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Some of everything that can happen to some of the messages that there are.
async fn live(store: &Store, random: &mut SmallRng, ids: &mut Vec<MessageId>) {
    for _ in 0..60 {
        let message = Received { control_id: Some(random.random::<u64>().to_string()), ..a_message() };
        ids.push(message.id);
        store.accept(message).await.unwrap();
    }
    for _ in 0..200 {
        let id = ids[random.random_range(0..ids.len())];
        let deliveries = store.message(id).await.unwrap().unwrap().deliveries;
        let number = deliveries.get(random.random_range(0..deliveries.len().max(1))).copied();
        let records = match (random.random_range(0..6), number) {
            (0, _) | (_, None) => vec![replayed(id), processed_in(id, &["a", "b"], &[id.as_bytes()[15]])],
            (1, Some(number)) => vec![attempted(number, Some(b"rest"))],
            (2, Some(number)) => vec![held(number)],
            (3, Some(number)) => vec![released(number)],
            (4, Some(number)) => vec![dead(number)],
            (_, Some(number)) => vec![delivered(number)],
        };
        store.commit(records).await.unwrap();
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_cut_off_anywhere_is_made_good_from_the_log() {
    let mut site = Site::new();
    site.options.checkpoint_every = Duration::from_secs(3600);
    let (mut random, mut ids) = (SmallRng::seed_from_u64(3), Vec::new());
    for round in 0..15 {
        let (store, report) = site.open();
        assert_eq!(report.rebuilt, None, "round {round}");
        assert_clean(&store).await;
        live(&store, &mut random, &mut ids).await;
        let index = store.0.finder.index.clone();
        index.killed_after.store(random.random_range(0..6), SeqCst);
        let cut = store.checkpoint().await.is_err();
        index.killed_after.store(if cut { 0 } else { usize::MAX }, SeqCst);
        drop(index);
        drop(store);
    }
    let before = site.store().counts();
    site.lose_index();
    let store = site.store();
    assert_eq!((store.counts().messages, store.counts().deliveries), (before.messages, before.deliveries));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_misses_nothing_while_checkpoints_are_written() {
    let mut site = Site::new();
    site.options.checkpoint_every = Duration::from_millis(1);
    let store = site.store();
    for _ in 0..300 {
        queue(&store, &["a"]).await;
    }
    let busy = {
        let store = store.clone();
        tokio::task::JoinSet::from_iter([async move {
            for _ in 0..300 {
                queue(&store, &["b"]).await;
            }
        }])
    };
    for _ in 0..30 {
        assert_eq!(store.queued("a", None, 1000).await.unwrap().len(), 300);
        let query =
            DeliveryQuery { destination: Some("a".into()), newest_first: true, limit: 1000, ..Default::default() };
        assert_eq!(store.deliveries(&query).await.unwrap().items.len(), 300);
    }
    busy.join_all().await;
    assert_clean(&store).await;
}
