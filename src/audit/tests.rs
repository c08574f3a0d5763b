//! What the audit proves, and what it survives.

use std::path::PathBuf;

use jiff::Timestamp;
use message::audit::{Event, Kind};
use message::consent::Flags;
use message::{Format, MessageId, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use super::line::Place;
use super::*;
use crate::config::{self, Site};
use crate::store::{
    Accepted, Act, NewDelivery, NewOutput, Outcome, PruneReport, Received, Record, Store, StoreOptions,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A chain of `count` events, with a checkpoint every thousand lines and one at the end if `signed`.
fn chain(count: u64, signed: bool) -> (TempDir, Verifier) {
    let dir = tempfile::tempdir().unwrap();
    let signer = Signer::open(&dir.path().join("audit.key")).unwrap();
    let verifier = Verifier::new(&signer.public()).unwrap();
    let mut chain = Chain::open(&folder(dir.path()), Some(dir.path().join("anchor")), signer).unwrap();
    for sequence in 1..=count {
        let event = Event { text: format!("event {sequence}"), ..Event::new(Uuid::nil(), at(1), Kind::View) };
        chain.append(Place { sequence, ..Place::default() }, event);
        chain.write(at(2)).unwrap();
    }
    if signed {
        chain.sign(at(3)).unwrap();
    }
    (dir, verifier)
}

fn only_file(dir: &TempDir) -> PathBuf {
    files(&folder(dir.path())).unwrap().pop().unwrap()
}

/// What is wrong once the lines were changed by `change`: the first fault.
fn after(count: u64, signed: bool, change: impl Fn(&mut Vec<String>)) -> Option<Fault> {
    let (dir, verifier) = chain(count, signed);
    let path = only_file(&dir);
    let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    verify(&folder(dir.path()), &[], &verifier, &VerifyFrom::Beginning).unwrap().faults.into_iter().next()
}

#[test]
fn a_chain_that_nobody_touched_is_whole() {
    let (dir, verifier) = chain(2500, true);
    let verified =
        verify(&folder(dir.path()), &[dir.path().join("anchor")], &verifier, &VerifyFrom::Beginning).unwrap();
    assert_eq!((verified.lines, verified.checkpoints, verified.signed, verified.faults), (2500, 6, 2500, vec![]));
}

#[test]
fn any_byte_that_is_changed_is_found_and_its_line_named() {
    let (dir, verifier) = chain(5, true);
    let path = only_file(&dir);
    let whole = std::fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let faults = verify(&folder(dir.path()), &[], &verifier, &VerifyFrom::Beginning).unwrap().faults;
        let line = 1 + whole[..place].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(faults.first().map(|fault| fault.seq), Some(line), "byte {place}: {faults:?}");
    }
}

#[test]
fn what_was_taken_out_moved_or_cut_off_is_named() {
    let fault = |count, signed, change: fn(&mut Vec<String>)| after(count, signed, change).unwrap();
    let missing = fault(20, true, |lines| _ = lines.remove(6));
    assert!(missing.seq == 7 && missing.what.contains("lines 7 to 7 are missing"), "{missing:?}");
    let moved = fault(20, true, |lines| lines.swap(6, 7));
    assert_eq!(moved.seq, 7, "{moved:?}");
    let cut = fault(20, true, |lines| lines.truncate(11));
    assert!(cut.seq == 12 && cut.what.contains("cut off: line 20"), "{cut:?}");
    let first = fault(20, true, |lines| _ = lines.remove(0));
    assert_eq!(first.seq, 1, "{first:?}");
    let twice = fault(20, true, |lines| lines.insert(7, lines[6].clone()));
    assert_eq!(twice.seq, 7, "{twice:?}");
    // Behind the last checkpoint the end may be missing: nobody said yet that it was there.
    assert_eq!(after(20, false, |lines| lines.truncate(11)), None);
}

/// What was signed and is not there any more is no crash: the files are left as they are.
#[test]
fn a_chain_that_was_cut_is_not_gone_on_with() {
    for left in [0, 1, 11] {
        let (dir, _) = chain(20, true);
        let path = only_file(&dir);
        let text: String = std::fs::read_to_string(&path).unwrap().split_inclusive('\n').take(left).collect();
        std::fs::write(&path, &text).unwrap();
        let signer = Signer::open(&dir.path().join("audit.key")).unwrap();
        let error = Chain::open(&folder(dir.path()), None, signer).err().unwrap();
        assert!(error.to_string().contains("is not as it was signed"), "{error}");
        assert!(left == 0 || std::fs::read_to_string(&path).unwrap() == text);
    }
}

/// Whoever has no key cannot write the chain anew, not even all of it.
#[test]
fn a_chain_written_anew_is_found_by_its_checkpoints() {
    let (dir, verifier) = chain(10, true);
    let (other, _) = chain(12, true);
    std::fs::copy(only_file(&other), only_file(&dir)).unwrap();
    let last = |dir: &TempDir| {
        let path = only_file(dir);
        let text = std::fs::read_to_string(&path).unwrap().replace("event 9", "event X");
        let lines: Vec<_> = text.lines().filter_map(|text| serde_json::from_str::<line::Line>(text).ok()).collect();
        let mut made: Vec<line::Line> = Vec::new();
        for old in lines {
            let (seq, prev) = made.last().map_or((0, line::NOTHING), |line| (line.seq, line.hash));
            made.push(line::Line::after(seq, prev, old.log, old.event.unwrap()));
        }
        std::fs::write(path, made.iter().map(|line| line.text() + "\n").collect::<String>()).unwrap();
    };
    last(&dir);
    let faults = verify(&folder(dir.path()), &[], &verifier, &VerifyFrom::Beginning).unwrap().faults;
    assert!(faults.iter().any(|fault| fault.seq == 10 && fault.what.contains("another than was signed")), "{faults:?}");
    // With a key of their own, it is the key that is wrong.
    std::fs::copy(checkpoints(&folder(other.path())), checkpoints(&folder(dir.path()))).unwrap();
    let faults = verify(&folder(dir.path()), &[], &verifier, &VerifyFrom::Beginning).unwrap().faults;
    assert!(faults.iter().any(|fault| fault.what.contains("not signed with the key")), "{faults:?}");
    let anchored =
        verify(&folder(dir.path()), &[dir.path().join("anchor")], &verifier, &VerifyFrom::Beginning).unwrap().faults;
    assert!(anchored.iter().any(|fault| fault.what.contains("another than was signed")), "{anchored:?}");
}

#[test]
fn an_older_copy_that_was_gone_on_with_is_found() {
    let (dir, verifier) = chain(10, true);
    std::fs::write(dir.path().join("kept"), std::fs::read(only_file(&dir)).unwrap()).unwrap();
    let go_on = |text: &str| {
        let signer = Signer::open(&dir.path().join("audit.key")).unwrap();
        let mut chain = Chain::open(&folder(dir.path()), None, signer).unwrap();
        let event = Event { text: text.into(), ..Event::new(Uuid::nil(), at(1), Kind::View) };
        chain.append(Place { sequence: 11, ..Place::default() }, event);
        chain.write(at(4)).unwrap();
        chain.sign(at(4)).unwrap();
    };
    go_on("what happened");
    std::fs::copy(dir.path().join("kept"), only_file(&dir)).unwrap();
    let text = std::fs::read_to_string(checkpoints(&folder(dir.path()))).unwrap();
    let all: Vec<&str> = text.lines().collect();
    std::fs::write(checkpoints(&folder(dir.path())), format!("{}\n", all[0])).unwrap();
    go_on("what did not");
    std::fs::write(dir.path().join("anchor"), text).unwrap();
    let faults =
        verify(&folder(dir.path()), &[dir.path().join("anchor")], &verifier, &VerifyFrom::Beginning).unwrap().faults;
    assert!(faults.iter().any(|fault| fault.seq == 11 && fault.what.contains("signed twice")), "{faults:?}");
}

/// Whoever has the key too can write all of it anew: what is elsewhere tells, as it was dropped or as an AuditEvent.
#[test]
fn a_chain_written_anew_and_signed_anew_is_found_by_what_is_elsewhere() {
    let (dir, verifier) = chain(1200, true);
    let signed = std::fs::read_to_string(checkpoints(&folder(dir.path()))).unwrap();
    let day = dir.path().join("anchors/2023-11-14");
    std::fs::create_dir_all(&day).unwrap();
    let found = tail::signed(&folder(dir.path()), 0, 10).unwrap();
    assert_eq!(found.iter().map(|(_, checkpoint, _)| checkpoint.seq).collect::<Vec<_>>(), [1000, 1200]);
    for (text, checkpoint, _) in &found {
        std::fs::write(day.join(format!("{}.json", checkpoint.seq)), format!("{text}\n")).unwrap();
    }
    let observer = observer(&crate::config::EngineConfig::default());
    let entries: Vec<_> = found
        .iter()
        .map(|(text, checkpoint, _)| serde_json::json!({ "resource": checkpoint_event(text, checkpoint).into_r4(&observer) }))
        .collect();
    let bundle = serde_json::json!({ "resourceType": "Bundle", "type": "searchset", "entry": entries });
    std::fs::write(dir.path().join("answer.json"), bundle.to_string()).unwrap();
    let anchors = [dir.path().join("anchors"), dir.path().join("answer.json")];
    let whole = verify(&folder(dir.path()), &anchors, &verifier, &VerifyFrom::Beginning).unwrap();
    assert_eq!((whole.checkpoints, whole.faults), (6, vec![]));
    std::fs::remove_dir_all(folder(dir.path())).unwrap();
    let mut anew =
        Chain::open(&folder(dir.path()), None, Signer::open(&dir.path().join("audit.key")).unwrap()).unwrap();
    for sequence in 1..=1200 {
        let text = if sequence == 7 { "nothing of note".to_owned() } else { format!("event {sequence}") };
        let event = Event { text, ..Event::new(Uuid::nil(), at(1), Kind::View) };
        anew.append(Place { sequence, ..Place::default() }, event);
        anew.write(at(2)).unwrap();
    }
    anew.sign(at(3)).unwrap();
    assert_eq!(
        verify(&folder(dir.path()), &[], &verifier, &VerifyFrom::Beginning).unwrap().faults,
        [],
        "beside it, nothing tells"
    );
    for anchor in anchors {
        let faults = verify(&folder(dir.path()), &[anchor], &verifier, &VerifyFrom::Beginning).unwrap().faults;
        let seqs: std::collections::BTreeSet<u64> = faults.iter().map(|fault| fault.seq).collect();
        assert_eq!(seqs, [1000, 1200].into(), "{faults:?}");
    }
    assert_ne!(std::fs::read_to_string(checkpoints(&folder(dir.path()))).unwrap(), signed);
}

#[test]
fn a_key_of_openssl_is_read_and_a_wrong_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key.pem");
    // An Ed25519 key as `openssl genpkey -algorithm ed25519` writes it (RFC 8410 §10.3).
    let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    std::fs::write(&key, text).unwrap();
    assert_eq!(Signer::open(&key).unwrap().public(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=".to_owned());
    std::fs::write(&key, "no key").unwrap();
    assert!(Signer::open(&key).unwrap_err().to_string().contains("no Ed25519 key"));
    assert!(Verifier::new("c2hvcnQ=").is_err());
}

/// A site with its store, whose log is followed.
struct Followed {
    dir: TempDir,
    site: Site,
}

impl Followed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        config::init(dir.path()).unwrap();
        let site = config::load(dir.path(), &|_| None).unwrap();
        Self { dir, site }
    }

    fn store(&self) -> Store {
        let data = &self.site.engine.data_dir;
        let options =
            StoreOptions { segment_bytes: 64 << 10, ballast_bytes: 0, min_free_bytes: 0, ..StoreOptions::new(data) };
        Store::open(options, at(0)).unwrap().0
    }

    fn follower(&self, store: &Store) -> Follower {
        let clock: channels::Clock = std::sync::Arc::new(|| at(9));
        Follower::open(store, &self.site.engine, &clock).unwrap()
    }

    fn lines(&self, selection: Selection) -> Vec<(u64, Event)> {
        Lines::open(&folder(&self.site.engine.data_dir), selection).unwrap().collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let files = files(&folder(&self.site.engine.data_dir)).unwrap();
        files.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
    }
}

/// A message of the patient with `identifier`, delivered to the archive for research.
async fn disclosed(store: &Store, identifier: &str) -> MessageId {
    let payload = rand::random::<[u8; 400]>().to_vec();
    let id = MessageId::new(at(1), rand::random());
    let received = Received {
        id,
        channel: "first-adt".into(),
        peer: "192.0.2.7:4711".into(),
        at: at(1),
        format: Format::Hl7v2,
        kind: "ADT^A01".into(),
        control_id: None,
        sender: "LAB".into(),
        search: [identifier.to_owned()].into(),
        beside: bytes::Bytes::new(),
        sha256: Sha256::of(&payload),
        payload: payload.into(),
    };
    assert_eq!(store.accept(received).await.unwrap(), Accepted::New);
    let subject = store.keyed_hash(identifier.as_bytes());
    let delivery = NewDelivery {
        destination: "archive".into(),
        output: 0,
        lanes: vec![subject],
        subjects: vec![subject],
        purposes: vec!["HRESCH".into()],
        held: None,
    };
    let outputs = vec![NewOutput { format: Format::Hl7v2, flags: Flags::default(), bytes: None, transaction: None }];
    let outcome = Outcome::Queued { outputs, deliveries: vec![delivery] };
    let processed = Record::Processed { message: id, at: at(2), outcome, steps: Vec::new(), findings: Vec::new() };
    let delivery = store.commit(vec![processed]).await.unwrap().deliveries[0];
    let summary = "written [consent: permit (consent:c1) (1 of 1 entries); policy uk-ndo 0011]".to_owned();
    store.commit(vec![Record::Delivered { delivery, at: at(3), summary, answer: None }]).await.unwrap();
    id
}

#[tokio::test]
async fn what_the_log_tells_is_in_the_chain_by_patient() {
    let followed = Followed::new();
    let store = followed.store();
    let mut follower = followed.follower(&store);
    let message = disclosed(&store, "urn:a|1").await;
    disclosed(&store, "urn:a|2").await;
    let act = Act { message: Some(message), ..Act::new(Kind::View, "uid 1000", "the message as it came") };
    store.commit_synced(vec![Record::Act { at: at(4), act }]).await.unwrap();
    follower.catch_up(&followed.site).await.unwrap();
    let kinds = |lines: Vec<(u64, Event)>| lines.into_iter().map(|(_, event)| event.kind).collect::<Vec<_>>();
    let one = [Kind::Import, Kind::Decision, Kind::Disclosure];
    assert_eq!(kinds(followed.lines(Selection::default())), [&one[..], &one[..], &[Kind::View]].concat());
    let subject = hex(&store.keyed_hash(b"urn:a|1"));
    let of_one = followed.lines(Selection { subjects: Some([subject.clone()].into()), ..Selection::default() });
    assert_eq!(kinds(of_one.clone()), one);
    let (_, told) = of_one.into_iter().next_back().unwrap();
    assert_eq!(
        (told.message, told.destination.as_deref(), told.text.as_str()),
        (Some(message), Some("archive"), "written")
    );
    assert_eq!((told.purposes, told.subjects), (vec!["HRESCH".to_owned()], vec![subject]));
    let bytes = followed.bytes();
    assert!(memchr::memmem::find(&bytes, b"urn:a|1").is_none(), "an identifier is in the chain in clear");
}

/// A repository keeps the events of many engines: what has the same place in two stores has two ids.
#[tokio::test]
async fn an_event_has_the_id_of_its_store_alone() {
    let mut all = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let followed = Followed::new();
        let store = followed.store();
        disclosed(&store, "urn:a|1").await;
        followed.follower(&store).finish(&followed.site).await.unwrap();
        all.extend(followed.lines(Selection::default()).into_iter().map(|(_, event)| event.id));
    }
    assert_eq!(all.len(), 6);
}

/// The machine stops while the chain is being written, at any byte: the rest is told again, in the same words.
#[tokio::test]
async fn what_a_crash_leaves_unfinished_is_told_again() {
    let followed = Followed::new();
    let store = followed.store();
    let mut follower = followed.follower(&store);
    for number in 0..6 {
        disclosed(&store, &format!("urn:a|{number}")).await;
    }
    follower.finish(&followed.site).await.unwrap();
    let signed = followed.bytes().len();
    for number in 6..12 {
        disclosed(&store, &format!("urn:a|{number}")).await;
    }
    follower.catch_up(&followed.site).await.unwrap();
    drop(follower);
    let whole = followed.bytes();
    let path = files(&folder(&followed.site.engine.data_dir)).unwrap().pop().unwrap();
    for cut in (signed..whole.len()).step_by(97) {
        let mut bytes = whole[..cut].to_vec();
        // What was not synced may be zeros, too.
        bytes.resize(bytes.len() + cut % 50, 0);
        std::fs::write(&path, bytes).unwrap();
        let mut follower = followed.follower(&store);
        follower.catch_up(&followed.site).await.unwrap();
        assert!(followed.bytes() == whole, "cut at {cut}");
    }
    let verifier = Verifier::new(&Signer::open(&followed.dir.path().join("data/audit.key")).unwrap().public()).unwrap();
    let verified = verify(&folder(&followed.site.engine.data_dir), &[], &verifier, &VerifyFrom::Beginning).unwrap();
    assert_eq!((verified.lines, verified.faults), (36, vec![]));
}

#[tokio::test]
async fn retention_keeps_what_is_not_told_yet() {
    let followed = Followed::new();
    let store = followed.store();
    let mut follower = followed.follower(&store);
    for number in 0..300 {
        disclosed(&store, &format!("urn:a|{number}")).await;
    }
    assert_eq!(store.prune(at(1000)).await.unwrap(), PruneReport::default());
    follower.finish(&followed.site).await.unwrap();
    assert!(store.prune(at(1000)).await.unwrap().segments > 0);
    assert_eq!(followed.lines(Selection::default()).len(), 900);
    // And what is told is not told again, though the log begins later now.
    drop(follower);
    store.close().await.unwrap();
    let store = followed.store();
    disclosed(&store, "urn:a|300").await;
    followed.follower(&store).finish(&followed.site).await.unwrap();
    assert_eq!(followed.lines(Selection::default()).len(), 903);
}

/// The chain of years is not read from its beginning each time: from a checkpoint on, all is found as it is from there.
#[test]
fn a_proof_may_begin_at_a_checkpoint() {
    let (dir, verifier) = chain(2500, true);
    let from = |from: VerifyFrom| verify(&folder(dir.path()), &[], &verifier, &from).unwrap();
    let read = |found: &Verified| (found.from, found.lines, found.checkpoints, found.faults.len());
    assert_eq!(read(&from(VerifyFrom::Line(999))), (1, 2500, 3, 0), "none was signed before");
    assert_eq!(read(&from(VerifyFrom::Line(1700))), (1000, 1501, 3, 0));
    assert_eq!(read(&from(VerifyFrom::Time(at(2)))), (2000, 501, 2, 0));
    assert_eq!(read(&from(VerifyFrom::Last)), (2500, 1, 1, 0));
    let (path, anchor) = (only_file(&dir), dir.path().join("anchor"));
    let whole = std::fs::read_to_string(&path).unwrap();
    let kept: Vec<String> = std::fs::read_to_string(&anchor).unwrap().lines().map(str::to_owned).collect();
    std::fs::write(&anchor, &kept[1]).unwrap();
    assert_eq!(read(&from(VerifyFrom::Anchor(anchor))), (2000, 501, 3, 0));
    let altered = |line: u64| {
        std::fs::write(&path, whole.replacen(&format!("event {line}\""), "no event\"", 1)).unwrap();
        let seqs = |found: Verified| found.faults.first().map(|fault| fault.seq);
        [VerifyFrom::Beginning, VerifyFrom::Line(1700)].map(|place| seqs(from(place)))
    };
    assert_eq!(altered(500), [Some(500), None], "what is before is not looked at");
    assert_eq!([altered(1000), altered(1001), altered(2500)], [[Some(1000); 2], [Some(1001); 2], [Some(2500); 2]]);
    // A checkpoint that was forged is none to begin with.
    let forged = |seq: u64| {
        std::fs::read_to_string(checkpoints(&folder(dir.path())))
            .unwrap()
            .replace(&format!("{{\"seq\":{seq},"), "{\"seq\":1500,")
    };
    std::fs::write(&path, &whole).unwrap();
    std::fs::write(checkpoints(&folder(dir.path())), forged(2000)).unwrap();
    let found = from(VerifyFrom::Line(1700));
    assert_eq!((found.from, found.faults.first().map(|fault| fault.seq)), (1000, Some(1500)));
    std::fs::write(checkpoints(&folder(dir.path())), kept.join("\n") + "\n").unwrap();
    // Files before it are not read.
    let (first, second) = whole.split_at(whole.match_indices('\n').nth(1499).unwrap().0 + 1);
    std::fs::write(&path, first).unwrap();
    std::fs::write(folder(dir.path()).join(format!("{:020}.jsonl", 1501)), second).unwrap();
    assert_eq!(read(&from(VerifyFrom::Beginning)), (1, 2500, 3, 0));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read(&from(VerifyFrom::Last)), (2500, 1, 1, 0));
    assert_eq!(from(VerifyFrom::Time(at(2))).faults, []);
    assert_eq!(from(VerifyFrom::Line(1700)).faults.first().map(|fault| fault.seq), Some(1000), "it is gone");
    // Cut off behind where it begins.
    std::fs::write(
        folder(dir.path()).join(format!("{:020}.jsonl", 1501)),
        second.lines().take(600).map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
    assert!(from(VerifyFrom::Line(2001)).faults[0].what.contains("cut off"));
    assert!(from(VerifyFrom::Last).faults[0].what.contains("cut off"));
}
