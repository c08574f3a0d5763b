//! How the channel ends: what it holds is finished, nothing new is read.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn what_is_held_is_answered_after_stop() {
    let mut channel = Channel::start("", Engine::storing().shut()).await;
    let mut idle = channel.connect().await;
    idle.write_all(b"GET /metadata HTTP/1.1\r\nHost: ehr\r\n\r\n").await.unwrap();
    assert_eq!(idle.read_u8().await.unwrap(), b'H');

    let mut stream = channel.connect().await;
    let request = "POST / HTTP/1.1\r\nHost: ehr\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    channel.engine.wait_for_offers(1).await;
    channel.stopper.stop();

    read_to_end(&mut idle).await;
    let refused = async { while TcpStream::connect(channel.address).await.is_ok() {} };
    timeout(DEADLINE, refused).await.unwrap();
    assert!(channel.running.try_join_next().is_none(), "it waits for what it holds");

    channel.engine.gate.add_permits(1);
    assert_eq!(Reply::read(&read_to_end(&mut stream).await).status, 202);
    channel.stop().await;
}

#[tokio::test]
async fn a_body_that_is_under_way_is_still_taken() {
    let channel = Channel::start("", Engine::storing()).await;
    let mut stream = channel.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: ehr\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: \
                100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    channel.stopper.stop();
    stream.write_all(b"{}").await.unwrap();
    assert_eq!(Reply::read(&read_to_end(&mut stream).await).status, 202);
    channel.stop().await;
}

/// The engine sees its offer dropped, and may not be left with half a message.
#[tokio::test]
async fn a_client_that_hangs_up_before_its_answer_lets_go_of_its_offer() {
    struct Let(Arc<AtomicUsize>);
    impl Drop for Let {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let engine = Engine::new(move |_| {
        let held = Let(Arc::clone(&count));
        let outcome = Box::pin(async move {
            let _held = held;
            std::future::pending().await
        });
        Ticket { answer: message::Answer::Stored(id(1)), outcome: Some(outcome) }
    });
    let channel = Channel::start("acknowledge = \"delivered\"", engine).await;
    let mut stream = channel.connect().await;
    let request = "POST / HTTP/1.1\r\nHost: ehr\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    channel.engine.wait_for_offers(1).await;
    drop(stream);
    let gone = async {
        while dropped.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, gone).await.unwrap();
    channel.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_so() {
    let channel = Channel::start("", Engine::storing()).await;
    let config = toml::from_str(&format!("listen = \"{}\"", channel.address)).unwrap();
    let clock = Arc::new(|| "2026-01-02T03:04:05Z".parse().unwrap());
    let error = Inbound::bind("other".into(), config, clock).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}: is the address this machine's, and the port free?", channel.address)
    );
    channel.stop().await;
}
