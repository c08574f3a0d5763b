//! Control ids used twice.

use super::*;

fn with_control(control_id: &str, payload: &str) -> Received {
    Received { control_id: Some(control_id.into()), ..message_of(payload.as_bytes().to_vec()) }
}

#[tokio::test]
async fn the_same_bytes_again_are_a_duplicate_and_are_not_stored() {
    let site = Site::new();
    let store = site.store();
    let first = with_control("1", "same");
    assert_eq!(store.accept(first.clone()).await.unwrap(), Accepted::New);
    let again = store.accept(with_control("1", "same")).await.unwrap();
    assert_eq!(again, Accepted::Duplicate { id: first.id });
    assert_eq!(store.unprocessed("adt", None, 10).await.unwrap().len(), 1);
    assert_eq!(store.metrics().duplicates, 1);
}

#[tokio::test]
async fn other_bytes_are_a_conflict_and_both_are_kept() {
    let site = Site::new();
    let store = site.store();
    let (first, second) = (with_control("1", "one"), with_control("1", "two"));
    store.accept(first.clone()).await.unwrap();
    assert_eq!(store.accept(second.clone()).await.unwrap(), Accepted::Conflict { id: second.id, earlier: first.id });
    let parked = store.message(second.id).await.unwrap().unwrap();
    assert_eq!(parked.state, State::Failed);
    assert!(parked.reason.starts_with("duplicate-check"), "{}", parked.reason);
    assert_eq!(store.payload(second.id).await.unwrap(), second.payload);
    // The same again is the same conflict: it was never accepted.
    let again = store.accept(with_control("1", "two")).await.unwrap();
    assert_eq!(again, Accepted::Conflict { id: second.id, earlier: first.id });
    assert_clean(&store).await;
}

#[tokio::test]
async fn another_channel_or_sender_may_use_the_same_control_id() {
    let site = Site::new();
    let store = site.store();
    for (channel, sender) in [("adt", "LAB"), ("oru", "LAB"), ("adt", "PHARMACY")] {
        let message = Received { channel: channel.into(), sender: sender.into(), ..with_control("1", "same") };
        assert_eq!(store.accept(message).await.unwrap(), Accepted::New);
    }
}

#[tokio::test]
async fn a_duplicate_is_known_after_a_restart_and_after_a_rebuild() {
    let site = Site::new();
    let store = site.store();
    let first = with_control("1", "same");
    store.accept(first.clone()).await.unwrap();
    store.close().await.unwrap();
    for lose_index in [false, true] {
        if lose_index {
            site.lose_index();
        }
        let store = site.store();
        let again = store.accept(with_control("1", "same")).await.unwrap();
        assert_eq!(again, Accepted::Duplicate { id: first.id });
        assert_eq!(store.accept(with_control(&lose_index.to_string(), "new")).await.unwrap(), Accepted::New);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn after_the_window_the_control_id_is_free_again() {
    let mut site = Site::new();
    site.options.duplicate_window = Duration::from_secs(60);
    let store = site.store();
    store.accept(with_control("1", "same")).await.unwrap();
    let later = |seconds| Received { at: at(seconds), ..with_control("1", "same") };
    assert!(matches!(store.accept(later(59)).await.unwrap(), Accepted::Duplicate { .. }));
    assert_eq!(store.accept(later(61)).await.unwrap(), Accepted::New);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_exactly_one_is_new() {
    let site = Site::new();
    let store = site.store();
    for round in 0..20 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (store, message) = (store.clone(), with_control(&round.to_string(), "same"));
            tasks.spawn(async move { store.accept(message).await.unwrap() });
        }
        let answers = tasks.join_all().await;
        assert_eq!(answers.iter().filter(|answer| **answer == Accepted::New).count(), 1);
    }
    assert_eq!(store.unprocessed("adt", None, 100).await.unwrap().len(), 20);
}
