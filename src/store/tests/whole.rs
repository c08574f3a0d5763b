//! Messages with their payloads, many at a time.

use super::*;

/// The payloads of `ids`, up to `most` bytes.
async fn payloads(store: &Store, ids: &[MessageId], most: usize) -> Vec<Bytes> {
    let whole = store.whole(ids.to_vec(), most).await.unwrap();
    whole.into_iter().map(|message| message.unwrap().payload).collect()
}

/// Out of memory and out of the log they are the same, also where one of them is in memory and another is not.
#[tokio::test]
async fn they_come_in_their_order_from_wherever_they_are() {
    let site = Site::new();
    let store = site.store();
    let messages: Vec<Received> = (0..5).map(|_| a_message()).collect();
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    let expected: Vec<Bytes> = messages.iter().map(|message| message.payload.clone()).collect();
    for message in messages {
        store.accept(message).await.unwrap();
    }
    assert_eq!(payloads(&store, &ids, usize::MAX).await, expected);
    // What is processed is no longer in memory.
    store.commit(vec![processed(ids[2], &["lab"])]).await.unwrap();
    assert_eq!(payloads(&store, &ids, usize::MAX).await, expected);
    store.close().await.unwrap();
    let store = site.store();
    let read = store.whole(ids.clone(), usize::MAX).await.unwrap();
    let read: Vec<_> = read.into_iter().map(|whole| whole.unwrap()).collect();
    assert!(read.iter().zip(&ids).all(|(whole, id)| whole.received.id == *id && whole.received.payload.is_empty()));
    assert_eq!(read.into_iter().map(|whole| whole.payload).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn there_are_no_more_than_was_asked_for_and_one_at_least() {
    let site = Site::new();
    let store = site.store();
    let messages: Vec<Received> = (0..3).map(|_| message_of(vec![b'x'; 1000])).collect();
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    for message in messages {
        store.accept(message).await.unwrap();
    }
    for (most, count) in [(1, 1), (1000, 1), (1001, 2), (usize::MAX, 3)] {
        assert_eq!(payloads(&store, &ids, most).await.len(), count, "up to {most} bytes");
    }
}

#[tokio::test]
async fn one_that_is_not_there_does_not_take_the_others_with_it() {
    let site = Site::new();
    let store = site.store();
    let (message, unknown) = (a_message(), a_message().id);
    let id = message.id;
    store.accept(message).await.unwrap();
    let read = store.whole(vec![unknown, id], usize::MAX).await.unwrap();
    assert!(matches!(read.as_slice(), [Err(StoreError::Unknown(_)), Ok(whole)] if whole.received.id == id));
}
