//! Connections that are refused, break, lie or fall silent.

use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::{Expect, expect};

use super::*;

const SHORT: &str = "answer_timeout = \"500ms\"";

async fn check(settings: &str, server: Server, expected: Expect) {
    expected.assert_eq(&print(&server.deliver(settings, TRANSACTION).await));
}

#[tokio::test]
async fn nobody_there_is_down() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let destination = destination(&format!("http://{address}"), "").unwrap();
    expect!["unavailable and down: connection refused"].assert_eq(&print(&deliver(&destination, TRANSACTION).await));
}

/// The server may have read all of it before it hung up.
#[tokio::test]
async fn a_connection_that_ends_without_an_answer_leaves_it_unknown() {
    check("", Server::replying("").await, expect!["unknown: connection closed before message completed"]).await;
}

/// What is not read when the connection is closed resets it.
#[tokio::test]
async fn a_connection_that_is_reset_after_sending_leaves_it_unknown() {
    let server = Server::lying(|mut stream| async move {
        stream.read_exact(&mut [0; 20]).await.unwrap();
    });
    let result = server.await.deliver("", TRANSACTION).await;
    assert!(matches!(result, Err(DeliveryError::Unknown { .. })), "{result:?}");
}

#[tokio::test]
async fn silence_leaves_it_unknown() {
    let server = Server::lying(|mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    });
    check(SHORT, server.await, expect!["unknown: no whole answer in time"]).await;
}

#[tokio::test]
async fn a_body_that_is_not_whole_leaves_a_success_unknown() {
    check(
        "",
        Server::replying("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"resourceType\"").await,
        expect!["unknown: 200 OK, but its body broke off: unexpected end of file"],
    )
    .await;
    check(
        "",
        Server::replying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}").await,
        expect!["unknown: 200 OK, but its body broke off: invalid input parameter"],
    )
    .await;
    let slow = Server::lying(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
        std::future::pending::<()>().await;
    });
    check(SHORT, slow.await, expect!["unknown: 200 OK, but its body broke off: no whole answer in time"]).await;
    check(
        "max_answer_bytes = 50",
        Server::saying(200, &[], TAKEN).await,
        expect!["unknown: 200 OK, but its body is longer than max_answer_bytes, 50"],
    )
    .await;
}

#[tokio::test]
async fn a_body_that_is_not_whole_leaves_a_refusal_a_refusal() {
    check(
        "",
        Server::replying("HTTP/1.1 422 No\r\nContent-Length: 100\r\n\r\n{\"resourceType\"").await,
        expect!["refused: 422 Unprocessable Entity, with something without a Content-Type where an OperationOutcome should be"],
    )
    .await;
    check(
        "max_answer_bytes = 50",
        Server::saying(422, &[], TAKEN).await,
        expect!["refused: 422 Unprocessable Entity, without a body"],
    )
    .await;
}

/// Many chunks, each well within time and limit.
#[tokio::test]
async fn a_body_without_end_is_read_to_the_limit_and_no_further() {
    let server = Server::lying(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        while stream.write_all(b"1000\r\n").await.is_ok() && stream.write_all(&[b' '; 0x1000]).await.is_ok() {
            if stream.write_all(b"\r\n").await.is_err() {
                return;
            }
        }
    });
    check(
        "max_answer_bytes = \"1MiB\"",
        server.await,
        expect!["unknown: 200 OK, but its body is longer than max_answer_bytes, 1048576"],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_http_leaves_it_unknown() {
    check("", Server::replying("MSH|^~\\&|EHR\rMSA|AA|1\r").await, expect!["unknown: invalid HTTP version parsed"])
        .await;
    check("", Server::replying("HTTP/1.1 2x0 OK\r\n\r\n").await, expect!["unknown: invalid HTTP status-code parsed"])
        .await;
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let connections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&connections);
    let server = Server::lying(move |mut stream| {
        *count.lock().unwrap() += 1;
        async move {
            for _ in 0..10 {
                read_request(&mut stream).await;
                let length = TAKEN.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{TAKEN}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let destination = server.destination("");
    for _ in 0..10 {
        deliver(&destination, TRANSACTION).await.unwrap();
    }
    assert_eq!(*connections.lock().unwrap(), 1);
}

/// Each connection takes one request and is closed a moment later, as servers do with idle ones.
/// At worst the next delivery meets it while it closes, and is tried again as any unknown one.
#[tokio::test]
async fn a_connection_that_went_stale_costs_nothing_but_another_try() {
    let server = Server::lying(|mut stream| async move {
        read_request(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{TAKEN}", TAKEN.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let destination = server.destination("");
    let mut delivered = 0;
    while delivered < 20 {
        match deliver(&destination, TRANSACTION).await {
            Ok(_) => delivered += 1,
            Err(DeliveryError::Unknown { .. } | DeliveryError::Unavailable { down: false, .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn no_more_connections_than_the_site_allows() {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let server = Server::lying(|mut stream| async move {
        MOST.fetch_max(OPEN.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        read_request(&mut stream).await;
        // Before the answer: once that is out, the next may connect.
        OPEN.fetch_sub(1, Ordering::SeqCst);
        let length = TAKEN.len();
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{TAKEN}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let destination = server.destination("connections = 3");
    let deliveries = (0..60).map(|_| deliver(&destination, TRANSACTION));
    for result in futures_util::future::join_all(deliveries).await {
        result.unwrap();
    }
    assert!((1..=3).contains(&MOST.load(Ordering::SeqCst)));
}

/// It answers before it has read the body, and reads on, as servers with a limit on bodies do.
#[tokio::test]
async fn a_refusal_before_the_body_is_read_is_heard() {
    let server = Server::lying(|mut stream| async move {
        stream.read_exact(&mut [0; 20]).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let bundle = TRANSACTION.replace("1.00", &"1".repeat(20 << 20));
    expect!["refused: 413 Payload Too Large, without a body"].assert_eq(&print(&server.deliver("", bundle).await));
}
