//! Searching messages and deliveries.

use super::*;

/// Ten messages, one a minute, alternately of two channels; the even ones are delivered.
async fn ten(store: &Store) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for number in 0..10u8 {
        let even = number % 2 == 0;
        let message = Received {
            at: at(i64::from(number) * 60),
            channel: if even { "adt" } else { "oru" }.into(),
            kind: if even { "ADT^A01" } else { "ORU^R01" }.into(),
            control_id: Some(format!("C{number}")),
            search: [format!("MRN{}", number / 5), "all".to_owned()].into(),
            ..a_message()
        };
        ids.push(message.id);
        store.accept(message.clone()).await.unwrap();
        let destination = if number < 5 { "early" } else { "late" };
        let numbers = store.commit(vec![processed(message.id, &[destination])]).await.unwrap().deliveries;
        store.commit(vec![if even { delivered(numbers[0]) } else { dead(numbers[0]) }]).await.unwrap();
    }
    ids
}

/// What `query` finds, by the numbers of the messages, page by page of two.
#[track_caller]
fn check(query: MessageQuery, expected: &[usize]) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let expected = expected.to_vec();
    async move {
        let site = Site::new();
        let store = site.store();
        let ids = ten(&store).await;
        let (mut found, mut query) = (Vec::new(), MessageQuery { limit: 2, ..query });
        loop {
            let page = store.messages(&query).await.unwrap();
            found.extend(page.items.iter().map(|it| ids.iter().position(|id| *id == it.received.id).unwrap()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, expected, "at {caller}");
    }
}

#[tokio::test]
async fn finds_messages_by_each_of_their_traits() {
    let any = MessageQuery::default;
    check(any(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    check(MessageQuery { newest_first: true, ..any() }, &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]).await;
    check(MessageQuery { channel: Some("oru".into()), ..any() }, &[1, 3, 5, 7, 9]).await;
    check(MessageQuery { states: vec![State::Delivered], ..any() }, &[0, 2, 4, 6, 8]).await;
    check(MessageQuery { kind: Some("ORU".into()), ..any() }, &[1, 3, 5, 7, 9]).await;
    check(MessageQuery { kind: Some("OR".into()), ..any() }, &[]).await;
    check(MessageQuery { from: Some(at(120)), to: Some(at(300)), ..any() }, &[2, 3, 4]).await;
    check(MessageQuery { control_id: Some("C7".into()), ..any() }, &[7]).await;
    check(MessageQuery { search: Some("MRN1".into()), ..any() }, &[5, 6, 7, 8, 9]).await;
    check(MessageQuery { search: Some("MRN1".into()), channel: Some("adt".into()), ..any() }, &[6, 8]).await;
    check(MessageQuery { destination: Some("early".into()), ..any() }, &[0, 1, 2, 3, 4]).await;
    check(MessageQuery { destination: Some("late".into()), newest_first: true, ..any() }, &[9, 8, 7, 6, 5]).await;
    check(MessageQuery { error: Some("422 unprocess".into()), ..any() }, &[1, 3, 5, 7, 9]).await;
    check(MessageQuery { search: Some("nobody".into()), ..any() }, &[]).await;
}

#[tokio::test]
async fn finds_deliveries_by_each_of_their_traits() {
    let site = Site::new();
    let store = site.store();
    let ids = ten(&store).await;
    let count = async |query: DeliveryQuery| {
        store.deliveries(&DeliveryQuery { limit: 100, ..query }).await.unwrap().items.len()
    };
    let any = DeliveryQuery::default;
    assert_eq!(count(any()).await, 10);
    assert_eq!(count(DeliveryQuery { destination: Some("late".into()), ..any() }).await, 5);
    assert_eq!(count(DeliveryQuery { states: vec![State::Dead], ..any() }).await, 5);
    assert_eq!(count(DeliveryQuery { message: Some(ids[3]), ..any() }).await, 1);
    assert_eq!(count(DeliveryQuery { reason: Some("CREATED".into()), ..any() }).await, 5);
    let first = store.deliveries(&DeliveryQuery { newest_first: true, limit: 3, ..any() }).await.unwrap();
    let second =
        store.deliveries(&DeliveryQuery { newest_first: true, limit: 30, after: first.next, ..any() }).await.unwrap();
    let all: Vec<_> = first.items.iter().chain(&second.items).map(|it| it.id).collect();
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by(|a, b| a > b));
}

#[tokio::test]
async fn a_clock_that_jumps_back_hides_nothing() {
    let site = Site::new();
    let store = site.store();
    let mut ids = Vec::new();
    for seconds in [1000, 2000, 10, 20, 3000] {
        let message = Received { at: at(seconds), ..a_message() };
        ids.push(message.id);
        store.accept(message).await.unwrap();
    }
    let query = MessageQuery { from: Some(at(5)), to: Some(at(1500)), limit: 10, ..MessageQuery::default() };
    let found: Vec<_> = store.messages(&query).await.unwrap().items.into_iter().map(|it| it.received.id).collect();
    assert_eq!(found, vec![ids[0], ids[2], ids[3]]);
}

#[tokio::test]
async fn counts_tell_the_states_and_the_oldest_that_waits() {
    let site = Site::new();
    let store = site.store();
    ten(&store).await;
    queue(&store, &["late"]).await;
    let counts = store.counts();
    assert_eq!((counts.accepted("adt"), counts.accepted("oru")), (6, 5));
    assert_eq!((counts.at("late", State::Queued), counts.at("early", State::Dead)), (1, 2));
    store.close().await.unwrap();
    let counts = site.store().counts();
    assert_eq!(counts.oldest.get("late"), Some(&at(1)));
    assert_eq!((counts.accepted("adt"), counts.in_state(State::Dead)), (6, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_from_state_to_state_is_found_once_all_the_while() {
    const MANY: usize = 600;
    let site = Site::new();
    let store = site.store();
    let mut waiting = Vec::new();
    for _ in 0..MANY {
        waiting.extend(queue(&store, &["late"]).await.1);
    }
    // Not in their order: some of what is delivered stands on either side of what is read.
    waiting.sort_unstable_by_key(|delivery| (delivery % 7, *delivery));
    let mut moving = tokio::task::JoinSet::new();
    moving.spawn({
        let store = store.clone();
        async move {
            for delivery in waiting {
                store.commit(vec![held(delivery)]).await.unwrap();
                store.commit(vec![released(delivery), delivered(delivery)]).await.unwrap();
            }
        }
    });
    let mut times = 0;
    let ended = loop {
        if let Some(ended) = moving.try_join_next() {
            break ended;
        }
        for newest_first in [true, false] {
            let query = MessageQuery { newest_first, limit: MANY + 1, ..MessageQuery::default() };
            let found: std::collections::HashSet<_> =
                store.messages(&query).await.unwrap().items.into_iter().map(|it| it.received.id).collect();
            assert_eq!(found.len(), MANY, "after {times} times");
            let query = DeliveryQuery { newest_first, limit: MANY + 1, ..DeliveryQuery::default() };
            assert_eq!(store.deliveries(&query).await.unwrap().items.len(), MANY, "deliveries, after {times} times");
        }
        times += 1;
    };
    ended.unwrap();
    assert!(times > 1, "nothing was looked for while it moved");
}
