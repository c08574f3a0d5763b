//! Messages, deliveries, lanes, replay: what records do to states.

use super::*;

#[tokio::test]
async fn what_was_accepted_comes_back_byte_for_byte() {
    let site = Site::new();
    let store = site.store();
    let message = Received { control_id: Some("42".into()), search: ["MRN1".to_owned()].into(), ..a_message() };
    store.accept(message.clone()).await.unwrap();
    let found = store.message(message.id).await.unwrap().unwrap();
    assert_eq!(found.received, Received { payload: Bytes::new(), ..message.clone() });
    assert_eq!((found.state, found.size), (State::Received, message.payload.len() as u64));
    assert_eq!(store.payload(message.id).await.unwrap(), message.payload);
    let unprocessed = store.unprocessed("adt", None, 10).await.unwrap();
    assert_eq!(unprocessed, vec![(found.sequence, message.id)]);
    assert!(store.unprocessed("adt", Some(found.sequence), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_commit_is_seen_when_it_returns_and_gives_rising_numbers() {
    let site = Site::new();
    let store = site.store();
    let (id, numbers) = queue(&store, &["repository", "archive"]).await;
    assert_eq!(numbers.len(), 2);
    assert!(numbers[0] < numbers[1]);
    let queued = store.queued("repository", None, 10).await.unwrap();
    assert_eq!(queued.iter().map(|it| it.id).collect::<Vec<_>>(), vec![numbers[0]]);
    assert_eq!(store.message(id).await.unwrap().unwrap().deliveries, numbers);
    assert_eq!(store.content(numbers[1]).await.unwrap().bytes, Bytes::from_static(b"{}"));
}

/// What two deliveries make of their message, one record after another.
async fn check(records: impl FnOnce(DeliveryId, DeliveryId) -> Vec<Record>, expected: State) {
    let site = Site::new();
    let store = site.store();
    let (id, numbers) = queue(&store, &["a", "b"]).await;
    store.commit(records(numbers[0], numbers[1])).await.unwrap();
    assert_eq!(state(&store, id).await, expected);
    assert_eq!(store.counts().in_state(expected), 1);
    assert_clean(&store).await;
}

#[tokio::test]
async fn a_message_is_delivered_when_all_its_deliveries_are() {
    check(|a, b| vec![delivered(a), delivered(b)], State::Delivered).await;
}

#[tokio::test]
async fn a_message_is_queued_while_one_delivery_is() {
    check(|a, b| vec![delivered(a), attempted(b, None)], State::Queued).await;
}

#[tokio::test]
async fn a_held_delivery_holds_the_message() {
    check(|a, _| vec![held(a)], State::Held).await;
}

#[tokio::test]
async fn a_dead_delivery_makes_the_message_dead() {
    check(|a, b| vec![held(a), dead(b)], State::Dead).await;
}

#[tokio::test]
async fn a_released_delivery_is_queued_again() {
    check(|a, b| vec![held(a), released(a), delivered(b)], State::Queued).await;
}

#[tokio::test]
async fn a_skipped_delivery_does_not_hold_up_the_message() {
    let skipped = |delivery| Record::Skipped { delivery, at: at(3), reason: "not wanted".into() };
    check(|a, b| vec![skipped(a), delivered(b)], State::Delivered).await;
}

#[tokio::test]
async fn a_dead_letter_that_arrived_after_all_is_delivered() {
    check(|a, b| vec![dead(a), delivered(a), delivered(b)], State::Delivered).await;
}

#[tokio::test]
async fn what_was_delivered_stays_delivered() {
    check(|a, b| vec![delivered(a), dead(a), held(a), attempted(a, None), delivered(b)], State::Delivered).await;
}

#[tokio::test]
async fn after_a_partial_delivery_only_the_rest_is_sent() {
    let site = Site::new();
    let store = site.store();
    let (_, numbers) = queue(&store, &["a"]).await;
    store.commit(vec![attempted(numbers[0], Some(b"the rest"))]).await.unwrap();
    store.commit(vec![attempted(numbers[0], None)]).await.unwrap();
    assert_eq!(store.content(numbers[0]).await.unwrap().bytes, Bytes::from_static(b"the rest"));
    let delivery = store.delivery(numbers[0]).await.unwrap().unwrap();
    assert_eq!((delivery.attempts, delivery.due), (2, Some(at(60))));
}

#[tokio::test]
async fn an_output_without_bytes_is_the_original() {
    let site = Site::new();
    let store = site.store();
    let message = a_message();
    store.accept(message.clone()).await.unwrap();
    let mut record = processed(message.id, &["a"]);
    if let Record::Processed { outcome: Outcome::Queued { outputs, .. }, .. } = &mut record {
        outputs[0].bytes = None;
    }
    let numbers = store.commit(vec![record]).await.unwrap().deliveries;
    assert_eq!(store.content(numbers[0]).await.unwrap().bytes, message.payload);
}

#[tokio::test]
async fn a_delivery_of_more_lanes_than_the_index_holds_keeps_them_all() {
    let site = Site::new();
    let store = site.store();
    let message = a_message();
    store.accept(message.clone()).await.unwrap();
    let lanes: Vec<u8> = (0..200).collect();
    let numbers = store.commit(vec![processed_in(message.id, &["a"], &lanes)]).await.unwrap().deliveries;
    let delivery = store.delivery(numbers[0]).await.unwrap().unwrap();
    assert_eq!(delivery.lanes.len(), 200);
    store.commit(vec![delivered(numbers[0])]).await.unwrap();
    assert_clean(&store).await;
}

#[tokio::test]
async fn a_replay_takes_the_place_of_what_is_still_open() {
    let site = Site::new();
    let store = site.store();
    let (id, old) = queue(&store, &["a", "b", "c", "d"]).await;
    store.commit(vec![delivered(old[0]), dead(old[1]), held(old[2])]).await.unwrap();
    let new = store.commit(vec![replayed(id), processed(id, &["a"])]).await.unwrap().deliveries;
    let mut states = Vec::new();
    for number in old.iter().chain(&new) {
        let delivery = store.delivery(*number).await.unwrap().unwrap();
        states.push((delivery.state, delivery.reason));
    }
    let skipped = || (State::Skipped, "replaced by replay".to_owned());
    let queued = (State::Queued, String::new());
    assert_eq!(states, vec![(State::Delivered, "201 Created".into()), skipped(), skipped(), skipped(), queued]);
    assert_eq!(state(&store, id).await, State::Queued);
    let history = store.history(id).await.unwrap();
    let explicit = history.iter().filter(|entry| matches!(entry.record, Record::Skipped { .. })).count();
    assert_eq!(explicit, 3);
    assert_clean(&store).await;
}

#[tokio::test]
async fn a_replay_to_one_destination_leaves_the_others_as_they_are() {
    let site = Site::new();
    let store = site.store();
    let (id, old) = queue(&store, &["a", "b"]).await;
    let Record::Replayed { message, at, job, reason, .. } = replayed(id) else { unreachable!() };
    let only_a = Record::Replayed { message, at, job, reason, destination: Some("a".into()) };
    let new = store.commit(vec![only_a, processed(id, &["a"])]).await.unwrap().deliveries;
    let mut states = Vec::new();
    for delivery in old.iter().chain(&new) {
        states.push(store.delivery(*delivery).await.unwrap().unwrap().state);
    }
    assert_eq!(states, [State::Skipped, State::Queued, State::Queued]);
    assert_clean(&store).await;
}

#[tokio::test]
async fn a_message_replayed_many_times_stays_small_in_the_index() {
    let site = Site::new();
    let store = site.store();
    let (id, _) = queue(&store, &["a"]).await;
    for _ in 0..60 {
        store.commit(vec![replayed(id), processed(id, &["a", "b"])]).await.unwrap();
    }
    assert_eq!(state(&store, id).await, State::Queued);
    assert_eq!(store.counts().at("a", State::Queued), 1);
    assert_clean(&store).await;
}

#[tokio::test]
async fn the_history_has_everything_in_order() {
    let site = Site::new();
    let store = site.store();
    let (id, numbers) = queue(&store, &["a"]).await;
    store.commit(vec![attempted(numbers[0], None)]).await.unwrap();
    store.commit_synced(vec![delivered(numbers[0])]).await.unwrap();
    let history = store.history(id).await.unwrap();
    assert!(history.is_sorted_by_key(|entry| entry.sequence));
    assert!(matches!(&history[0].record, Record::Received(received) if received.id == id));
    assert!(matches!(&history[1].record, Record::Processed { .. }));
    assert_eq!(history[2].record, attempted(numbers[0], None));
    assert_eq!(history[3].record, delivered(numbers[0]));
    assert_eq!(history.len(), 4);
}

#[tokio::test]
async fn settings_are_kept_over_a_restart_and_forgotten_when_told() {
    let site = Site::new();
    let store = site.store();
    let set = |key: &str, value: Option<String>| Record::Setting { key: key.into(), value };
    let long = "x".repeat(5000);
    store.commit(vec![set("paused/a", Some("now".into())), set("paused/b", Some(long.clone()))]).await.unwrap();
    store
        .commit(vec![set("other", Some("1".into())), set("paused/c", Some("1".into())), set("paused/c", None)])
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = site.store();
    assert_eq!(store.setting("paused/a").await.unwrap().as_deref(), Some("now"));
    assert_eq!(store.setting("paused/c").await.unwrap(), None);
    let paused = store.settings("paused/").await.unwrap();
    assert_eq!(paused, vec![("paused/a".into(), "now".into()), ("paused/b".into(), long)]);
}

#[tokio::test]
async fn a_delivery_of_an_output_that_is_not_there_is_refused() {
    let site = Site::new();
    let store = site.store();
    let mut record = processed(a_message().id, &["a"]);
    if let Record::Processed { outcome: Outcome::Queued { outputs, .. }, .. } = &mut record {
        outputs.clear();
    }
    assert!(matches!(store.commit(vec![record]).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_store() {
    let site = Site::new();
    let _store = site.store();
    let second = Store::open(site.options.clone(), start());
    assert!(matches!(second, Err(StoreError::Locked { pid, .. }) if pid == std::process::id()));
}

#[tokio::test]
async fn big_payloads_answers_and_outputs_come_back_from_files_of_their_own() {
    let mut site = Site::new();
    for key in [None, Some([7; 32])] {
        site = Site { options: StoreOptions { encryption_key: key, ..site.options }, ..site };
        let fresh = Site::new();
        site.on(fresh.disk.clone());
        site.options.dir = fresh.dir.path().to_owned();
        let store = site.store();
        let big: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let message = message_of(big.clone());
        store.accept(message.clone()).await.unwrap();
        let mut record = processed(message.id, &["a"]);
        if let Record::Processed { outcome: Outcome::Queued { outputs, .. }, .. } = &mut record {
            outputs[0].bytes = Some(big[1..].to_vec().into());
        }
        let number = store.commit(vec![record]).await.unwrap().deliveries[0];
        assert_eq!(store.payload(message.id).await.unwrap(), big);
        assert_eq!(store.content(number).await.unwrap().bytes, big[1..]);
        assert_eq!(store.outputs(message.id).await.unwrap()[0].bytes.as_ref().unwrap(), &big[1..]);
        assert_eq!(store.message(message.id).await.unwrap().unwrap().size, 3_000_000);
        let files = || site.disk.paths().iter().filter(|path| path.extension().is_some_and(|it| it == "bin")).count();
        assert_eq!(files(), 2);
        assert_clean(&store).await;
        store.close().await.unwrap();
        fresh.lose_index();
        let (store, report) = site.open();
        assert_eq!((report.orphans, files()), (0, 2));
        assert_eq!(store.payload(message.id).await.unwrap(), big);
    }
}

#[tokio::test]
async fn nothing_of_a_payload_is_on_the_disk_in_clear_when_encrypted() {
    let mut site = Site::new();
    site.options.encryption_key = Some([9; 32]);
    let store = site.store();
    let secret = b"PID|||7731^^^ST MARY||EVERYWOMAN^EVE".to_vec();
    let message = Received { search: ["7731".to_owned()].into(), ..message_of(secret.clone()) };
    store.accept(message.clone()).await.unwrap();
    assert_eq!(store.payload(message.id).await.unwrap(), secret);
    store.close().await.unwrap();
    for path in site.disk.paths() {
        assert!(!contains(&site.disk.read_file(&path), b"EVERYWOMAN"), "{}", path.display());
    }
    site.options.encryption_key = Some([8; 32]);
    let (store, _) = site.open();
    assert!(matches!(store.payload(message.id).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn the_index_has_neither_payloads_nor_search_values_in_clear_and_no_blobs() {
    let site = Site::new();
    let store = site.store();
    for _ in 0..200 {
        let message = Received {
            search: ["7731-SECRET".to_owned()].into(),
            control_id: Some("CTRL-SECRET".into()),
            ..a_message()
        };
        store.accept(Received { control_id: Some(message.id.to_string()), ..message.clone() }).await.unwrap();
        store.commit(vec![processed(message.id, &["a"])]).await.unwrap();
    }
    store.checkpoint().await.unwrap();
    store.close().await.unwrap();
    let index = site.dir.path().join("index");
    let db = std::fs::read(index.join("db")).unwrap();
    assert!(!contains(&db, b"SECRET") && !contains(&db, b"PID|") && !contains(&db, b"192.0.2.7"));
    assert_eq!(std::fs::read_dir(index.join("blobs")).map_or(0, Iterator::count), 0);
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}
