//! Destinations behind TLS, with a certificate of the site's own authority.

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, QUICK, RUNTIME, Reply, Sink, Site, tls, wait_until};

/// TLS in front of a server in clear text, as `localhost`; closed when it is dropped.
struct Front {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Front {
    /// Writes the certificate of its authority to `ca_file`.
    fn of(server: SocketAddr, ca_file: &Path) -> Self {
        let acceptor = tls::acceptor(ca_file);
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn_on(
            async move {
                let mut conversations = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    conversations.spawn(async move {
                        // A client that does not believe us, or speaks no TLS, is hung up on.
                        let Ok(mut inner) = acceptor.accept(stream).await else { return };
                        let Ok(mut outer) = TcpStream::connect(server).await else { return };
                        drop(tokio::io::copy_bidirectional(&mut inner, &mut outer).await);
                    });
                }
            },
            RUNTIME.handle(),
        );
        Self { address, _tasks: tasks }
    }
}

#[test]
fn a_fhir_server_of_the_sites_own_authority_is_believed_once_that_is_named() {
    let fhir = Fhir::start();
    let site = Site::convert("");
    let front = Front::of(fhir.address, &site.path("ca.pem"));
    let to = |more: &str| {
        let url = format!("https://localhost:{}", front.address.port());
        format!("[outbound.fhir]\nurl = \"{url}\"\n{more}\n{QUICK}[pause]\nprobe_interval = \"100ms\"\n")
    };
    site.set_destination("out", &to(""));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    running.wait_state("out", "down");
    let reason = running.destination("out").reason.unwrap();
    assert!(reason.to_lowercase().contains("certificate"), "{reason}");
    assert_eq!(fhir.repository.requests(), 0, "nothing left for a server that is not believed");
    let unreached = site.run(&["check", "--connect"]);
    assert_eq!(unreached.status.code(), Some(1), "{}", String::from_utf8_lossy(&unreached.stdout));
    site.set_destination("out", &to("ca_file = \"ca.pem\""));
    site.cli(&["check", "--connect"]);
    site.cli(&["reload"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Ada"));
}

#[test]
fn certificates_that_are_not_there_are_a_mistake_of_the_configuration() {
    let site = Site::convert("[outbound.fhir]\nurl = \"https://localhost:1\"\nca_file = \"none.pem\"\n");
    let refused = site.run(&["check"]);
    let said = [refused.stdout, refused.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("none.pem"), "{said}");
    assert_eq!(refused.status.code(), Some(78), "{said}");
    // MLLP knows no TLS: whoever asks for it is told so, and does not send in the clear instead.
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound("ca_file = \"ca.pem\""));
    let refused = site.run(&["check"]);
    let said = [refused.stdout, refused.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("ca_file") && said.contains("out.toml"), "{said}");
}

/// A receiver that expects TLS is sent nothing that it takes, and the message is kept.
#[test]
fn a_receiver_that_expects_tls_loses_nothing() {
    let sink = Sink::start(|_, _| Reply::Code("AA"));
    let site = Site::relay("");
    let front = Front::of(sink.address, &site.path("ca.pem"));
    site.set_destination("out", &format!("[outbound.mllp]\naddress = \"{}\"\n{QUICK}", front.address));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    wait_until("it was tried in vain", || site.delivery("C1")["attempts"].as_u64().unwrap() >= 2);
    assert!(!site.delivery("C1")["reason"].as_str().unwrap().is_empty());
    site.set_destination("out", &format!("{}{QUICK}", sink.outbound("")));
    site.cli(&["reload"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert_eq!(sink.control_ids(), ["C1"]);
}
