//! Flipped bytes and torn tails: told apart, named, and the rest readable.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A closed store with `count` messages, each in a group of its own, over several segments.
async fn filled(count: usize) -> (Site, Vec<(MessageId, Bytes)>) {
    let mut site = Site::new();
    site.options.segment_bytes = 32 << 10;
    let store = site.store();
    let mut messages = Vec::new();
    for _ in 0..count {
        let message = message_of(rand::random::<[u8; 512]>().to_vec());
        store.accept(message.clone()).await.unwrap();
        messages.push((message.id, message.payload));
    }
    store.close().await.unwrap();
    (site, messages)
}

fn segments(disk: &TestDisk) -> Vec<std::path::PathBuf> {
    let segments = disk.paths().into_iter().filter(|path| path.extension().is_some_and(|it| it == "seg"));
    segments.collect()
}

/// How many of the messages come back as they were; the others must be errors that name the place.
async fn readable(store: &Store, messages: &[(MessageId, Bytes)]) -> usize {
    let mut count = 0;
    for (id, payload) in messages {
        match store.payload(*id).await {
            Ok(found) => {
                assert_eq!(found, *payload);
                count += 1;
            }
            Err(StoreError::Damaged(damage)) => assert!(damage.file.starts_with("wal/")),
            Err(StoreError::Unknown(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    count
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_log_is_found_and_named_and_costs_one_group() {
    let (mut site, messages) = filled(120).await;
    let (intact, mut random) = (site.disk.copy(), SmallRng::seed_from_u64(1));
    for round in 0..40 {
        let disk = intact.copy();
        site.on(disk);
        let paths = segments(&site.disk);
        let path = &paths[random.random_range(0..paths.len())];
        let mut bytes = site.disk.read_file(path);
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1 << random.random_range(0..8);
        site.disk.write_file(path, bytes);
        let rebuild = round % 2 == 0;
        if rebuild {
            site.lose_index();
        }
        let (store, report) = site.open();
        let found = readable(&store, &messages).await;
        let verified = store.verify().await.unwrap();
        assert!(found + 1 >= messages.len(), "round {round}, {} at {at}: {found} readable, {report:?}", path.display());
        if found < messages.len() {
            assert!(!verified.damages.is_empty(), "round {round}: not named by verify");
            assert!(!rebuild || report.rebuilt.is_some());
            assert_eq!(report.rebuilt.is_some(), !report.damages.is_empty(), "round {round}: {report:?}");
            assert_eq!(report.torn_bytes, 0, "round {round}: {report:?}");
            assert!(verified.damages.iter().all(|damage| path.ends_with(&damage.file)));
        }
        assert_eq!(store.accept(a_message()).await.unwrap(), Accepted::New);
        drop(store);
    }
}

#[tokio::test]
async fn a_damaged_range_is_copied_aside_and_the_log_goes_on_behind_it() {
    let (site, messages) = filled(100).await;
    let path = segments(&site.disk).into_iter().find(|path| path.ends_with("00000002.seg")).unwrap();
    let mut bytes = site.disk.read_file(&path);
    bytes[9000..12_000].fill(0xAA);
    site.disk.write_file(&path, bytes);
    site.lose_index();
    let (store, report) = site.open();
    let [damage] = &report.damages[..] else { panic!("{report:?}") };
    assert_eq!(damage.file, "wal/00000002.seg");
    assert!(damage.from <= 9000 && damage.to >= 12_000 && damage.to - damage.from < 6000, "{damage}");
    assert_eq!(std::fs::read_dir(site.dir.path().join("quarantine")).unwrap().count(), 1);
    let found = readable(&store, &messages).await;
    assert!((90..100).contains(&found), "{found}");
    let verified = store.verify().await.unwrap();
    assert_eq!((&verified.damages, verified.mismatches.len()), (&report.damages, 0));
}

#[tokio::test]
async fn a_message_in_a_damaged_range_is_still_listed() {
    let (site, messages) = filled(60).await;
    let path = segments(&site.disk).into_iter().find(|path| path.ends_with("00000001.seg")).unwrap();
    let mut bytes = site.disk.read_file(&path);
    bytes[4096 + 100] ^= 1;
    site.disk.write_file(&path, bytes);
    let (store, _) = site.open();
    let listed = store.messages(&MessageQuery { limit: 100, ..MessageQuery::default() }).await.unwrap();
    assert_eq!(listed.items.len(), 60);
    assert_eq!((listed.items[0].received.id, listed.items[0].damaged), (messages[0].0, true));
    assert!(listed.items[1..].iter().all(|it| !it.damaged));
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_counted_and_is_no_damage() {
    let (site, messages) = filled(20).await;
    let path = segments(&site.disk).into_iter().next().unwrap();
    let bytes = site.disk.read_file(&path);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // The closing group, and half of the last message.
    let mut torn = bytes.clone();
    torn[end - 400..end].fill(0);
    site.disk.write_file(&path, torn);
    site.lose_index();
    let (store, report) = site.open();
    assert!(report.torn_bytes > 0 && report.damages.is_empty(), "{report:?}");
    assert_eq!(readable(&store, &messages).await, 19);
    store.accept(a_message()).await.unwrap();
    store.close().await.unwrap();
    site.lose_index();
    let (store, report) = site.open();
    assert_eq!((report.torn_bytes, report.damages.len()), (0, 0));
    assert_clean(&store).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_last_acknowledged_message_is_damage_and_no_torn_tail() {
    let (site, messages) = filled(20).await;
    let path = segments(&site.disk).into_iter().next().unwrap();
    let mut bytes = site.disk.read_file(&path);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 300] ^= 4;
    site.disk.write_file(&path, bytes);
    site.lose_index();
    let (store, report) = site.open();
    assert_eq!((report.torn_bytes, report.damages.len()), (0, 1), "{report:?}");
    assert_eq!(readable(&store, &messages).await, 19);
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_index_loses_nothing() {
    let (site, messages) = filled(60).await;
    let index = site.dir.path().join("index");
    let file = index.join("db");
    let intact = std::fs::read(&file).unwrap();
    let kept = tempfile::tempdir().unwrap();
    copy_dir(&index, kept.path());
    let mut random = SmallRng::seed_from_u64(2);
    for round in 0..25 {
        let mut bytes = intact.clone();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[random.random_range(0..=used)] ^= 1 << random.random_range(0..8);
        std::fs::remove_dir_all(&index).unwrap();
        copy_dir(kept.path(), &index);
        std::fs::write(&file, bytes).unwrap();
        let (mut store, _) = site.open();
        let mut found = 0;
        for (id, payload) in &messages {
            found += usize::from(store.payload(*id).await.is_ok_and(|read| read == *payload));
        }
        let clean = store.verify().await.is_ok_and(|report| report.is_clean());
        if found < messages.len() || !clean {
            store.close().await.unwrap();
            Store::rebuild(&site.options).unwrap();
            store = site.store();
        }
        assert_eq!(readable(&store, &messages).await, messages.len(), "round {round}");
        assert_clean(&store).await;
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_setting_takes_no_other_with_it() {
    let site = Site::new();
    let store = site.store();
    for (key, letter) in [("jobs/1", "x"), ("jobs/2", "y")] {
        let value = Some(letter.repeat(2000));
        store.commit_synced(vec![Record::Setting { key: key.to_owned(), value }]).await.unwrap();
    }
    store.close().await.unwrap();
    let path = segments(&site.disk).into_iter().next().unwrap();
    let mut bytes = site.disk.read_file(&path);
    let at = bytes.windows(100).position(|window| window.iter().all(|byte| *byte == b'x')).unwrap();
    bytes[at] ^= 1;
    site.disk.write_file(&path, bytes);
    let store = site.store();
    let settings = store.settings("jobs/").await.unwrap();
    assert_eq!(settings, [("jobs/2".to_owned(), "y".repeat(2000))]);
    assert!(!store.verify().await.unwrap().is_clean());
}

#[tokio::test]
async fn an_index_that_is_gone_behind_or_foreign_is_made_good() {
    let (site, messages) = filled(40).await;
    let index = site.dir.path().join("index");
    let early = tempfile::tempdir().unwrap();
    copy_dir(&index, early.path());
    let store = site.store();
    let (id, numbers) = queue(&store, &["a"]).await;
    store.close().await.unwrap();
    let check = async |why: &str, rebuilt: bool| {
        let (store, report) = site.open();
        assert_eq!(report.rebuilt.is_some(), rebuilt, "{why}: {report:?}");
        assert_eq!(readable(&store, &messages).await, messages.len(), "{why}");
        assert_eq!(state(&store, id).await, State::Queued, "{why}");
        assert_eq!(store.queued("a", None, 5).await.unwrap()[0].id, numbers[0], "{why}");
        assert_clean(&store).await;
        store.close().await.unwrap();
    };
    check("as it was", false).await;
    site.lose_index();
    check("gone", true).await;
    site.lose_index();
    copy_dir(early.path(), &index);
    check("behind", false).await;
    std::fs::write(index.join("db"), b"not an index").unwrap();
    check("foreign", true).await;
    std::fs::create_dir_all(index.join("blobs")).unwrap();
    std::fs::write(index.join("blobs/1"), b"x").unwrap();
    check("with a blob", true).await;
}

#[tokio::test]
async fn an_index_that_is_ahead_of_the_log_is_rebuilt() {
    let (mut site, messages) = filled(20).await;
    let before = site.disk.copy();
    let store = site.store();
    queue(&store, &["a"]).await;
    store.close().await.unwrap();
    site.on(before);
    let (store, report) = site.open();
    assert!(report.rebuilt.unwrap().contains("not in the log"));
    assert_eq!(readable(&store, &messages).await, messages.len());
    assert_clean(&store).await;
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
