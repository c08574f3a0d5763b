//! Following the log.

use super::*;

/// All that happened behind `mark`, `most` records or so at a time.
async fn follow(store: &Store, mark: &mut Mark, most: usize) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let tail = store.tail(*mark, most).await.unwrap();
        let is_end = tail.end == *mark;
        assert!(tail.lost.is_empty());
        told.extend(tail.items.iter().map(|it| format!("{:?} {} {:?}", it.from, it.sequence, it.record)));
        *mark = tail.end;
        if is_end {
            return told;
        }
    }
}

/// What has just been written is told from memory: it must be what the log tells.
#[tokio::test]
async fn what_is_told_from_memory_is_what_stands_in_the_log() {
    let site = Site::new();
    let store = site.store();
    store.accept(a_message()).await.unwrap();
    let mut mark = Mark::default();
    let mut told = follow(&store, &mut mark, 100).await;
    for number in 0..40 {
        let message = a_message();
        let id = message.id;
        store.accept(message).await.unwrap();
        let committed = store.commit(vec![processed_in(id, &["a", "b"], &[7])]).await.unwrap();
        store
            .record(vec![delivered(committed.deliveries[0]), attempted(committed.deliveries[1], Some(b"rest"))])
            .await
            .unwrap();
        if number % 3 == 0 {
            told.extend(follow(&store, &mut mark, 4).await);
        }
    }
    store.commit(Vec::new()).await.unwrap();
    told.extend(follow(&store, &mut mark, 4).await);
    drop(store);
    let store = site.store();
    let again = follow(&store, &mut Mark::default(), 1000).await;
    assert_eq!(told, again);
    assert_eq!(told.len(), 1 + 40 * 4);
}
