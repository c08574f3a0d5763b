//! Retention, carrying forward, recycling, backup.

use super::*;

/// Messages of 2 KB, delivered but for every tenth, which is left as `open` says.
async fn fill(store: &Store, count: usize, second: i64) -> (Vec<MessageId>, Vec<MessageId>) {
    let (mut done, mut open) = (Vec::new(), Vec::new());
    for number in 0..count {
        let payload = rand::random::<[u8; 1000]>().to_vec();
        let message =
            Received { at: at(second), control_id: Some(rand::random::<u64>().to_string()), ..message_of(payload) };
        let id = message.id;
        store.accept(message).await.unwrap();
        match number % 10 {
            0 => open.push(id),
            1 => {
                let number = store.commit(vec![processed(id, &["a"])]).await.unwrap().deliveries[0];
                store.commit(vec![attempted(number, Some(b"rest"))]).await.unwrap();
                open.push(id);
            }
            _ => {
                let number = store.commit(vec![processed(id, &["a"])]).await.unwrap().deliveries[0];
                store.commit(vec![delivered(number)]).await.unwrap();
                done.push(id);
            }
        }
    }
    (done, open)
}

fn small() -> Site {
    let mut site = Site::new();
    site.options.segment_bytes = 64 << 10;
    site
}

#[tokio::test]
async fn whole_segments_go_and_what_is_open_in_them_stays() {
    let site = small();
    let store = site.store();
    store.commit(vec![Record::Setting { key: "paused/x".into(), value: Some("yes".into()) }]).await.unwrap();
    let (done, open) = fill(&store, 300, 0).await;
    let (kept, _) = fill(&store, 30, 1000).await;
    let before: Vec<_> = histories(&store, &open).await;
    let report = store.prune(at(500)).await.unwrap();
    assert!(report.segments >= 4 && report.dropped > 150 && report.carried > 30, "{report:?}");
    assert_eq!(histories(&store, &open).await, before);
    let check = async |store: &Store, what: &str| {
        for id in &open {
            assert!(store.payload(*id).await.is_ok(), "{what}");
            assert!(matches!(state(store, *id).await, State::Received | State::Queued), "{what}");
        }
        for id in &kept {
            assert_eq!(state(store, *id).await, State::Delivered, "{what}");
        }
        assert_eq!(store.message(done[0]).await.unwrap(), None, "{what}");
        assert_eq!(store.setting("paused/x").await.unwrap().as_deref(), Some("yes"), "{what}");
        let queued = store.queued("a", None, 1000).await.unwrap();
        assert_eq!(store.content(queued[0].id).await.unwrap().bytes, Bytes::from_static(b"rest"), "{what}");
        assert_clean(store).await;
    };
    check(&store, "after").await;
    store.close().await.unwrap();
    check(&site.store(), "reopened").await;
    site.lose_index();
    let (store, report) = site.open();
    assert!(report.unknown > 0 || report.damages.is_empty(), "{report:?}");
    check(&store, "rebuilt").await;
    assert_eq!(histories(&store, &open).await.len(), before.len());
}

async fn histories(store: &Store, ids: &[MessageId]) -> Vec<Vec<(u64, Record)>> {
    let mut all = Vec::new();
    for id in ids {
        all.push(store.history(*id).await.unwrap().into_iter().map(|entry| (entry.sequence, entry.record)).collect());
    }
    all
}

#[tokio::test]
async fn what_was_carried_can_be_carried_again_and_delivered() {
    let site = small();
    let store = site.store();
    let (_, open) = fill(&store, 100, 0).await;
    for round in 1..4 {
        fill(&store, 150, round * 1000).await;
        store.prune(at(round * 1000 - 1)).await.unwrap();
        assert_clean(&store).await;
    }
    for id in &open {
        assert!(store.payload(*id).await.is_ok());
    }
    let queued = store.queued("a", None, 1000).await.unwrap();
    for delivery in queued {
        store.commit(vec![delivered(delivery.id)]).await.unwrap();
    }
    assert_eq!(store.counts().at("a", State::Queued), 0);
    assert_clean(&store).await;
}

#[tokio::test]
async fn dropped_segments_are_used_again_and_their_old_records_do_not_come_back() {
    let site = small();
    let store = site.store();
    for round in 0..12 {
        fill(&store, 100, round * 100).await;
        store.prune(at(round * 100 - 50)).await.unwrap();
    }
    let files = site.disk.paths().len();
    assert!(files < 20, "{files} files");
    assert_clean(&store).await;
    let counts = store.counts().messages;
    store.close().await.unwrap();
    site.lose_index();
    let (store, report) = site.open();
    assert_eq!(report.damages, vec![]);
    let positive = |counts: std::collections::BTreeMap<String, std::collections::BTreeMap<State, u64>>| {
        counts.into_values().flatten().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    assert_eq!(positive(store.counts().messages), positive(counts));
}

#[tokio::test]
async fn a_dropped_message_takes_its_big_payload_with_it() {
    let site = small();
    let store = site.store();
    let message = message_of(vec![5; 200_000]);
    store.accept(message.clone()).await.unwrap();
    let number = store.commit(vec![processed(message.id, &["a"])]).await.unwrap().deliveries[0];
    store.commit(vec![delivered(number)]).await.unwrap();
    let open = message_of(vec![6; 200_000]);
    store.accept(open.clone()).await.unwrap();
    fill(&store, 100, 0).await;
    fill(&store, 150, 1000).await;
    store.prune(at(500)).await.unwrap();
    assert_eq!(site.disk.paths().iter().filter(|path| path.extension().is_some_and(|it| it == "bin")).count(), 1);
    assert_eq!(store.payload(open.id).await.unwrap(), open.payload);
    assert_clean(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn carrying_forward_misses_nothing_that_happens_meanwhile() {
    let site = small();
    let store = site.store();
    let mut numbers = Vec::new();
    for _ in 0..150 {
        let message = message_of(rand::random::<[u8; 1000]>().to_vec());
        store.accept(message.clone()).await.unwrap();
        numbers.extend(store.commit(vec![processed(message.id, &["a"])]).await.unwrap().deliveries);
    }
    fill(&store, 80, 1000).await;
    let busy = {
        let (store, numbers) = (store.clone(), numbers.clone());
        tokio::task::JoinSet::from_iter([async move {
            for number in numbers.iter().cycle().take(2000) {
                store.commit(vec![attempted(*number, None)]).await.unwrap();
            }
        }])
    };
    let report = store.prune(at(500)).await.unwrap();
    busy.join_all().await;
    assert!(report.segments >= 1, "{report:?}");
    let attempts = async |store: &Store| {
        let mut attempts = Vec::new();
        for number in &numbers {
            attempts.push(store.delivery(*number).await.unwrap().unwrap().attempts);
        }
        attempts
    };
    let before = attempts(&store).await;
    assert_eq!(before.iter().sum::<u32>(), 2000);
    assert_clean(&store).await;
    store.close().await.unwrap();
    site.lose_index();
    let store = site.store();
    assert_eq!(attempts(&store).await, before);
}

#[tokio::test]
async fn a_backup_opens_as_a_store() {
    let site = small();
    let store = site.store();
    let (done, open) = fill(&store, 100, 0).await;
    let big = message_of(vec![9; 200_000]);
    store.accept(big.clone()).await.unwrap();
    let to = tempfile::tempdir().unwrap();
    assert!(store.backup(to.path()).await.unwrap() > 100_000);
    assert!(matches!(store.backup(to.path()).await, Err(StoreError::Invalid(_))));
    fill(&store, 10, 10).await;
    let options = StoreOptions { disk: Arc::new(RealDisk), dir: to.path().to_owned(), ..site.options.clone() };
    let (copy, report) = Store::open(options, start()).unwrap();
    assert_eq!(report.damages, vec![]);
    for id in done.iter().chain(&open).chain([&big.id]) {
        assert_eq!(copy.payload(*id).await.unwrap(), store.payload(*id).await.unwrap());
    }
    assert_clean(&copy).await;
}
