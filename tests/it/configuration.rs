//! Configurations that change under a running engine, and those that cannot be used.

use std::process::Stdio;

use crate::kit::hl7::{code, update};
use crate::kit::mllp::{Sender, framed};
use crate::kit::{MLLP_IN, QUICK, Reply, Running, Sink, Site, TO_OUT, wait_until};

fn send(running: &Running<'_>, channel: &str, control_id: &str) {
    Sender::connect(running.address(channel)).accepted(&update("P1", control_id, "Ada"));
}

#[test]
fn a_hang_up_adds_changes_and_removes_channels() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let address = running.address("in");
    send(&running, "in", "C1");
    site.set_channel("more", &format!("{MLLP_IN}{TO_OUT}"));
    let nothing = "[[route]]\nto = \"out\"\npurpose = \"TREAT\"\nwhen = \"MSH-9.1 = 'ORU'\"\n";
    site.set_channel("in", &format!("{MLLP_IN}{nothing}"));
    let planned = site.cli(&["plan"]);
    assert!(planned.contains("more") && planned.contains("in"), "{planned}");
    running.signal("HUP");
    wait_until("the new channel is there", || running.status().channels.len() == 2);
    send(&running, "more", "C2");
    wait_until("the changed one is exchanged", || site.logs().contains("\"change\":\"changed\""));
    send(&running, "in", "C3");
    running.wait_messages(&[("delivered", 2), ("filtered", 1)]);
    std::fs::remove_file(site.path("channels/more.toml")).unwrap();
    running.signal("HUP");
    wait_until("it is gone", || running.channel("more").0 == "removed");
    assert_ne!(running.address("in"), address, "port 0 gave another");
}

#[test]
fn what_has_not_changed_is_not_disturbed_by_a_reload() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("P1", "C1", "Ada"));
    site.set_channel("more", &format!("{MLLP_IN}{TO_OUT}"));
    site.cli(&["reload"]);
    sender.accepted(&update("P1", "C2", "Ada"));
    running.wait_messages(&[("delivered", 2)]);
}

#[test]
fn a_broken_configuration_leaves_the_old_one_in_force() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    site.set_channel("in", "[inbound.mllp]\nlisen = \"127.0.0.1:0\"\n");
    running.signal("HUP");
    wait_until("the log says so", || site.logs().contains("the old configuration goes on"));
    sender.accepted(&update("P1", "C1", "Ada"));
    running.wait_messages(&[("delivered", 1)]);
    let refused = site.run(&["check"]);
    assert_eq!(refused.status.code(), Some(78));
}

#[test]
fn status_answers_while_a_channel_is_drained() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let held = format!("{MLLP_IN}acknowledge = \"delivered\"\n{TO_OUT}");
    site.set_channel("in", &held);
    let running = site.start();
    sink.set_deaf(true);
    let mut sender = Sender::connect(running.address("in"));
    sender.write(&framed(&update("P1", "C1", "Ada"))).unwrap();
    wait_until("it is under way", || running.destination("out").in_flight == 1);
    site.set_channel("in", &format!("description = \"another\"\n{held}"));
    // The reload waits for the answer that the channel owes.
    let reload = site.command(&["reload"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the channel is drained", || running.status().exchanging);
    let status = running.status();
    assert_eq!((&*status.channels[0].state, status.destinations[0].in_flight), ("open", 1));
    assert!(site.cli(&["status"]).contains("exchanged"));
    sink.set_deaf(false);
    assert_eq!(code(&sender.read().unwrap()), "AA");
    let reloaded = reload.wait_with_output().unwrap();
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    assert!(!running.status().exchanging);
    send(&running, "in", "C2");
}

#[test]
fn a_port_in_use_is_rolled_back_and_taken_once_it_is_free() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    site.set_channel("in", &format!("[inbound.mllp]\nlisten = \"{address}\"\n{TO_OUT}"));
    let refused = site.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(running.channel("in").0, "open");
    assert_ne!(running.address("in"), address);
    send(&running, "in", "C1");
    drop(taken);
    site.cli(&["reload"]);
    assert_eq!(running.address("in"), address);
    send(&running, "in", "C2");
    running.wait_messages(&[("delivered", 2)]);
}

#[test]
fn a_channel_that_cannot_open_at_the_start_stops_the_start() {
    let sink = Sink::good();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let site = Site::relay(&sink.outbound(""));
    site.set_channel("in", &format!("[inbound.mllp]\nlisten = \"{address}\"\n{TO_OUT}"));
    let ended = site.run(&["run"]);
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("in.toml") && said.contains(&address.port().to_string()), "{said}");
}

#[test]
fn a_bad_configuration_ends_with_78_and_says_everything_at_once() {
    let site = Site::relay("[outbound.mllp]\naddres = \"127.0.0.1:1\"\n");
    site.set_channel("in", "[inbound.mllp]\nlisen = \"127.0.0.1:0\"\n");
    for command in ["run", "check", "status"] {
        let ended = site.run(&[command]);
        assert_eq!(ended.status.code(), Some(78), "{command}");
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("lisen") && said.contains("did you mean `listen`?"), "{said}");
        assert!(said.contains("addres") && said.contains("destinations/out.toml"), "{said}");
    }
}

#[test]
fn two_engines_do_not_share_a_data_directory() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let second = site.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    send(&running, "in", "C1");
    running.wait_messages(&[("delivered", 1)]);
}

#[test]
fn a_changed_destination_takes_what_waits() {
    let (old, new) = (Sink::start(|_, _| Reply::Code("AE")), Sink::good());
    let unlimited = "[retry.attempts]\nerred = \"unlimited\"\n";
    let site = Site::relay(&format!("{}{QUICK}{unlimited}", old.outbound("")));
    let running = site.start();
    send(&running, "in", "C1");
    wait_until("the old one is tried", || !old.taken().is_empty());
    site.set_destination("out", &format!("{}{QUICK}{unlimited}", new.outbound("")));
    site.cli(&["reload"]);
    running.wait_messages(&[("delivered", 1)]);
    assert_eq!(new.control_ids(), ["C1"]);
}

#[test]
fn a_removed_destination_keeps_its_queue_until_it_is_back() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    site.cli(&["destinations", "pause", "out", "--reason", "wait"]);
    send(&running, "in", "C1");
    running.wait_deliveries("out", &[("queued", 1)]);
    let file = std::fs::read_to_string(site.path("destinations/out.toml")).unwrap();
    std::fs::remove_file(site.path("destinations/out.toml")).unwrap();
    site.set_destination("other", &sink.outbound(""));
    site.set_channel("in", &format!("{MLLP_IN}{}", TO_OUT.replace("\"out\"", "\"other\"")));
    site.cli(&["reload"]);
    assert_eq!(running.destination("out").state, "removed");
    assert_eq!(running.destination("out").deliveries["queued"], 1);
    site.write("destinations/out.toml", file);
    site.cli(&["reload"]);
    site.cli(&["destinations", "resume", "out"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
}

#[test]
fn a_channel_whose_tests_fail_is_not_put_into_force() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let test =
        "[[test]]\nname = \"an update goes out\"\nsend = \"../update.hl7\"\nexpect = { ack = \"AA\", to = \"out\" }\n";
    site.write("update.hl7", update("P9", "T1", "Test"));
    site.set_channel("in", &format!("{MLLP_IN}{TO_OUT}{test}"));
    site.cli(&["test"]);
    let running = site.start();
    let nothing = "[[route]]\nto = \"out\"\npurpose = \"TREAT\"\nwhen = \"MSH-9.1 = 'ORU'\"\n";
    site.set_channel("in", &format!("{MLLP_IN}{nothing}{test}"));
    let tested = site.run(&["test"]);
    assert_eq!(tested.status.code(), Some(1));
    let said = String::from_utf8(tested.stdout).unwrap();
    assert!(said.contains("FAIL  an update goes out") && said.contains("expected  out"), "{said}");
    running.signal("HUP");
    wait_until("the log says so", || site.logs().contains("1 of its 1 tests fail: `an update goes out`"));
    send(&running, "in", "C1");
    running.wait_messages(&[("delivered", 1)]);
    site.set_channel("in", &format!("{MLLP_IN}{nothing}"));
    site.cli(&["reload"]);
    send(&running, "in", "C2");
    running.wait_messages(&[("delivered", 1), ("filtered", 1)]);
}
