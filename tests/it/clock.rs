//! Somebody sets the machine's clock, forwards and backwards: nothing waits longer or shorter for it,
//! and nothing loses its order.
//!
//! The machine's own clock cannot be set for a test, so the engine runs in this process here, with a
//! clock that can; senders and receivers are real sockets as everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tributary::admin::{Desk, Operation, Source, perform};
use tributary::config::{self, Overrides};
use tributary::engine::{Engine, ReplayRequest, Status, clock};
use tributary::store::{DeliveryQuery, MessageQuery, Store, StoreOptions};

use crate::kit::hl7::{control_id, update};
use crate::kit::mllp::Sender;
use crate::kit::{DEADLINE, NEVER, QUICK, RUNTIME, Reply, Sink, Site, wait_until};

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

/// The wall clock of a machine, and by how many seconds somebody has set it wrong.
#[derive(Clone, Default)]
struct Wall(Arc<AtomicI64>);

impl Wall {
    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        clock::now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// An engine in this process.
struct Local {
    engine: Arc<Engine>,
    desk: Desk,
}

impl Local {
    fn start(site: &Site, wall: &Wall) -> Self {
        let dir = site.path("");
        let loaded = config::load(&dir, &|_| None).unwrap();
        let options = StoreOptions {
            segment_bytes: 4 << 20,
            ballast_bytes: 1 << 20,
            min_free_bytes: 16 << 20,
            ..StoreOptions::new(loaded.engine.data_dir.clone())
        };
        let (store, report) = Store::open(options, wall.now()).unwrap();
        assert!(report.damages.is_empty(), "{report:?}");
        let told = wall.clone();
        let engine = RUNTIME.block_on(Engine::start(loaded, store, Arc::new(move || told.now()))).unwrap();
        let desk = Desk::Engine(Arc::clone(&engine), Source { dir, overrides: Overrides::default() });
        Self { engine, desk }
    }

    fn sender(&self) -> Sender {
        let bound = RUNTIME.block_on(self.engine.bound());
        Sender::connect(bound["in"].parse().unwrap())
    }

    fn ask(&self, operation: Operation) -> Value {
        RUNTIME.block_on(perform(&self.desk, operation)).unwrap()
    }

    #[track_caller]
    fn wait_deliveries(&self, expected: &[(&str, u64)]) {
        wait_until(&format!("{expected:?}"), || {
            let status: Status = serde_json::from_value(self.ask(Operation::Status)).unwrap();
            let counts = &status.destinations[0].deliveries;
            let seen: Vec<(&str, u64)> =
                counts.iter().filter(|(_, n)| **n > 0).map(|(state, n)| (&**state, *n)).collect();
            seen == expected
        });
    }

    /// Ends it in order, and proves that nothing is wrong on disk.
    fn stop(self) {
        let report = self.ask(Operation::Verify);
        assert_eq!((&report["damages"], &report["mismatches"]), (&json!([]), &json!([])), "{report:#}");
        RUNTIME.block_on(self.engine.stop(DEADLINE));
        RUNTIME.block_on(self.engine.store().clone().close()).unwrap();
    }
}

/// A receiver that answers AE to this control id so many times.
fn erring(id: &'static str, times: usize) -> Sink {
    let mut left = times;
    Sink::start(move |message, _| {
        let errs = control_id(message) == id && left > 0;
        left -= usize::from(errs);
        Reply::Code(if errs { "AE" } else { "AA" })
    })
}

fn times(sink: &Sink, id: &str) -> usize {
    sink.control_ids().iter().filter(|came| *came == id).count()
}

#[test]
fn a_clock_set_back_makes_no_retry_wait_longer() {
    let sink = erring("C1", 4);
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let wall = Wall::default();
    let local = Local::start(&site, &wall);
    local.sender().accepted(&update("P1", "C1", "Ada"));
    wait_until("it was tried", || times(&sink, "C1") >= 1);
    wall.set(-DAY);
    local.wait_deliveries(&[("delivered", 1)]);
    assert_eq!(times(&sink, "C1"), 5);
    local.stop();
}

#[test]
fn a_clock_set_forwards_makes_no_retry_come_early() {
    let sink = erring("C1", 1);
    let site = Site::relay(&format!("{}{NEVER}", sink.outbound("")));
    let wall = Wall::default();
    let local = Local::start(&site, &wall);
    local.sender().accepted(&update("P1", "C1", "Ada"));
    wait_until("it was tried", || times(&sink, "C1") == 1);
    wall.set(YEAR);
    // Another's message makes the destination look at what is due.
    for n in 2..=5 {
        local.sender().accepted(&update("P2", &format!("C{n}"), "Ben"));
    }
    local.wait_deliveries(&[("delivered", 4), ("queued", 1)]);
    assert_eq!(times(&sink, "C1"), 1, "it is to wait for an hour");
    local.stop();
}

/// What was put off by a clock that ran ahead is due, after a restart with the right time, no later than
/// it would have been.
#[test]
fn a_wait_that_is_on_disk_outlives_a_restart_with_another_time() {
    let sink = erring("C1", 1);
    let site = Site::relay(&format!("{}[retry]\nfirst = \"2s\"\nmax_delay = \"2s\"\n", sink.outbound("")));
    let wall = Wall::default();
    wall.set(YEAR);
    let local = Local::start(&site, &wall);
    local.sender().accepted(&update("P1", "C1", "Ada"));
    local.wait_deliveries(&[("queued", 1)]);
    wait_until("it was tried", || {
        let page = local.ask(Operation::Deliveries(DeliveryQuery { limit: 9, ..DeliveryQuery::default() }));
        page["items"][0]["attempts"] == 1
    });
    local.stop();
    wall.set(0);
    let local = Local::start(&site, &wall);
    local.wait_deliveries(&[("delivered", 1)]);
    let page = local.ask(Operation::Deliveries(DeliveryQuery { limit: 9, ..DeliveryQuery::default() }));
    assert_eq!(page["items"][0]["attempts"], 2, "{page:#}");
    local.stop();
}

#[test]
fn order_ids_and_search_survive_a_clock_that_jumps() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let wall = Wall::default();
    let local = Local::start(&site, &wall);
    let mut sender = local.sender();
    let jumps = [0, YEAR, -YEAR, DAY, -DAY, 0];
    for (n, jump) in (1..).zip(jumps) {
        wall.set(jump);
        sender.accepted(&update("P1", &format!("C{n}"), "Ada"));
        sender.accepted(&update("P1", &format!("C{n}"), "Ada"));
    }
    local.wait_deliveries(&[("delivered", jumps.len() as u64)]);
    let sent: Vec<String> = (1..=jumps.len()).map(|n| format!("C{n}")).collect();
    assert_eq!(sink.control_ids(), sent, "in the order of acceptance, each once");
    local.stop();
    let local = Local::start(&site, &wall);
    let listed = |query: MessageQuery| -> Vec<String> {
        let page = local.ask(Operation::Messages(MessageQuery { limit: 100, ..query }));
        page["items"].as_array().unwrap().iter().map(|it| it["control_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(MessageQuery::default()), sent);
    let from = |at| MessageQuery { from: Some(at), ..MessageQuery::default() };
    assert_eq!(listed(from(clock::now() + Duration::from_secs(12 * 60 * 60))), ["C2", "C4"], "by the times they carry");
    let page = local.ask(Operation::Messages(MessageQuery { limit: 100, ..MessageQuery::default() }));
    let ids: BTreeSet<&str> = page["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), jumps.len());
    local.stop();
}

/// Ids of messages do not rise with their order of acceptance once the clock was set back: a replay that
/// is stopped in the middle must miss none for that.
#[test]
fn a_replay_goes_on_in_the_order_of_acceptance() {
    const COUNT: usize = 12;
    let sink = Sink::start(|_, _| Reply::Code("AR"));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let wall = Wall::default();
    let local = Local::start(&site, &wall);
    let mut sender = local.sender();
    for n in 0..COUNT {
        wall.set(-(n as i64) * DAY);
        sender.accepted(&update(&format!("P{n}"), &format!("C{n}"), "Ada"));
    }
    local.wait_deliveries(&[("dead", COUNT as u64)]);
    sink.script(|_, _| Reply::Code("AA"));
    wall.set(0);
    let select = MessageQuery { states: vec![tributary::store::State::Dead], ..MessageQuery::default() };
    let request =
        ReplayRequest { select, ids: Vec::new(), destination: None, reason: "mended".into(), rate: Some(5.0) };
    local.ask(Operation::Replay(request));
    wait_until("some are replayed", || local.ask(Operation::Replays)[0]["replayed"].as_u64().unwrap() >= 3);
    local.stop();
    let local = Local::start(&site, &wall);
    wait_until("all are replayed", || local.ask(Operation::Replays)[0]["state"] == "done");
    local.wait_deliveries(&[("delivered", COUNT as u64), ("skipped", COUNT as u64)]);
    local.stop();
}
