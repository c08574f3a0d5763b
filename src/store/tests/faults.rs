//! Full disks and disks that fail.

use super::*;

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_lost_and_it_works_again_when_there_is_space() {
    let mut site = Site::new();
    site.options.segment_bytes = 64 << 10;
    site.disk.set_room(Some(400 << 10));
    let store = site.store();
    let mut kept = Vec::new();
    let refused = loop {
        let message = message_of(vec![kept.len() as u8; 4000].into_iter().chain(rand::random::<[u8; 32]>()).collect());
        let (id, payload) = (message.id, message.payload.clone());
        let mut message = message;
        // Nothing that compresses away.
        message.payload = payload.clone();
        match store.accept(message).await {
            Ok(_) => kept.push((id, payload)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(kept.len() > 10);
    assert!(matches!(store.accept(a_message()).await, Ok(_) | Err(StoreError::Full { .. })));
    site.disk.set_room(None);
    let message = a_message();
    assert_eq!(store.accept(message.clone()).await.unwrap(), Accepted::New);
    kept.push((message.id, message.payload));
    for lose_index in [false, true] {
        for (id, payload) in &kept {
            assert_eq!(store.payload(*id).await.unwrap(), payload);
        }
        if lose_index {
            assert_clean(&store).await;
        }
    }
}

#[tokio::test]
async fn a_big_payload_that_does_not_fit_leaves_nothing_behind() {
    let site = Site::new();
    let store = site.store();
    site.disk.set_room(Some(3 << 20));
    let refused = store.accept(message_of(vec![1; 5 << 20])).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })));
    assert!(!site.disk.paths().iter().any(|path| path.extension().is_some_and(|it| it == "bin")));
    assert_eq!(store.accept(message_of(vec![1; 1 << 20])).await.unwrap(), Accepted::New);
}

#[tokio::test]
async fn intake_stops_before_the_disk_is_full_and_deliveries_go_on() {
    let mut site = Site::new();
    site.options.min_free_bytes = 1000;
    let store = site.store();
    let (_, numbers) = queue(&store, &["a"]).await;
    site.disk.set_free(Some(999));
    store.checkpoint().await.unwrap();
    wait_for(async || matches!(store.accept(a_message()).await, Err(StoreError::Full { free: 999, needed: 1000 })))
        .await;
    store.commit_synced(vec![delivered(numbers[0])]).await.unwrap();
    site.disk.set_free(None);
    wait_for(async || store.accept(a_message()).await.is_ok()).await;
}

#[tokio::test]
async fn after_a_failed_sync_the_group_is_written_again_elsewhere() {
    let site = Site::new();
    let store = site.store();
    let before = a_message();
    store.accept(before.clone()).await.unwrap();
    let committed = store.commit(vec![processed(before.id, &["a"])]).await.unwrap();
    site.disk.fail_syncs(1);
    let during = a_message();
    assert_eq!(store.accept(during.clone()).await.unwrap(), Accepted::New);
    let after = a_message();
    store.accept(after.clone()).await.unwrap();
    for _ in 0..2 {
        store.commit(vec![attempted(committed.deliveries[0], None)]).await.unwrap();
        site.disk.fail_syncs(1);
        store.commit_synced(vec![]).await.unwrap();
    }
    assert!(store.metrics().sync_failures >= 1);
    let check = async |store: &Store| {
        for message in [&before, &during, &after] {
            assert_eq!(store.payload(message.id).await.unwrap(), message.payload);
        }
        assert_eq!(store.content(committed.deliveries[0]).await.unwrap().bytes, Bytes::from_static(b"{}"));
        assert_eq!(store.history(before.id).await.unwrap().len(), 4);
    };
    check(&store).await;
    store.close().await.unwrap();
    let (store, report) = site.open();
    assert_eq!(report.damages, vec![]);
    check(&store).await;
    store.close().await.unwrap();
    site.lose_index();
    let (store, report) = site.open();
    assert_eq!(report.damages, vec![]);
    check(&store).await;
    assert_clean(&store).await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_any_more_is_no_false_acknowledgment() {
    let site = Site::new();
    let store = site.store();
    store.accept(a_message()).await.unwrap();
    site.disk.fail_syncs(1000);
    assert!(store.accept(a_message()).await.is_err());
    assert!(store.accept(a_message()).await.is_err());
}

/// Records that may be lost, so many that the index must be folded; none of them makes the log sync.
async fn write_much(store: &Store, delivery: DeliveryId) {
    for _ in 0..30 {
        store.commit((0..1000).map(|_| attempted(delivery, None)).collect()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_waits_for_a_log_whose_sync_fails_once_and_is_never_ahead_of_it() {
    let mut site = Site::new();
    site.options.checkpoint_every = Duration::from_secs(3600);
    let store = site.store();
    let (id, numbers) = queue(&store, &["a"]).await;
    site.disk.fail_syncs(1);
    write_much(&store, numbers[0]).await;
    store.checkpoint().await.unwrap();
    assert_eq!(store.metrics().sync_failures, 1);
    let durable = store.history(id).await.unwrap().len();
    write_much(&store, numbers[0]).await;
    let disk = site.disk.cut(&mut rand::rng());
    drop(store);
    site.on(disk);
    let (store, report) = site.open();
    assert_eq!((report.rebuilt, report.damages), (None, vec![]));
    assert!(store.history(id).await.unwrap().len() >= durable);
    assert_clean(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_synced_any_more_leaves_nobody_waiting() {
    let mut site = Site::new();
    site.options.checkpoint_every = Duration::from_secs(3600);
    let store = site.store();
    let (id, numbers) = queue(&store, &["a"]).await;
    store.commit_synced(vec![]).await.unwrap();
    site.disk.fail_syncs(u32::MAX);
    // Written, and then nobody asks for anything: it is found out all the same.
    store.record(vec![attempted(numbers[0], None)]).await.unwrap();
    wait_for(async || store.wants_reopening()).await;
    assert_eq!(store.metrics().sync_failures, 1);
    assert!(matches!(store.accept(a_message()).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.commit(vec![delivered(numbers[0])]).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.message(id).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.checkpoint().await, Err(StoreError::Failed(_))));
    store.close().await.unwrap();
    site.disk.fail_syncs(0);
    let (store, report) = site.open();
    assert_eq!((report.rebuilt, report.damages), (None, vec![]));
    assert_eq!(state(&store, id).await, State::Queued);
    store.commit_synced(vec![delivered(numbers[0])]).await.unwrap();
    assert_clean(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_waits_for_the_log_ends_when_the_log_does() {
    let mut site = Site::new();
    site.options.checkpoint_every = Duration::from_secs(3600);
    site.options.sync_within = Duration::from_secs(3600);
    let store = site.store();
    let (id, numbers) = queue(&store, &["a"]).await;
    store.commit_synced(vec![]).await.unwrap();
    site.disk.fail_syncs(u32::MAX);
    // Until the index has so much to fold that it must wait for the log, and that must sync.
    while store.commit((0..1000).map(|_| attempted(numbers[0], None)).collect()).await.is_ok() {}
    assert!(store.wants_reopening());
    store.close().await.unwrap();
    site.disk.fail_syncs(0);
    let (store, report) = site.open();
    assert_eq!((report.rebuilt, report.damages), (None, vec![]));
    assert_eq!(state(&store, id).await, State::Queued);
    assert_clean(&store).await;
}

/// Waits until `done`, for ten seconds at most.
async fn wait_for(done: impl AsyncFn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !done().await {
        assert!(std::time::Instant::now() < deadline, "it never came to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
