//! No value of a message is where operators and machines look: logs, metrics, status.

use std::collections::BTreeSet;

use crate::kit::hl7::{adt, merge};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Reply, Sink, Site, TO_FHIR, http, wait_until};

/// What a message of ours says of its patient, and nothing else does.
const VALUES: [&str; 14] = [
    "MRN-7781423",
    "Thornfield",
    "Wilhelmina",
    "Ashcombe",
    "Larkspur",
    "Willowmere",
    "5550117",
    "19710423",
    "900-00-0017",
    "juniper.t@example.org",
    "Penicillin-Anaphylaxis",
    "haemolysed-sample",
    "73.4512",
    "VISIT-40017",
];

/// A result with every one of them.
fn result(control_id: &str, patient: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|MERIDIAN|ST-MARY|TRIBUTARY|REGION|20261102081512-0600||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r\
         PID|1||{patient}^^^ST-MARY^MR~900-00-0017^^^USSSA^SS||Thornfield^Wilhelmina||19710423|F|||17 Larkspur Lane^^Willowmere\
         ||^PRN^PH^^1^312^5550117~^NET^Internet^juniper.t@example.org||||||||||Ashcombe\r\
         PV1|1|I|||||||||||||||||VISIT-40017^^^ST-MARY^VN\r\
         ORC|RE|P7001^MERIDIAN|F26-9001^ASSAY\r\
         OBR|1|P7001^MERIDIAN|F26-9001^ASSAY|24323-8^Panel^LN|||20261102091500-0600\r\
         OBX|1|NM|2345-7^Glucose^LN||73.4512|mg/dL|||||F\r\
         OBX|2|ST|8661-1^Complaint^LN||Penicillin-Anaphylaxis||||||F\r\
         NTE|1|L|haemolysed-sample\r"
    )
    .into_bytes()
}

#[test]
fn no_value_of_a_message_leaves_the_payload() {
    let fhir = Fhir::start();
    let sink = Sink::start(|_, before| match before % 4 {
        0 => Reply::Code("AE"),
        1 => Reply::Close,
        // An answer that repeats what it was sent.
        2 => {
            Reply::Raw(b"\x0bMSH|^~\\&|C|R|||2026||ACK|K|P|2.5.1\rMSA|AR|X|no Thornfield, Wilhelmina\r\x1c\r".to_vec())
        }
        _ => Reply::Code("AR"),
    });
    let (site, admin) = Site::new().admin();
    let site = site
        .engine("level  = \"info,tributary=debug,channels=debug\"", "level = \"debug\"")
        .destination("fhir", &format!("{}{QUICK}", fhir.outbound("")))
        .destination("out", &format!("{}{QUICK}", sink.outbound("ack_timeout = \"300ms\"")))
        .destination("files", "[outbound.file]\nfolder = \"files\"\n");
    let routes = "[[route]]\nto = [\"fhir\", \"files\"]\npurpose = \"TREAT\"\n\
                  [[route]]\nto = \"out\"\npurpose = \"HPAYMT\"\ncontent = \"original\"\n\
                  [[route]]\nto = \"files\"\npurpose = \"HRESCH\"\n";
    site.set_channel("in", &format!("purposes = [\"TREAT\", \"HPAYMT\"]\n{MLLP_IN}{TO_FHIR}{routes}"));
    site.set_channel("web", &format!("{HTTP_IN}[[route]]\nto = \"fhir\"\npurpose = \"TREAT\"\n"));
    site.set_channel(
        "drop",
        &format!("[inbound.file]\nfolder = \"drop\"\nready = \"renamed\"\nevery = \"50ms\"\n{TO_FHIR}{routes}"),
    );
    fhir.behave(serde_json::json!({ "fail": 500, "times": 1 }));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&result("C1", "MRN-7781423"));
    sender.accepted(&result("C1", "MRN-7781423"));
    // Refused and odd ones: the reasons must not quote them.
    for odd in [
        result("C1", "MRN-7781424"),
        result("C2", "MRN-7781423\u{1}^Thornfield"),
        String::from_utf8(result("C3", "MRN-7781423")).unwrap().replace("19710423", "Thornfield").into_bytes(),
        String::from_utf8(result("C4", "MRN-7781423")).unwrap().replace("|NM|", "|XX-Ashcombe|").into_bytes(),
        String::from_utf8(result("C5", "MRN-7781423")).unwrap().replace("73.4512", "Wilhelmina").into_bytes(),
        String::from_utf8(result("C6", "MRN-7781423")).unwrap().replace("|2.5.1\r", "|Thornfield\r").into_bytes(),
        b"PID|1||MRN-7781423||Thornfield^Wilhelmina\r".to_vec(),
        adt("A01", "MRN-7781423", "C7", "Wilhelmina", ""),
        merge("MRN-7781423", "MRN-7781424", "C8"),
        [result("C9", "MRN-7781423"), b"OBX|3|ST|x||Larkspur\xff\xfe\r".to_vec()].concat(),
    ] {
        sender.send(&odd);
    }
    sender.write(b"Thornfield Wilhelmina 19710423\x0b").unwrap();
    drop(sender);
    let web = running.address("web");
    let bundle = http::bundle("B1", "MRN-7781423", "Wilhelmina");
    assert_eq!(http::post(web, "", &bundle).status, 202);
    let broken = String::from_utf8(bundle).unwrap().replace("\"Marchbanks\"", "Thornfield");
    assert_eq!(http::post(web, "", broken.as_bytes()).status, 400);
    let wrong = String::from_utf8(http::bundle("B2", "MRN-7781423", "Wilhelmina")).unwrap();
    http::post(web, "", wrong.replace("\"Patient\"", "\"Thornfield\"").as_bytes());
    site.write("data/drop/.a.hl7", [result("D1", "MRN-7781423"), b"junk Thornfield\r".to_vec()].concat());
    std::fs::rename(site.path("data/drop/.a.hl7"), site.path("data/drop/a.hl7")).unwrap();
    wait_until("the file is taken", || {
        ["done", "rejected"].iter().any(|folder| site.path(&format!("data/drop/{folder}/a.hl7")).exists())
    });
    running.wait_idle();
    let looks = [
        ("metrics", http::get(admin, "/metrics").body),
        ("ready", http::get(admin, "/ready").body),
        ("status", site.cli(&["status"])),
        ("status --json", site.cli(&["--json", "status"])),
        ("messages list", site.cli(&["messages", "list"])),
        ("messages list --json", site.cli(&["--json", "messages", "list"])),
        ("deliveries list", site.cli(&["deliveries", "list"])),
        ("deliveries list --json", site.cli(&["--json", "deliveries", "list"])),
        ("dead list", site.cli(&["dead", "list"])),
        ("lineage", site.cli(&["lineage", site.message("C7")["message"]["id"].as_str().unwrap()])),
        ("verify", site.cli(&["verify"])),
    ];
    assert!(looks[0].1.contains("tributary_messages_received_total"), "{}", looks[0].1);
    running.terminate();
    let logs = site.logs();
    assert!(logs.lines().count() > 50);
    assert!(logs.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "each line is JSON");
    for (what, text) in looks.iter().map(|(what, text)| (*what, text)).chain([("the log", &logs)]) {
        check_silent(what, text);
    }
    // Nor in the index.
    for entry in std::fs::read_dir(site.path("data")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && ["wal", "big", "files", "drop"].contains(&name.as_str()) {
            continue;
        }
        for file in walk(&path) {
            let bytes = std::fs::read(&file).unwrap();
            check_silent(&file.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
    }
}

#[track_caller]
fn check_silent(what: &str, text: &str) {
    let mut found = BTreeSet::new();
    for value in VALUES.iter().chain(&["MRN-7781424", "Marchbanks"]) {
        if let Some(line) = text.lines().find(|line| line.contains(value)) {
            let at = line.find(value).unwrap();
            found.insert(format!("{value}: {}", line.get(at.saturating_sub(300)..at + value.len()).unwrap_or(line)));
        }
    }
    assert!(found.is_empty(), "{what} has {found:#?}");
}

fn walk(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries.flat_map(|entry| walk(&entry.unwrap().path())).collect()
}
