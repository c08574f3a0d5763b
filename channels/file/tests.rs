//! Both directions on real folders.

use std::collections::VecDeque;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use expect_test::{Expect, expect};
use message::{Answer, Fault, Format, MessageId, Sha256};
use tempfile::TempDir;

use super::{Inbound, InboundConfig, Outbound, OutboundConfig};
use crate::{Clock, DeliveryError, Inbound as _, Intake, Offered, Outbound as _, Outgoing, Stopper, Ticket};

const ONE: &str = "MSH|^~\\&|EMR|A|||20261124||ADT^A01|M1|P|2.5\rPID|1||1\r";
const TWO: &str = "MSH|^~\\&|EMR|A|||20261124||ADT^A01|M2|P|2.5\rPID|1||2\r";

pub(super) fn inbound_config(folder: impl AsRef<Path>, settings: &str) -> InboundConfig {
    toml::from_str(&format!("folder = '{}'\n{settings}", folder.as_ref().display())).unwrap()
}

pub(super) fn outgoing(bytes: &'static [u8]) -> Outgoing {
    Outgoing {
        message: id(1),
        delivery: 7,
        attempt: 0,
        format: Format::Hl7v2,
        bytes: Bytes::from_static(bytes),
        transaction: None,
        unsigned: None,
        names: vec![
            ("channel", "st-mary".to_owned()),
            ("message_type", "ADT".to_owned()),
            ("trigger_event", "A01".to_owned()),
            ("control_id", "MSG/1".to_owned()),
            ("received", "2026-11-24T10:15:00Z".to_owned()),
        ],
    }
}

fn id(number: u8) -> MessageId {
    MessageId::new(jiff::Timestamp::UNIX_EPOCH, [number; 10])
}

fn clock() -> Clock {
    Arc::new(|| "2026-11-24T10:15:00Z".parse().unwrap())
}

/// An engine that remembers what it was offered and answers as told, else `Stored`.
#[derive(Default)]
struct Engine {
    offered: Mutex<Vec<Offered>>,
    answers: Mutex<VecDeque<Answer>>,
    outcomes: Mutex<VecDeque<Answer>>,
    /// Files to write when the first message is offered, as a sender may do at any moment.
    meanwhile: Mutex<Option<(PathBuf, &'static str)>>,
}

#[async_trait]
impl Intake for Engine {
    async fn offer(&self, offered: Offered) -> Ticket {
        if let Some((path, text)) = self.meanwhile.lock().unwrap().take() {
            std::fs::write(path, text).unwrap();
        }
        let mut all = self.offered.lock().unwrap();
        let earlier = all.iter().position(|earlier| earlier.transport_id == offered.transport_id);
        all.push(offered);
        let stored = || match earlier {
            Some(index) => Answer::Duplicate(id(u8::try_from(index + 1).unwrap())),
            None => Answer::Stored(id(u8::try_from(all.len()).unwrap())),
        };
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(stored);
        let outcome = self.outcomes.lock().unwrap().pop_front();
        Ticket { answer, outcome: outcome.map(|outcome| Box::pin(async move { outcome }) as _) }
    }
}

/// A drop folder, and the engine behind it.
struct Drop {
    dir: TempDir,
    engine: Arc<Engine>,
}

impl Drop {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), engine: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    fn answers(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.engine.answers.lock().unwrap().extend(answers);
        self
    }

    /// Runs the feed until `is_done`, or fails after a while.
    async fn run_until(&self, settings: &str, is_done: impl Fn(&Self) -> bool) {
        let config = inbound_config(self.dir.path(), &format!("every = '5ms'\n{settings}"));
        let inbound = Inbound::open("drop".into(), config, clock()).unwrap();
        let (stopper, stop) = Stopper::new();
        let watching = async {
            while !is_done(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            stopper.stop();
        };
        let both = async { tokio::join!(Box::new(inbound).run(self.engine.clone(), stop), watching) };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("the feed gets there").0.unwrap();
    }

    /// Runs the feed until the drop folder is empty.
    async fn run(&self, settings: &str) {
        self.run_until(&format!("ready = 'renamed'\n{settings}"), |drop| names(drop.dir.path()).is_empty()).await;
    }

    /// What was offered: transport id without the digest, and size.
    fn offered(&self) -> String {
        let offered = self.engine.offered.lock().unwrap();
        let line = |offered: &Offered| {
            let id = offered.transport_id.as_deref().unwrap().split('@').next().unwrap();
            format!("{id} {:?} {} bytes\n", offered.format, offered.bytes.len())
        };
        offered.iter().map(line).collect()
    }

    fn reason(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("rejected").join(format!("{name}.reason.json"))).unwrap()
    }
}

/// The names of the files in a folder, in order; none if there is no folder.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn invalid() -> Answer {
    Answer::Invalid(Fault::new(101, "PID-3".to_owned(), "a patient identifier is required"))
}

fn unavailable() -> Answer {
    Answer::Unavailable { reason: "the disk is nearly full".to_owned(), retry_after: Some(Duration::from_millis(5)) }
}

#[tokio::test]
async fn a_stable_file_is_taken_once_and_moved_to_done() {
    let drop = Drop::new().put("a.hl7", ONE).put("notes.txt", "no message");
    drop.run_until("stable_for = '20ms'", |drop| names(&drop.path("done")).len() == 1).await;
    assert_eq!(names(&drop.path("done")), ["a.hl7"]);
    assert_eq!(names(drop.dir.path()), ["notes.txt"]);
    assert_eq!(drop.offered(), "a.hl7#1 Hl7v2 53 bytes\n");
}

#[tokio::test]
async fn each_message_of_a_batch_is_offered_in_order() {
    let batch = format!("FHS|^~\\&\rBHS|^~\\&\r{ONE}{TWO}BTS|2\rFTS|1\r");
    let drop = Drop::new().put("b.hl7", batch).put("a.hl7", format!("{ONE}{TWO}"));
    drop.run("").await;
    expect![[r#"
        a.hl7#1 Hl7v2 53 bytes
        a.hl7#2 Hl7v2 53 bytes
        b.hl7#1 Hl7v2 53 bytes
        b.hl7#2 Hl7v2 53 bytes
    "#]]
    .assert_eq(&drop.offered());
    assert_eq!(names(&drop.path("done")), ["a.hl7", "b.hl7"]);
}

#[tokio::test]
async fn fhir_is_taken_by_the_file_or_by_the_line() {
    let drop = Drop::new().put("a.JSON", "{\n}").put("b.ndjson", "{\"a\":1}\r\n\n{}\n");
    drop.run("").await;
    expect![[r#"
        a.JSON#1 FhirJson 3 bytes
        b.ndjson#1 FhirJson 7 bytes
        b.ndjson#2 FhirJson 2 bytes
    "#]]
    .assert_eq(&drop.offered());
}

#[tokio::test]
async fn a_refused_message_rejects_its_file_and_names_those_that_were_taken() {
    let drop = Drop::new().put("a.hl7", format!("{ONE}{TWO}")).answers([Answer::Stored(id(1)), invalid()]);
    drop.run("").await;
    assert_eq!(names(&drop.path("rejected")), ["a.hl7", "a.hl7.reason.json"]);
    let digest = Sha256::of(format!("{ONE}{TWO}").as_bytes());
    expect![[r#"
        {
          "summary": "1 of 2 messages refused; the others are taken: correct the refused ones and drop the file again",
          "file": "a.hl7",
          "channel": "drop",
          "rejected": "2026-11-24T10:15:00Z",
          "sha256": "DIGEST",
          "messages": [
            {
              "index": 1,
              "outcome": "stored",
              "message": "00000000-0000-7101-8101-010101010101"
            },
            {
              "index": 2,
              "outcome": "refused",
              "code": 101,
              "location": "PID-3",
              "text": "a patient identifier is required"
            }
          ]
        }
    "#]]
    .assert_eq(&drop.reason("a.hl7").replace(&digest.to_string(), "DIGEST"));
}

#[tokio::test]
async fn a_wrong_count_rejects_the_batch_before_any_message_is_taken() {
    let batch = format!("BHS|^~\\&\r{ONE}BTS|2\r");
    let drop = Drop::new().put("a.hl7", &batch);
    drop.run("").await;
    assert_eq!(drop.offered(), "");
    assert!(drop.reason("a.hl7").contains("BTS-1"), "{}", drop.reason("a.hl7"));
    let drop = drop.put("a.hl7", &batch);
    drop.run("verify_batches = false").await;
    assert_eq!(drop.offered(), "a.hl7#1 Hl7v2 53 bytes\n");
}

#[tokio::test]
async fn a_busy_engine_leaves_the_file_and_it_is_taken_later() {
    let drop = Drop::new().put("a.hl7", format!("{ONE}{TWO}")).answers([Answer::Stored(id(1)), unavailable()]);
    drop.run("").await;
    assert_eq!(names(&drop.path("done")), ["a.hl7"]);
    expect![[r#"
        a.hl7#1 Hl7v2 53 bytes
        a.hl7#2 Hl7v2 53 bytes
        a.hl7#1 Hl7v2 53 bytes
        a.hl7#2 Hl7v2 53 bytes
    "#]]
    .assert_eq(&drop.offered());
}

#[tokio::test]
async fn a_restart_in_the_middle_offers_the_same_ids_again() {
    let drop = Drop::new().put("a.hl7", format!("{ONE}{TWO}")).answers([Answer::Stored(id(1)), unavailable()]);
    drop.run_until("ready = 'renamed'", |drop| drop.engine.offered.lock().unwrap().len() >= 2).await;
    drop.run("").await;
    let offered = drop.engine.offered.lock().unwrap();
    let ids: Vec<_> = offered.iter().map(|offered| offered.transport_id.clone().unwrap()).collect();
    assert!(ids.len() >= 4);
    assert!(ids.iter().step_by(2).all(|id| *id == ids[0]) && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn delivered_waits_for_the_destinations_answer() {
    let drop = Drop::new().put("a.hl7", ONE).put("b.hl7", TWO);
    drop.engine.outcomes.lock().unwrap().extend([Answer::Done(id(1), None), invalid()]);
    drop.run("acknowledge = 'delivered'").await;
    assert_eq!(names(&drop.path("done")), ["a.hl7"]);
    assert_eq!(names(&drop.path("rejected")), ["b.hl7", "b.hl7.reason.json"]);
    assert!(drop.reason("b.hl7").contains(&id(2).to_string()), "it is stored, and named");
}

#[tokio::test]
async fn a_name_that_is_taken_in_done_gets_the_time() {
    let drop = Drop::new().put("a.hl7", ONE);
    drop.run("").await;
    for text in [TWO, ONE] {
        std::fs::write(drop.path("a.hl7"), text).unwrap();
        drop.run("").await;
    }
    let expected = ["a-20261124T101500Z-2.hl7", "a-20261124T101500Z.hl7", "a.hl7"];
    assert_eq!(names(&drop.path("done")), expected);
}

#[tokio::test]
async fn a_file_put_in_the_place_of_the_one_being_taken_is_taken_too() {
    let drop = Drop::new().put("a.hl7", ONE);
    let longer: &'static str = "MSH|^~\\&|EMR|A|||20261124||ADT^A01|M3|P|2.5\rPID|1||3|a longer one\r";
    *drop.engine.meanwhile.lock().unwrap() = Some((drop.path("a.hl7"), longer));
    drop.run("").await;
    assert_eq!(drop.offered(), "a.hl7#1 Hl7v2 53 bytes\na.hl7#1 Hl7v2 66 bytes\n");
    assert_eq!(std::fs::read_to_string(drop.path("done").join("a.hl7")).unwrap(), longer);
}

#[tokio::test]
async fn what_is_no_message_is_rejected_with_a_reason() {
    let drop = Drop::new().put("empty.hl7", "").put("long.hl7", [b'x'; 200]).put("text.hl7", "no message");
    drop.run("max_file_bytes = 100").await;
    assert_eq!(drop.offered(), "");
    assert!(drop.reason("empty.hl7").contains("the file is empty"));
    assert!(drop.reason("text.hl7").contains("a message begins with MSH"));
    assert!(drop.reason("long.hl7").contains("200 bytes long; this channel takes 100"));
}

#[tokio::test]
async fn links_folders_and_hidden_files_stay() {
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("secret"), ONE).unwrap();
    let drop = Drop::new().put(".hidden.hl7", ONE).put("z.hl7", ONE);
    symlink(elsewhere.path().join("secret"), drop.path("link.hl7")).unwrap();
    std::fs::create_dir(drop.path("folder.hl7")).unwrap();
    drop.run_until("ready = 'renamed'", |drop| names(&drop.path("done")).len() == 1).await;
    assert_eq!(drop.offered(), "z.hl7#1 Hl7v2 53 bytes\n");
    assert!(drop.path("link.hl7").exists());
}

#[tokio::test]
async fn a_name_of_odd_bytes_is_taken_as_it_is() {
    use std::os::unix::ffi::OsStrExt;
    let drop = Drop::new();
    let name = std::ffi::OsStr::from_bytes(b"p\xff\n.hl7");
    std::fs::write(drop.dir.path().join(name), ONE).unwrap();
    drop.run("").await;
    assert!(drop.path("done").join(name).exists());
    assert_eq!(drop.offered(), "p%FF%0A.hl7#1 Hl7v2 53 bytes\n");
}

#[tokio::test]
async fn a_marker_goes_with_its_file() {
    let drop = Drop::new().put("a.hl7", ONE).put("a.hl7.ok", "").put("b.hl7", TWO);
    drop.run_until("ready = 'marker'", |drop| names(&drop.path("done")).len() == 1).await;
    assert_eq!(names(drop.dir.path()), ["b.hl7"]);
}

#[tokio::test]
async fn many_files_are_taken_in_rounds_and_at_once() {
    let mut drop = Drop::new();
    for number in 0..30 {
        drop = drop.put(&format!("{number}.hl7"), ONE);
    }
    drop.run("max_files_per_poll = 7\nfiles_at_once = 4\nmax_bytes_in_flight = 100").await;
    assert_eq!(names(&drop.path("done")).len(), 30);
    assert_eq!(drop.engine.offered.lock().unwrap().len(), 30);
}

#[tokio::test]
async fn a_folder_that_goes_away_is_waited_for() {
    let drop = Drop::new();
    let (folder, away) = (drop.path("in"), drop.path("away"));
    let config = inbound_config(&folder, "every = '5ms'\nready = 'renamed'");
    let inbound = Inbound::open("drop".into(), config, clock()).unwrap();
    std::fs::rename(&folder, &away).unwrap();
    let (stopper, stop) = Stopper::new();
    let engine = drop.engine.clone();
    let watching = async {
        std::fs::write(away.join("a.hl7"), ONE).unwrap();
        std::fs::rename(&away, &folder).unwrap();
        while names(&folder.join("done")).is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stopper.stop();
    };
    let both = async { tokio::join!(Box::new(inbound).run(engine, stop), watching) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("it is taken").0.unwrap();
}

#[test]
fn a_feed_cannot_start_where_files_cannot_move() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let open = |settings: &str| Inbound::open("drop".into(), inbound_config(dir.path(), settings), clock());
    assert!(open("done = 'file/below'").unwrap_err().what.starts_with("cannot move files from"));
    assert!(open("rejected = ''").unwrap_err().what.starts_with("files done or rejected cannot stay"));
}

#[track_caller]
fn check_setting(settings: &str, expected: Expect) {
    let error = toml::from_str::<InboundConfig>(&format!("folder = '/drop'\n{settings}")).unwrap_err();
    expected.assert_eq(error.message());
}

#[test]
fn wrong_settings_say_what_is_right() {
    check_setting(
        "pattern = 3",
        expect!["invalid type: integer `3`, expected a file name pattern like \"*.hl7\", or a list of them"],
    );
    check_setting("pattern = '[a'", expect!["error parsing glob '[a': unclosed character class; missing ']'"]);
    check_setting("ready = 'soon'", expect!["unknown variant `soon`, expected one of `stable`, `marker`, `renamed`"]);
}

fn outbound(dir: &TempDir, settings: &str) -> Outbound {
    let config: OutboundConfig = toml::from_str(&format!("folder = '{}'\n{settings}", dir.path().display())).unwrap();
    Outbound::new(config).unwrap()
}

#[tokio::test]
async fn a_delivery_is_one_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let outbound = outbound(&dir, "subfolder = '{channel}/{message_type}'\nname = '{control_id}.{ext}'");
    let receipt = outbound.deliver(&outgoing(ONE.as_bytes())).await.unwrap();
    assert_eq!(receipt.summary, "st-mary/ADT/MSG_1.hl7");
    let folder = dir.path().join("st-mary/ADT");
    assert_eq!(names(&folder), ["MSG_1.hl7"]);
    assert_eq!(std::fs::read_to_string(folder.join("MSG_1.hl7")).unwrap(), ONE);
}

#[tokio::test]
async fn the_same_delivery_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let outbound = outbound(&dir, "");
    for _ in 0..2 {
        outbound.deliver(&outgoing(ONE.as_bytes())).await.unwrap();
    }
    assert_eq!(names(dir.path()), ["2026-11-24T10_15_00Z-MSG_1-7.hl7"]);
}

#[tokio::test]
async fn other_bytes_of_the_same_name_get_a_number_and_keep_it() {
    let dir = tempfile::tempdir().unwrap();
    let outbound = outbound(&dir, "name = 'adt.{ext}'");
    for bytes in [ONE, TWO, ONE, TWO] {
        outbound.deliver(&outgoing(bytes.as_bytes())).await.unwrap();
    }
    assert_eq!(names(dir.path()), ["adt-1.hl7", "adt.hl7"]);
}

#[tokio::test]
async fn other_bytes_of_the_same_name_are_refused_or_replaced_by_choice() {
    let dir = tempfile::tempdir().unwrap();
    outbound(&dir, "name = 'adt'").deliver(&outgoing(ONE.as_bytes())).await.unwrap();
    let refused = outbound(&dir, "name = 'adt'\nexisting = 'refuse'").deliver(&outgoing(TWO.as_bytes())).await;
    assert!(matches!(refused, Err(DeliveryError::Refused(_))), "{refused:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("adt")).unwrap(), ONE);
    outbound(&dir, "name = 'adt'\nexisting = 'overwrite'").deliver(&outgoing(TWO.as_bytes())).await.unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("adt")).unwrap(), TWO);
    assert_eq!(names(dir.path()), ["adt"]);
}

#[tokio::test]
async fn deliveries_at_once_never_take_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let outbound = outbound(&dir, "name = 'adt'\nfsync = false");
    let deliveries = (0..20_u64).map(|number| {
        let outgoing = Outgoing { delivery: number, bytes: number.to_string().into(), ..outgoing(b"") };
        let outbound = &outbound;
        async move { outbound.deliver(&outgoing).await.unwrap() }
    });
    futures_util::future::join_all(deliveries).await;
    assert_eq!(names(dir.path()).len(), 20);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_down() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let config = OutboundConfig { folder: dir.path().join("file/below"), ..outbound_config() };
    let outbound = Outbound::new(config).unwrap();
    for error in [outbound.probe().await.err(), outbound.deliver(&outgoing(b"MSH|")).await.err()] {
        let Some(DeliveryError::Unavailable { reason, down: true, .. }) = error else { panic!("{error:?}") };
        assert!(reason.contains("cannot write"), "{reason}");
    }
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    outbound(&dir, "").probe().await.unwrap();
    let config = OutboundConfig { folder: dir.path().join("not/yet"), ..outbound_config() };
    let told = Outbound::new(config).unwrap().probe().await.unwrap();
    assert!(told.contains("which is made with the first"), "{told}");
    assert!(names(dir.path()).is_empty() && !dir.path().join("not").exists());
}

fn outbound_config() -> OutboundConfig {
    toml::from_str("folder = '/nowhere'").unwrap()
}

#[tokio::test]
async fn an_unreadable_file_stays_and_the_others_are_taken() {
    let drop = Drop::new().put("a.hl7", ONE).put("b.hl7", TWO);
    std::fs::set_permissions(drop.path("a.hl7"), std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(drop.path("a.hl7")).is_ok() {
        return; // Whoever runs this may read everything.
    }
    drop.run_until("ready = 'renamed'\nmax_files_per_poll = 1", |drop| names(&drop.path("done")).len() == 1).await;
    assert_eq!(names(drop.dir.path()), ["a.hl7"]);
}
