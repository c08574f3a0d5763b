//! The audit elsewhere: at repositories that take FHIR or syslog, and as checkpoints in a folder. Nothing is missing
//! there, whatever is killed or away meanwhile, and what was rewritten here is found by it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::kit::hl7::update;
use crate::kit::http::Server;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, RUNTIME, Sink, Site, http, tls, wait_until};

/// A site that takes its audit to where `audit` says: the tables of `[audit]`.
fn site(sink: &Sink, audit: &str) -> Site {
    Site::relay(&sink.outbound("")).engine("[log]", &format!("{audit}\n[log]"))
}

/// The ids of all events that happened, by the command line.
fn told(site: &Site) -> BTreeSet<String> {
    let bundle = site.json(&["audit", "list", "--fhir"]);
    let ids =
        bundle["entry"].as_array().unwrap().iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// The events in a repository by their own ids, with how often each is there; checkpoints apart.
fn arrived(fhir: &Fhir) -> (BTreeMap<String, usize>, usize) {
    let (mut events, mut checkpoints) = (BTreeMap::new(), 0);
    for event in fhir.repository.resources("AuditEvent") {
        let kinds = event["subtype"].as_array().unwrap();
        let id = event["meta"]["tag"][0]["code"].as_str().or_else(|| event["id"].as_str()).unwrap().to_owned();
        match kinds.iter().any(|kind| kind["code"] == "checkpoint") {
            true => checkpoints += 1,
            false => *events.entry(id).or_default() += 1,
        }
    }
    (events, checkpoints)
}

/// Messages come, the engine is killed again and again, the repository is away or fails: in the end each event is
/// there once, by POST as by PUT.
#[test]
fn each_event_is_in_the_repository_once_whatever_is_killed() {
    for by in ["create", "update"] {
        let (sink, fhir) = (Sink::good(), Fhir::start());
        let site =
            site(&sink, &format!("[audit.repository]\nurl = \"http://{}\"\nby = \"{by}\"\nbatch = 7\n", fhir.address));
        for round in 0..3 {
            let running = site.start();
            let mut sender = Sender::connect(running.address("in"));
            if round == 1 {
                fhir.behave(json!({ "fail": 503, "times": 2 }));
            }
            for number in 0..20 {
                sender.accepted(&update(&format!("P{}", number % 5), &format!("C{round}-{number}"), "Ada"));
            }
            if round > 0 {
                wait_until("some of it is there", || !arrived(&fhir).0.is_empty());
            }
            running.kill();
        }
        let running = site.start();
        running.wait_deliveries("out", &[("delivered", 60)]);
        running.terminate();
        // The list itself is told of, behind what it lists.
        let told = told(&site);
        let running = site.start();
        wait_until("all of it is there", || told.iter().all(|id| arrived(&fhir).0.contains_key(id)));
        running.terminate();
        let (events, checkpoints) = arrived(&fhir);
        assert!(told.len() > 120, "{by}: {}", told.len());
        let twice: Vec<_> = events.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{by}: {twice:?}");
        assert!(checkpoints > 0, "{by}");
        let event = &fhir.repository.resources("AuditEvent")[0];
        let text = event.to_string();
        assert!(!["Ada", "\"P1\"", "C0-1"].iter().any(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn a_repository_that_is_away_is_seen_to_be_and_gets_what_waited() {
    let sink = Sink::good();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (site, admin) = site(&sink, &format!("[audit.repository]\nurl = \"http://{port}\"\n")).admin();
    let unreached = site.run(&["check", "--connect"]);
    let said = String::from_utf8_lossy(&unreached.stdout).into_owned();
    assert!(unreached.status.code() == Some(1) && said.contains("audit repository"), "{said}");
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let target = || running.status().audit.unwrap().targets.pop().unwrap();
    wait_until("it is seen to be away", || {
        target().state == "down" && target().waiting > 2 && target().oldest.is_some()
    });
    assert!(target().error.unwrap().contains("refused"), "{:?}", target().error);
    let shown = site.cli(&["status"]);
    assert!(shown.contains("repository") && shown.contains("down"), "{shown}");
    let health: Value = serde_json::from_str(&http::get(admin, "/health").body).unwrap();
    assert_eq!((&health["status"], &health["audit"]["targets"][0]["state"]), (&json!("up"), &json!("down")));
    let metrics = http::get(admin, "/metrics").body;
    let waiting = metrics.lines().find(|line| line.starts_with("tributary_audit_waiting{target=\"repository\"}"));
    assert!(waiting.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    running.terminate();
    let fhir = Fhir::start();
    let text = std::fs::read_to_string(site.path("tributary.toml")).unwrap();
    site.write("tributary.toml", text.replace(&port.to_string(), &fhir.address.to_string()));
    site.cli(&["check", "--connect"]);
    let told = told(&site);
    let running = site.start();
    wait_until("what waited is there", || told.iter().all(|id| arrived(&fhir).0.contains_key(id)));
    let target = || running.status().audit.unwrap().targets.pop().unwrap();
    wait_until("nothing waits", || target().waiting == 0 && target().state == "up" && target().error.is_none());
}

/// One event that the repository will not have does not hold up the others, nor is it forgotten; where it takes none, all
/// wait.
#[test]
fn what_a_repository_refuses_for_good_is_kept_aside() {
    let takes = Arc::new(AtomicBool::new(false));
    let takes_any = Arc::clone(&takes);
    let server = Server::start(move |body, _| {
        let judged = body["entry"].as_array().unwrap().iter().map(|entry| {
            let is_start = entry["resource"]["subtype"].as_array().unwrap().iter().any(|kind| kind["code"] == "start");
            let status = if is_start || !takes_any.load(Ordering::SeqCst) { "422" } else { "201" };
            json!({ "response": { "status": status } })
        });
        let entries: Vec<Value> = judged.collect();
        (200, String::new(), json!({ "resourceType": "Bundle", "type": "batch-response", "entry": entries }))
    });
    let sink = Sink::good();
    let site = site(&sink, &format!("[audit.repository]\nurl = \"http://{}\"\n", server.address));
    let running = site.start();
    let target = || running.status().audit.unwrap().targets.pop().unwrap();
    wait_until("it refuses all", || target().failures > 1);
    assert_eq!((target().refused, target().sent, target().state), (0, 0, "down".to_owned()));
    takes.store(true, Ordering::SeqCst);
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    wait_until("it takes the others", || target().state == "up" && target().sent > 2 && target().waiting == 0);
    assert_eq!(target().refused, 1);
    let aside = std::fs::read_to_string(site.path("data/audit/refused-repository.jsonl")).unwrap();
    let aside: Value = serde_json::from_str(aside.trim_end()).unwrap();
    assert!(aside["line"] == 1 && aside["reason"].as_str().unwrap().contains("422"), "{aside}");
    running.terminate();
}

/// A receiver of syslog over TLS: keeps the messages of each connection that ended as it should.
struct Syslog {
    address: SocketAddr,
    messages: Arc<Mutex<Vec<String>>>,
    is_deaf: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Syslog {
    fn start(ca_file: &Path) -> Self {
        let acceptor = tls::acceptor(ca_file);
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (messages, is_deaf) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, deaf) = (Arc::clone(&messages), Arc::clone(&is_deaf));
        let mut tasks = JoinSet::new();
        tasks.spawn_on(
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                    if deaf.load(Ordering::SeqCst) {
                        // It takes some of it, and is gone before it has read the rest.
                        let mut some = [0; 64];
                        drop(stream.read(&mut some).await);
                        stream.get_ref().0.set_zero_linger().unwrap();
                        continue;
                    }
                    let mut bytes = Vec::new();
                    if stream.read_to_end(&mut bytes).await.is_ok() {
                        kept.lock().unwrap().extend(unframed(&bytes));
                        drop(stream.shutdown().await);
                    }
                }
            },
            RUNTIME.handle(),
        );
        Self { address, messages, is_deaf, _tasks: tasks }
    }

    fn settings(&self) -> String {
        format!("[audit.syslog]\naddress = \"localhost:{}\"\nca_file = \"arr.pem\"\n", self.address.port())
    }

    /// The ids of the events that came; those of checkpoints left out.
    fn ids(&self) -> Vec<String> {
        let messages = self.messages.lock().unwrap();
        let events = messages.iter().filter(|message| !message.contains("csd-code=\"checkpoint\""));
        let id = |message: &String| message.split_once("\"urn:uuid:").unwrap().1.split_once('"').unwrap().0.to_owned();
        events.map(id).collect()
    }
}

/// Takes frames apart (RFC 5425 §4.3): each must be as long as it says.
fn unframed(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        let (message, rest) = bytes[space + 1..].split_at(length);
        messages.push(String::from_utf8(message.to_vec()).unwrap());
        bytes = rest;
    }
    assert_eq!(bytes, b"");
    messages
}

#[test]
fn each_event_gets_by_syslog_over_tls_to_a_receiver_that_comes_and_goes() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let syslog = Syslog::start(&site.path("arr.pem"));
    let site = site.engine("[log]", &format!("{}\n[log]", syslog.settings()));
    for round in 0..3 {
        syslog.is_deaf.store(round == 1, Ordering::SeqCst);
        let running = site.start();
        let mut sender = Sender::connect(running.address("in"));
        for number in 0..20 {
            sender.accepted(&update(&format!("P{}", number % 5), &format!("C{round}-{number}"), "Ada"));
        }
        if round == 1 {
            wait_until("it is seen to be deaf", || running.status().audit.unwrap().targets[0].failures > 0);
        }
        running.kill();
    }
    let told = told(&site);
    let running = site.start();
    wait_until("all of it is there", || told.is_subset(&syslog.ids().into_iter().collect()));
    running.wait_deliveries("out", &[("delivered", 60)]);
    site.cli(&["check", "--connect"]);
    running.terminate();
    let messages = syslog.messages.lock().unwrap();
    for message in messages.iter() {
        let (header, text) = message.split_once(" - \u{FEFF}").unwrap();
        assert!(header.starts_with("<85>1 20") && header.contains("Z ehr.example tributary "), "{header}");
        assert!(header.ends_with(" IHE+RFC-3881"), "{header}");
        assert!(text.starts_with("<AuditMessage><EventIdentification ") && text.ends_with("</AuditMessage>"), "{text}");
        assert!(!text.contains("Ada") && !text.contains("\"P1\""), "{text}");
    }
}

#[test]
fn a_receiver_of_another_authority_is_sent_nothing() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let syslog = Syslog::start(&site.path("arr.pem"));
    let other = Syslog::start(&site.path("other.pem"));
    let settings = syslog.settings().replace("arr.pem", "other.pem");
    let site = site.engine("[log]", &format!("{settings}\n[log]"));
    let running = site.start();
    let target = || running.status().audit.unwrap().targets.pop().unwrap();
    wait_until("it is not believed", || target().failures > 0);
    let error = target().error.unwrap();
    assert!(error.contains("TLS: ") && error.to_lowercase().contains("certificate"), "{error}");
    running.terminate();
    assert!(syslog.ids().is_empty() && other.ids().is_empty());
    let refused = site.engine("ca_file = \"other.pem\"", "ca_file = \"none.pem\"").run(&["check"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.status.code() == Some(78) && said.contains("none.pem"), "{said}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// An older copy of all data, key and all, gone on with: the chain is right in itself, and the checkpoints that were
/// dropped elsewhere say what was there before.
#[test]
fn what_was_rewritten_is_found_by_the_checkpoints_elsewhere() {
    let sink = Sink::good();
    let site = site(&sink, "[audit]\nanchors = \"safe\"\n");
    std::fs::create_dir(site.path("safe")).unwrap();
    let happens = |control_id: &str| {
        let running = site.start();
        Sender::connect(running.address("in")).accepted(&update("P1", control_id, "Ada"));
        wait_until("it is delivered", || site.delivery(control_id)["state"] == "delivered");
        running.terminate();
    };
    happens("C1");
    let dropped = || {
        let days = std::fs::read_dir(site.path("safe")).unwrap().map(|day| day.unwrap().path());
        days.flat_map(|day| crate::kit::files_in(&day)).count()
    };
    assert!(dropped() > 0);
    copy(&site.path("data"), &site.path("older"));
    happens("C2");
    let anchors = ["audit", "verify", "--anchors", site.path("safe").to_str().unwrap()].map(str::to_owned);
    let verify = || site.run(&anchors.each_ref().map(String::as_str));
    let whole = verify();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
    std::fs::rename(site.path("data"), site.path("newer")).unwrap();
    copy(&site.path("older"), &site.path("data"));
    happens("C3");
    // Beside it there is nothing that tells.
    let own = site.path("data/audit/checkpoints.jsonl");
    let alone = site.run(&["audit", "verify", "--anchors", own.to_str().unwrap()]);
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stdout));
    let found = verify();
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains("was signed") && said.contains("NOT whole"), "{said}");
}

#[test]
fn a_folder_of_anchors_that_is_away_gets_them_when_it_is_back() {
    let sink = Sink::good();
    let site = site(&sink, "[audit]\nanchors = \"safe\"\n");
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    running.terminate();
    assert!(!site.path("safe").exists(), "a mount that is away is not made");
    std::fs::create_dir(site.path("safe")).unwrap();
    let running = site.start();
    let target = || running.status().audit.unwrap().targets.pop().unwrap();
    wait_until("they are dropped", || target().taken > 0 && target().error.is_none());
    running.terminate();
}
