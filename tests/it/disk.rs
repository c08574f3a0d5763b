//! A full disk: senders hear "later", nothing is lost, and it goes on when there is room again.

use crate::kit::disk::{SmallDisk, fill};
use crate::kit::hl7::{code, update};
use crate::kit::mllp::Sender;
use crate::kit::{QUICK, Running, Sink, Site, http, wait_until};

#[test]
fn a_disk_that_is_nearly_full_gives_naks_and_lets_deliveries_go_on() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    running.wait_messages(&[("delivered", 1)]);
    running.kill();
    let site = site.engine("min_free = \"16MiB\"", "min_free = \"900000GiB\"");
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let message = update("P1", "C2", "Ada");
    wait_until("the store has looked at the disk", || code(&sender.send(&update("P1", "C3", "Ada"))) == "AR");
    assert_eq!(code(&sender.send(&message)), "AR");
    running.wait_idle();
    running.terminate();
    assert!(site.messages_called("C2").is_empty());
    let site = site.engine("min_free = \"900000GiB\"", "min_free = \"16MiB\"");
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&message);
    running.wait_idle();
    assert!(sink.control_ids().contains(&"C2".to_owned()));
    running.terminate();
    site.verify();
}

#[test]
fn a_full_disk_never_gives_a_false_answer_and_works_again_when_there_is_room() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")))
        .engine("min_free = \"16MiB\"", "min_free = \"2MiB\"")
        .engine("segment  = \"4MiB\"", "segment  = \"1MiB\"");
    let Some(disk) = SmallDisk::mount(site.path("data"), "48m") else {
        eprintln!("skipped: this user cannot mount a small disk");
        return;
    };
    let running = site.start();
    let mut emr = Emr { running: &running, sender: None, sent: 0 };
    let filler = disk.path().join("filler");
    let mut accepted: Vec<String> = (0..20).map(|_| emr.next().unwrap()).collect();
    fill(&filler);
    let mut refused = 0;
    wait_until("the disk is found full", || {
        match emr.next() {
            Some(id) => accepted.push(id),
            None => refused += 1,
        }
        refused > 20
    });
    std::fs::remove_file(&filler).unwrap();
    wait_until("there is room again", || {
        let taken = emr.next();
        accepted.extend(taken.clone());
        taken.is_some()
    });
    running.wait_idle();
    let came = sink.control_ids();
    assert!(accepted.iter().all(|id| came.contains(id)), "all that was answered for arrived");
    running.terminate();
    site.verify();
    drop(disk);
}

/// An EMR that sends one message after the other, and connects again when it must.
struct Emr<'a> {
    running: &'a Running<'a>,
    sender: Option<Sender>,
    sent: usize,
}

impl Emr<'_> {
    /// The control id of the next message, if it was taken. Whatever else it is answered must be "not now".
    fn next(&mut self) -> Option<String> {
        self.sent += 1;
        let id = format!("C{}", self.sent);
        if self.sender.is_none() {
            self.sender = self.running.address_if_open("in").and_then(|address| Sender::try_connect(address).ok());
        }
        let answer = self.sender.as_mut()?.try_send(&update(&format!("P{}", self.sent % 7), &id, "Ada"));
        match answer.map(|ack| code(&ack)).as_deref() {
            Ok("AA") => return Some(id),
            Ok("AR") => {}
            Ok(other) => panic!("{other}"),
            Err(_) => self.sender = None,
        }
        None
    }
}

#[test]
fn ready_says_when_the_store_takes_nothing() {
    let sink = Sink::good();
    let (site, port) = Site::relay(&sink.outbound("")).admin();
    let running = site.start();
    assert_eq!(http::get(port, "/health").status, 200);
    wait_until("it is ready", || http::get(port, "/ready").status == 200);
    running.terminate();
    let site = site.engine("min_free = \"16MiB\"", "min_free = \"900000GiB\"");
    let _running = site.start();
    wait_until("it is not ready", || http::get(port, "/ready").status == 503);
    assert_eq!(http::get(port, "/health").status, 200);
}
