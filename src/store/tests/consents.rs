//! Consents on file: versions, whose they are, when they change, what waits for them, and that they outlive all else.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

/// A patient's identifier.
fn who(number: u8) -> Lane {
    [number; 16]
}

fn of(numbers: &[u8]) -> Vec<Lane> {
    numbers.iter().map(|number| who(*number)).collect()
}

/// Consent `key` of the patients `subjects`, which says `text`.
fn consent(message: Option<MessageId>, key: u8, subjects: &[u8], text: &str) -> Record {
    let consent = NewConsent { key: [key; 16], subjects: of(subjects), body: text.as_bytes().to_vec().into() };
    Record::Consent { message, at: at(1), order: Order::default(), consent }
}

fn linked(message: Option<MessageId>, subjects: &[u8]) -> Record {
    Record::Linked { message, at: at(1), order: Order::default(), subjects: of(subjects) }
}

fn parted(message: Option<MessageId>, subjects: &[u8], others: &[u8]) -> Record {
    Record::Parted { message, at: at(1), order: Order::default(), subjects: of(subjects), others: of(others) }
}

async fn accepted(store: &Store) -> MessageId {
    let message = a_message();
    let id = message.id;
    store.accept(message).await.unwrap();
    id
}

async fn file(store: &Store, record: Record) {
    store.commit(vec![record]).await.unwrap();
}

/// What is on file of a patient: versions and texts, by key.
async fn texts(store: &Store, subject: u8) -> Vec<(u8, u32, String)> {
    let found = store.consents_of(&[who(subject)]).await.unwrap();
    let texts =
        found.consents.into_iter().map(|it| (it.key[0], it.version, String::from_utf8(it.body.into()).unwrap()));
    texts.collect()
}

fn told(key: u8, version: u32, text: &str) -> (u8, u32, String) {
    (key, version, text.to_owned())
}

#[tokio::test]
async fn the_latest_version_of_each_consent_is_found_by_any_of_its_subjects() {
    let store = Site::new().store();
    file(&store, consent(None, 1, &[10, 11], "permit")).await;
    file(&store, consent(None, 2, &[11], "research")).await;
    file(&store, consent(None, 1, &[10, 11], "deny")).await;
    assert_eq!(texts(&store, 10).await, [told(1, 2, "deny")]);
    assert_eq!(texts(&store, 11).await, [told(1, 2, "deny"), told(2, 1, "research")]);
    assert_eq!(texts(&store, 12).await, []);
    let versions = store.consent_versions([1; 16]).await.unwrap();
    let versions: Vec<_> = versions.iter().map(|it| (it.version, &it.body[..])).collect();
    assert_eq!(versions, [(1, &b"permit"[..]), (2, &b"deny"[..])]);
}

#[tokio::test]
async fn a_consent_that_turns_out_to_be_anothers_leaves_the_first() {
    let store = Site::new().store();
    file(&store, consent(None, 1, &[10], "permit")).await;
    let (before, after) = (store.epoch_of(&[who(10)]), store.epoch_of(&[who(20)]));
    file(&store, consent(None, 1, &[20], "permit")).await;
    assert_eq!((texts(&store, 10).await, texts(&store, 20).await), (vec![], vec![told(1, 2, "permit")]));
    assert!(store.epoch_of(&[who(10)]) > before && store.epoch_of(&[who(20)]) > after);
    assert_clean(&store).await;
}

/// A message that is replayed says again what it said then, not the last word.
#[tokio::test]
async fn a_replay_of_the_grant_does_not_undo_the_revocation() {
    let site = Site::new();
    let store = site.store();
    let (grant, revocation) = (accepted(&store).await, accepted(&store).await);
    file(&store, consent(Some(grant), 1, &[10], "grant")).await;
    file(&store, consent(Some(revocation), 1, &[10], "revoked")).await;
    file(&store, consent(Some(grant), 1, &[10], "grant, mapped anew")).await;
    assert_eq!(texts(&store, 10).await, [told(1, 2, "revoked")]);
    let versions = store.consent_versions([1; 16]).await.unwrap();
    assert_eq!(versions[0].body, &b"grant, mapped anew"[..]);
    assert_eq!((versions[0].message, versions[1].message), (Some(grant), Some(revocation)));
    assert_clean(&store).await;
    store.close().await.unwrap();
    site.lose_index();
    assert_eq!(texts(&site.store(), 10).await, [told(1, 2, "revoked")]);
}

#[tokio::test]
async fn a_replay_of_a_merge_does_not_undo_its_end() {
    let store = Site::new().store();
    let (merge, unmerge) = (accepted(&store).await, accepted(&store).await);
    file(&store, linked(Some(merge), &[10, 20])).await;
    file(&store, parted(Some(unmerge), &[10], &[20])).await;
    file(&store, linked(Some(merge), &[10, 20])).await;
    assert_eq!(store.consents_of(&[who(10)]).await.unwrap().subjects, of(&[10]));
}

#[tokio::test]
async fn linked_identifiers_share_their_consents_and_their_epoch() {
    let store = Site::new().store();
    file(&store, consent(None, 1, &[30], "deny")).await;
    file(&store, linked(None, &[10, 20])).await;
    let before = store.epoch_of(&[who(10)]);
    file(&store, linked(None, &[20, 30])).await;
    let found = store.consents_of(&[who(10)]).await.unwrap();
    assert_eq!((found.subjects, found.certain, found.consents.len()), (of(&[10, 20, 30]), true, 1));
    let linked = store.epoch_of(&[who(10)]);
    assert!(linked > before);
    file(&store, consent(None, 1, &[30], "permit")).await;
    assert!(store.epoch_of(&[who(10)]) > linked);
    assert_eq!(store.consents_of(&[who(10)]).await.unwrap().epoch, store.epoch_of(&[who(10)]));
}

#[tokio::test]
async fn what_was_one_person_and_is_two_shares_nothing_any_more() {
    let store = Site::new().store();
    file(&store, linked(None, &[10, 11, 20, 21])).await;
    file(&store, consent(None, 1, &[20], "permit")).await;
    let before = store.epoch_of(&[who(11)]);
    file(&store, parted(None, &[10, 11], &[20, 21])).await;
    let (one, other) = (store.consents_of(&[who(11)]).await.unwrap(), store.consents_of(&[who(21)]).await.unwrap());
    assert_eq!((one.subjects, one.certain, one.consents.len()), (of(&[10, 11]), true, 0));
    assert_eq!((other.subjects, other.certain, other.consents.len()), (of(&[20, 21]), true, 1));
    assert!(store.epoch_of(&[who(11)]) > before);
    file(&store, linked(None, &[11, 21])).await;
    let again = store.consents_of(&[who(10)]).await.unwrap();
    assert_eq!((again.subjects, again.certain), (of(&[10, 11, 20, 21]), true));
    assert_clean(&store).await;
}

#[tokio::test]
async fn who_is_said_to_be_one_person_and_not_to_be_is_not_certain() {
    let store = Site::new().store();
    file(&store, linked(None, &[10, 30])).await;
    file(&store, linked(None, &[20, 30])).await;
    file(&store, parted(None, &[10], &[20])).await;
    let found = store.consents_of(&[who(10)]).await.unwrap();
    assert_eq!((found.subjects, found.certain), (of(&[10, 20, 30]), false));
    file(&store, parted(None, &[30], &[20])).await;
    assert!(store.consents_of(&[who(10)]).await.unwrap().certain);
}

#[tokio::test]
async fn a_person_of_thousands_is_none() {
    let store = Site::new().store();
    let hash = |number: u16| store.keyed_hash(&number.to_be_bytes());
    let subjects: Vec<Lane> = (0..3000).map(hash).collect();
    let record = Record::Linked { message: None, at: at(1), order: Order::default(), subjects: subjects.clone() };
    let before = store.epoch_of(&[hash(2999)]);
    file(&store, record).await;
    assert!(!store.consents_of(&[hash(2999)]).await.unwrap().certain);
    assert!(store.epoch_of(&[hash(2999)]) > before);
}

#[tokio::test]
async fn open_deliveries_are_found_by_their_patient_and_its_links() {
    let site = Site::new();
    let store = site.store();
    let mut of_ten = Vec::new();
    for subject in [10, 20, 10, 30] {
        let id = accepted(&store).await;
        let deliveries = store.commit(vec![processed_in(id, &["a", "b"], &[subject])]).await.unwrap().deliveries;
        of_ten.extend(deliveries.into_iter().filter(|_| subject != 30));
    }
    file(&store, linked(None, &[10, 20])).await;
    let open = async |store: &Store| store.open_deliveries_of(&[who(10)]).await.unwrap();
    assert_eq!(open(&store).await, of_ten);
    store.commit(vec![delivered(of_ten[0]), held(of_ten[1]), dead(of_ten[2])]).await.unwrap();
    let expected = [&of_ten[1..2], &of_ten[3..]].concat();
    assert_eq!(open(&store).await, expected);
    store.checkpoint().await.unwrap();
    store.commit(vec![released(of_ten[2]), released(of_ten[1])]).await.unwrap();
    assert_eq!(open(&store).await, of_ten[1..]);
    assert_clean(&store).await;
    store.close().await.unwrap();
    assert_eq!(open(&site.store()).await, of_ten[1..]);
    site.lose_index();
    assert_eq!(open(&site.store()).await, of_ten[1..]);
}

#[tokio::test]
async fn a_delivery_has_subjects_of_its_own_where_its_lane_is_another() {
    let site = Site::new();
    let store = site.store();
    let id = accepted(&store).await;
    let mut record = processed_in(id, &["a", "b"], &[1]);
    let Record::Processed { outcome: Outcome::Queued { deliveries, .. }, .. } = &mut record else { panic!() };
    deliveries[0].subjects = of(&[10]);
    // Too many for the index: they are read from the log.
    let many: Vec<Lane> = (0..60).map(|number| who(100 + number)).collect();
    deliveries[1].subjects = many.clone();
    let made = store.commit(vec![record]).await.unwrap().deliveries;
    let check = async |store: &Store| {
        assert_eq!(store.delivery(made[0]).await.unwrap().unwrap().subjects, of(&[10]));
        let second = store.delivery(made[1]).await.unwrap().unwrap();
        assert_eq!((second.subjects, second.lanes), (many.clone(), of(&[1])));
        assert_eq!(store.open_deliveries_of(&[who(1)]).await.unwrap(), [0u64; 0]);
        assert_eq!(store.open_deliveries_of(&[who(10)]).await.unwrap(), made[..1]);
    };
    check(&store).await;
    store.commit(vec![delivered(made[1])]).await.unwrap();
    assert_eq!(store.open_deliveries_of(&[who(130)]).await.unwrap(), [0u64; 0]);
    store.close().await.unwrap();
    site.lose_index();
    let store = site.store();
    check(&store).await;
    assert_clean(&store).await;
}

#[tokio::test]
async fn changes_are_told_to_those_who_wait_and_concern_all_links() {
    let store = Site::new().store();
    file(&store, linked(None, &[10, 20])).await;
    let mut changes = store.consent_changes();
    file(&store, consent(None, 1, &[20], "permit")).await;
    let heard = tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap();
    assert_eq!(heard, Some(Concerned::Subjects(of(&[10, 20]).into())));
    assert_eq!(texts(&store, 10).await, [told(1, 1, "permit")]);
    for number in 0..3000u16 {
        store.record(vec![consent(None, (number % 200) as u8, &[30], "permit")]).await.unwrap();
    }
    let heard = tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap();
    assert_eq!(heard, Some(Concerned::Anyone));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_commit_of_a_consent_is_durable_whatever_was_asked() {
    let mut site = Site::new();
    let store = site.store();
    store.record(vec![consent(None, 1, &[10], "deny")]).await.unwrap();
    let before = store.epoch_of(&[who(10)]);
    let disk = site.disk.cut(&mut SmallRng::seed_from_u64(3));
    drop(store);
    site.on(disk);
    let store = site.store();
    assert_eq!(texts(&store, 10).await, [told(1, 1, "deny")]);
    assert!(store.epoch_of(&[who(10)]) >= before);
}

/// A Consent that cannot be read is an error, not an older one in its place.
#[tokio::test]
async fn a_damaged_consent_is_not_passed_over() {
    let mut site = Site::new();
    let store = site.store();
    file(&store, consent(None, 1, &[10], "permit")).await;
    file(&store, consent(None, 1, &[10], "deny, deny and deny again")).await;
    file(&store, consent(None, 2, &[20], "permit")).await;
    store.close().await.unwrap();
    let disk = site.disk.copy();
    for path in disk.paths().into_iter().filter(|path| path.extension().is_some_and(|it| it == "seg")) {
        let mut bytes = disk.read_file(&path);
        if let Some(found) = memchr::memmem::find(&bytes, b"deny and deny") {
            bytes[found] ^= 1;
            disk.write_file(&path, bytes);
        }
    }
    site.on(disk);
    let store = site.store();
    assert!(store.consents_of(&[who(10)]).await.unwrap_err().is_damage());
    assert_eq!(texts(&store, 20).await, [told(2, 1, "permit")]);
    file(&store, consent(None, 1, &[10], "deny")).await;
    assert_eq!(texts(&store, 10).await, [told(1, 3, "deny")]);
}

#[tokio::test]
async fn nothing_of_a_consent_is_in_the_index() {
    let mut site = Site::new();
    site.options.encryption_key = Some([7; 32]);
    let store = site.store();
    file(&store, consent(None, 1, &[10], "Everywoman, Eve")).await;
    store.checkpoint().await.unwrap();
    store.close().await.unwrap();
    let index = std::fs::read(site.dir.path().join("index/db")).unwrap();
    assert!(memchr::memmem::find(&index, b"Everywoman").is_none());
    let in_log = |path| memchr::memmem::find(&site.disk.read_file(path), b"Everywoman").is_some();
    assert!(!site.disk.paths().iter().any(|path| in_log(path)), "not even in the log, once it is encrypted");
    assert_eq!(texts(&site.store(), 10).await, [told(1, 1, "Everywoman, Eve")]);
}

/// What is on file of all, versions and all.
async fn everything(store: &Store) -> Vec<(OnFile, Vec<ConsentOnFile>)> {
    let mut all = Vec::new();
    for number in 0..24 {
        let found = store.consents_of(&[who(number)]).await.unwrap();
        all.push((OnFile { epoch: 0, ..found }, store.consent_versions([number; 16]).await.unwrap()));
    }
    all
}

/// Anything that can be said of consents and identities, by a message that may be gone by then.
fn anything(random: &mut SmallRng, messages: &[MessageId]) -> Record {
    let some = |random: &mut SmallRng, most: usize| -> Vec<u8> {
        (0..random.random_range(1..=most)).map(|_| random.random_range(0..24)).collect()
    };
    let message = messages.choose(random).copied().filter(|_| random.random_bool(0.7));
    match random.random_range(0..10) {
        0 => linked(message, &some(random, 3)),
        1 => parted(message, &some(random, 2), &some(random, 2)),
        _ => {
            let text = format!("{:0>400}", random.random_range(0..1000));
            consent(message, random.random_range(0..24), &some(random, 3), &text)
        }
    }
}

/// Retention moves consents and links, messages are replayed, the index is lost: nothing of them changes.
#[tokio::test]
async fn retention_and_rebuilding_leave_consents_and_links_as_they_are() {
    for seed in 0..4 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut site = Site::new();
        site.options.segment_bytes = 64 << 10;
        let mut store = site.store();
        let mut messages = Vec::new();
        for round in 1..6i64 {
            for _ in 0..120 {
                let payload = rand::random::<[u8; 500]>().to_vec();
                let message = Received { at: at(round * 1000), ..message_of(payload) };
                let id = message.id;
                store.accept(message).await.unwrap();
                messages.push(id);
                let mut records = vec![processed(id, &["a"])];
                let filed = random.random_range(0..3);
                records.extend((0..filed).map(|_| anything(&mut random, &messages)));
                let number = store.commit(records).await.unwrap().deliveries[0];
                if random.random_bool(0.9) {
                    store.commit(vec![delivered(number)]).await.unwrap();
                }
            }
            let before = everything(&store).await;
            let report = store.prune(at(round * 1000 - 1)).await.unwrap();
            assert!(round == 1 || report.segments > 0, "{report:?}");
            assert_eq!(everything(&store).await, before, "seed {seed}, round {round}, pruned");
            assert_clean(&store).await;
            if random.random_bool(0.5) {
                store.close().await.unwrap();
                site.lose_index();
                store = site.store();
                assert_eq!(everything(&store).await, before, "seed {seed}, round {round}, rebuilt");
            }
        }
    }
}

#[tokio::test]
async fn what_is_filed_is_carried_once_and_not_again_before_its_time() {
    let mut site = Site::new();
    site.options.segment_bytes = 64 << 10;
    let store = site.store();
    for number in 0..400u16 {
        let key = store.keyed_hash(&number.to_be_bytes());
        let consent = NewConsent { key, subjects: vec![key], body: vec![b'x'; 300].into() };
        file(&store, Record::Consent { message: None, at: at(1), order: Order::default(), consent }).await;
    }
    let first = store.prune(at(500)).await.unwrap();
    assert!(first.segments >= 2, "{first:?}");
    assert_eq!(store.prune(at(-1)).await.unwrap().segments, 0);
    let carried = store.prune(start().checked_sub(jiff::SignedDuration::from_secs(1)).unwrap()).await.unwrap();
    assert_eq!(carried.segments, 0, "what was carried at {} is not older than that", start());
    assert_clean(&store).await;
    let dir = tempfile::tempdir().unwrap();
    store.backup(&dir.path().join("copy")).await.unwrap();
    store.close().await.unwrap();
}
