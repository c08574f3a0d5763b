//! Commands that need no engine, as people and scripts use them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::kit::hl7::update;
use crate::kit::{PROGRAM, Reply, Sink, Site, files_in};

/// The program in a folder, without a site.
fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.current_dir(dir).args(arguments).stdin(Stdio::null()).env_remove("TRIBUTARY_CONFIG");
    command.output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A message with a byte that its character set does not have.
const NO_TEXT: &[u8] = b"MSH|^~\\&|A|B|||2026||ADT^A08|C3|P|2.5.1||||||UNICODE UTF-8\rPID|1||P1||Thornfield\xff^Ada\r";

#[test]
fn convert_writes_what_it_can_and_says_what_it_cannot() {
    let site = Site::new();
    let dir = site.path("");
    site.write("good.hl7", update("P1", "C1", "Ada"));
    site.write("two.hl7", [update("P1", "C2", "Ada"), NO_TEXT.to_vec()].concat());
    site.write("none.hl7", "Thornfield, Ada: no HL7 at all");
    let ended = run_in(&dir, &["convert", "good.hl7", "two.hl7", "none.hl7", "gone.hl7", "--out", "bundles"]);
    assert_eq!(ended.status.code(), Some(1));
    let errors = said(&ended.stderr);
    for reason in ["two.hl7: message 2 of 2: PID", "none.hl7: MSH", "gone.hl7: cannot be read"] {
        assert!(errors.contains(reason), "{reason}: {errors}");
    }
    assert!(!errors.contains("Thornfield"), "{errors}");
    assert_eq!(files_in(&dir.join("bundles")), ["good.json", "two.json"]);
    let bundle: Value = serde_json::from_slice(&std::fs::read(dir.join("bundles/good.json")).unwrap()).unwrap();
    assert_eq!((&bundle["resourceType"], &bundle["type"]), (&"Bundle".into(), &"transaction".into()));
    let reported = run_in(&dir, &["convert", "good.hl7", "--report"]);
    assert_eq!(reported.status.code(), Some(0), "{}", said(&reported.stderr));
    let reported: Value = serde_json::from_slice(&reported.stdout).unwrap();
    assert!(reported["bundle"]["entry"].as_array().unwrap().len() > 2 && reported["findings"].is_array());
}

#[test]
fn send_shows_what_any_receiver_says_and_fails_where_that_is_no() {
    let sink = Sink::start(|_, before| match before {
        0 => Reply::Code("AA"),
        1 => Reply::Code("AE"),
        2 => Reply::Foreign,
        3 => Reply::Raw(b"\x0bno acknowledgment\x1c\r".to_vec()),
        _ => Reply::Close,
    });
    let (site, to) = (Site::new(), sink.address.to_string());
    let dir = site.path("");
    for n in 1..=5 {
        site.write(&format!("{n}.hl7"), update("P1", &format!("C{n}"), "Ada"));
    }
    let send = |file: &str, more: &[&str]| run_in(&dir, &[&["send", file, "--to", &to], more].concat());
    let good = send("1.hl7", &[]);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good.stderr));
    assert!(said(&good.stdout).contains("C1") && said(&good.stdout).contains("AA"));
    assert_eq!(sink.taken(), [update("P1", "C1", "Ada")], "byte by byte");
    let refused = send("2.hl7", &["--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&told[0]["code"], &told[0]["control_id"]), (&"AE".into(), &"C2".into()));
    assert!(told[0]["text"].as_str().unwrap().contains("the receiver says no"), "{told:#}");
    for (file, text) in [("3.hl7", "names another message"), ("4.hl7", "no acknowledgment")] {
        let odd = send(file, &[]);
        assert!(said(&odd.stdout).contains(text), "{file}: {}", said(&odd.stdout));
    }
    let closed = send("5.hl7", &["--timeout", "10s"]);
    assert_eq!(closed.status.code(), Some(1));
    assert!(said(&closed.stderr).contains("message 1 of 1"), "{}", said(&closed.stderr));
    let nobody = run_in(&dir, &["send", "1.hl7", "--to", "localhost"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(said(&nobody.stderr).contains("host and port"), "{}", said(&nobody.stderr));
    assert_eq!(sink.taken().len(), 5);
}

#[test]
fn init_writes_a_site_that_is_good_and_spoils_none() {
    let site = Site::new();
    let dir = site.path("");
    let written = run_in(&dir, &["init", "mine"]);
    assert_eq!(written.status.code(), Some(0), "{}", said(&written.stderr));
    let checked = run_in(&dir, &["check", "-c", "mine"]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked.stdout));
    assert_eq!(run_in(&dir, &["init", "mine"]).status.code(), Some(1), "a folder with a site is left alone");
    let nothing = run_in(&dir, &["status", "-c", "mine"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(said(&nothing.stderr).contains("tributary run"), "{}", said(&nothing.stderr));
}

#[test]
fn shells_are_given_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run_in(Path::new("/"), &["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{}", said(&script.stderr));
        for word in ["replay", "deliveries", "dry-run"] {
            assert!(said(&script.stdout).contains(word), "{shell} does not know {word}");
        }
    }
}

/// Every command and every group of commands says what it is for, and ends with 0.
#[test]
fn every_command_has_help() {
    let help = |path: &[&str]| {
        let shown = run_in(Path::new("/"), &[path, &["--help"]].concat());
        assert_eq!(shown.status.code(), Some(0), "{path:?}");
        said(&shown.stdout)
    };
    let commands = |text: &str| -> Vec<String> {
        let list = text.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
        let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        names
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect()
    };
    let top = commands(&help(&[]));
    assert!(top.len() >= 20, "{top:?}");
    for command in &top {
        let text = help(&[command]);
        assert!(text.lines().next().unwrap().len() > 10, "{command}: {text}");
        for part in commands(&text) {
            let text = help(&[command, &part]);
            assert!(text.lines().next().unwrap().len() > 10, "{command} {part}: {text}");
        }
    }
}
