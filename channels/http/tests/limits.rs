//! Bodies that are too long, too slow, too many or no bodies, and clients that do not play fair.

use std::collections::BTreeSet;

use bytes::Bytes;
use expect_test::{Expect, expect};
use message::Answer;

use super::*;

const HEAD: &str = "POST / HTTP/1.1\r\nHost: ehr\r\nContent-Type: application/fhir+json\r\n";

/// What comes back for a request of this head and body; nothing of it may reach the engine.
async fn check_refused(settings: &str, rest: &str, expected: Expect) {
    let channel = Channel::start(settings, Engine::storing()).await;
    let response = channel.exchange(format!("{HEAD}{rest}").as_bytes()).await;
    assert!(channel.engine.offered().is_empty());
    expected.assert_eq(&Reply::read(&response).print());
    channel.stop().await;
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_it_is_sent() {
    check_refused(
        "max_body_bytes = 1000",
        "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n",
        expect![[r#"
        413
        error too-long: the body is longer than 1000 bytes, the most that this channel takes
    "#]],
    )
    .await;
}

#[tokio::test]
async fn chunks_over_the_limit_are_refused() {
    let chunks = format!("Transfer-Encoding: chunked\r\n\r\n{}", "190\r\n".to_owned() + &"x".repeat(0x190) + "\r\n");
    let rest = chunks.clone() + &chunks[chunks.find("190").unwrap()..].repeat(2) + "0\r\n\r\n";
    check_refused(
        "max_body_bytes = 1000",
        &rest,
        expect![[r#"
        413
        error too-long: the body is longer than 1000 bytes, the most that this channel takes
    "#]],
    )
    .await;
}

/// A client that sends all of it before it reads anything still reads why it was refused.
#[tokio::test]
async fn a_client_that_sends_too_much_comes_to_read_why() {
    let channel = Channel::start("max_body_bytes = \"1MiB\"", Engine::storing()).await;
    let mut stream = channel.connect().await;
    let length = 8 << 20;
    stream.write_all(format!("{HEAD}Content-Length: {length}\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; length]).await.unwrap();
    assert_eq!(Reply::read(&read_to_end(&mut stream).await).status, 413);
    channel.stop().await;
}

#[tokio::test]
async fn a_body_of_fifty_megabytes_is_taken_whole() {
    let channel = Channel::start("", Engine::storing()).await;
    let data = "QUJD".repeat(50 << 18);
    let bundle = Bytes::from(format!(r#"{{"resourceType":"Bundle","data":"{data}"}}"#));
    let mut stream = channel.connect().await;
    let length = bundle.len();
    stream.write_all(format!("{HEAD}Connection: close\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(&bundle).await.unwrap();
    assert_eq!(Reply::read(&read_to_end(&mut stream).await).status, 202);
    assert!(channel.engine.offered()[0].bytes == bundle);
    channel.stop().await;
}

#[tokio::test]
async fn a_chunked_body_is_taken_whole() {
    let channel = Channel::start("", Engine::storing()).await;
    let chunks =
        "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n6;x=y\r\n\":1.0}\r\n0\r\nX-T: 1\r\n\r\n";
    let response = channel.exchange(format!("{HEAD}{chunks}").as_bytes()).await;
    assert_eq!(Reply::read(&response).status, 202);
    assert_eq!(channel.engine.offered()[0].bytes, "{\"a\":1.0}");
    channel.stop().await;
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    check_refused(
        "",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense",
        expect![[r#"
        400
        error incomplete: the body ended early or is badly chunked; nothing of it is kept
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_body_that_falls_silent_times_out() {
    check_refused(
        "idle_timeout = \"50ms\"",
        "Content-Length: 100\r\n\r\n{",
        expect![[r#"
        408
        error timeout: the body did not arrive in time; nothing of it is kept
    "#]],
    )
    .await;
}

/// Each byte comes well within `idle_timeout`, the whole not within `request_timeout`.
#[tokio::test]
async fn a_body_that_trickles_times_out() {
    let channel = Channel::start("request_timeout = \"200ms\"", Engine::storing()).await;
    let mut stream = channel.connect().await;
    stream.write_all(format!("{HEAD}Content-Length: 100000\r\n\r\n").as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let trickle = async {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::future::pending().await
    };
    let mut response = vec![0; 12];
    let answered = async { read.read_exact(&mut response).await.unwrap() };
    tokio::select! {
        _ = answered => {}
        () = trickle => {}
    }
    assert_eq!(response, b"HTTP/1.1 408");
    assert!(channel.engine.offered().is_empty());
    channel.stop().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_hung_up_on() {
    let channel = Channel::start("idle_timeout = \"50ms\"", Engine::storing()).await;
    channel.exchange(b"POST / HTTP/1.1\r\nHost: e").await;
    channel.exchange(b"").await;
    channel.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_in_its_body_leaves_nothing() {
    let channel = Channel::start("", Engine::storing()).await;
    let mut stream = channel.connect().await;
    stream.write_all(format!("{HEAD}Content-Length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await;
    assert!(channel.engine.offered().is_empty());
    channel.stop().await;
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let channel = Channel::start("", Engine::storing()).await;
    let response = channel.exchange(b"\x0bMSH|^~\\&|A|B\r\x1c\r").await;
    assert!(response.starts_with("HTTP/1.1 400") || response.is_empty(), "{response}");
    channel.stop().await;
}

/// Two bodies of 600 KiB do not fit into 1 MiB until the first is on disk.
#[tokio::test]
async fn a_full_intake_says_when_to_try_again() {
    let settings = "max_body_bytes = \"1MiB\"\nmax_bytes_in_flight = \"1MiB\"";
    let channel = Channel::start(settings, Engine::storing().shut()).await;
    let body = " ".repeat(600 << 10);
    let json = "Content-Type: application/json\r\n";
    let first = channel.send("POST", "/", json, &body);
    let second = async {
        channel.engine.wait_for_offers(1).await;
        let refused = channel.send("POST", "/", json, &body).await;
        channel.engine.gate.add_permits(2);
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 202);
    expect![[r#"
        429
        retry-after: 5
        error throttled: the intake is full for the moment; send this again a little later
    "#]]
    .assert_eq(&second.print());
    assert_eq!(channel.send("POST", "/", json, &body).await.status, 202);
    channel.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let channel = Channel::start("max_connections = 1", Engine::storing()).await;
    let mut first = channel.connect().await;
    first.write_all(b"GET /metadata HTTP/1.1\r\nHost: ehr\r\n\r\n").await.unwrap();
    let mut begun = [0; 12];
    first.read_exact(&mut begun).await.unwrap();
    let mut second = channel.connect().await;
    expect![[r#"
        503
        retry-after: 5
        error throttled: there are too many connections; try again a little later
    "#]]
    .assert_eq(&Reply::read(&read_to_end(&mut second).await).print());
    drop(first);
    wait_until_served(&channel).await;
    channel.stop().await;
}

/// Its answer is more than the sockets hold, and it never reads.
#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_hung_up_on() {
    let settings = "max_connections = 1\nidle_timeout = \"100ms\"\nacknowledge = \"delivered\"";
    let engine = Engine::new(|_| {
        let long = Bytes::from(vec![b'{'; 32 << 20]);
        let outcome = Box::pin(std::future::ready(Answer::Done(id(1), Some(long))));
        Ticket { answer: Answer::Stored(id(1)), outcome: Some(outcome) }
    });
    let channel = Channel::start(settings, engine).await;
    let mut deaf = channel.connect().await;
    deaf.write_all(format!("{HEAD}Content-Length: 2\r\n\r\n{{}}").as_bytes()).await.unwrap();
    channel.engine.wait_for_offers(1).await;
    wait_until_served(&channel).await;
    drop(deaf);
    channel.stop().await;
}

#[tokio::test]
async fn many_clients_at_once_are_each_answered_for_their_own() {
    let channel = Channel::start("", Engine::storing()).await;
    let client = |client: usize| {
        let channel = &channel;
        async move {
            let mut stream = channel.connect().await;
            for request in 0..20 {
                let name = format!("{client}-{request}");
                let head = format!("{HEAD}X-Request-Id: {name}\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                stream.write_all(head.as_bytes()).await.unwrap();
                let reply = read_reply(&mut stream).await;
                assert_eq!((reply.status, reply.header("x-request-id")), (202, Some(&*name)));
            }
        }
    };
    futures_util::future::join_all((0..32).map(client)).await;
    let names: BTreeSet<String> = channel
        .engine
        .offered()
        .into_iter()
        .filter_map(|offered| {
            let name = offered.transport_id?;
            (offered.bytes == name).then_some(name)
        })
        .collect();
    assert_eq!(names.len(), 32 * 20);
    channel.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let channel = Channel::start("", Engine::storing()).await;
    let mut stream = channel.connect().await;
    let requests: String =
        (0..50).map(|n| format!("{HEAD}X-Request-Id: {n}\r\nContent-Length: 2\r\n\r\n{{}}")).collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    for n in 0..50 {
        assert_eq!(read_reply(&mut stream).await.header("x-request-id"), Some(&*n.to_string()));
    }
    channel.stop().await;
}

/// One response off a connection that stays open.
async fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap());
    }
    let mut reply = Reply::read(std::str::from_utf8(&head).unwrap());
    let mut body = vec![0; reply.header("content-length").unwrap().parse().unwrap()];
    timeout(DEADLINE, stream.read_exact(&mut body)).await.unwrap().unwrap();
    reply.body = String::from_utf8(body).unwrap();
    reply
}

/// Asks, on new connections, until there is room for one.
async fn wait_until_served(channel: &Channel) {
    let served = async {
        while !is_served(channel).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, served).await.unwrap();
}

async fn is_served(channel: &Channel) -> bool {
    let mut stream = channel.connect().await;
    let request = b"GET /metadata HTTP/1.1\r\nHost: ehr\r\nConnection: close\r\n\r\n";
    let mut status = [0; 12];
    // A connection that is turned away may be reset before it is read.
    stream.write_all(request).await.is_ok() && stream.read_exact(&mut status).await.is_ok() && status.ends_with(b"200")
}
