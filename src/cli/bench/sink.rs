//! A bare MLLP receiver: the far end of a flow, and the limit that an engine is measured against.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use channels::Stop;
use channels::mllp::{Block, CR, Deframer, FS, VT};
use message::hl7v2::Header;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longest message taken.
const MOST: usize = 128 << 20;
const WINDOW: usize = 16 << 10;

/// What the receiver does with a message.
pub(super) enum Verdict {
    /// AA.
    Accept,
    /// AE.
    Err,
    /// Closes the connection without an answer.
    HangUp,
}

/// Takes messages.
pub(super) trait Receiver: Send + Sync + 'static {
    /// Takes one message.
    fn take(&self, message: Bytes) -> impl Future<Output = Verdict> + Send;
}

/// Answers every message on `listener` as `receiver` says, until `stop` fires.
pub(super) async fn serve(listener: TcpListener, receiver: Arc<impl Receiver>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.or(listener.accept()).await {
        while connections.try_join_next().is_some() {}
        if let Ok((stream, _)) = accepted {
            let receiver = Arc::clone(&receiver);
            connections.spawn(async move { converse(stream, &*receiver).await });
        }
    }
    connections.shutdown().await;
}

async fn converse(mut stream: TcpStream, receiver: &impl Receiver) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut deframer = Deframer::new(MOST);
    let mut answers = BytesMut::new();
    loop {
        deframer.buffer().reserve(WINDOW);
        if stream.read_buf(deframer.buffer()).await? == 0 {
            return Ok(());
        }
        while let Some(block) = deframer.next_block() {
            let Block::Whole(message) = block else { return Ok(()) };
            let header = Header::read(message.get(..WINDOW.min(message.len())).unwrap_or_default());
            match receiver.take(message).await {
                Verdict::Accept => acknowledge(&mut answers, "AA", &header.control_id()),
                Verdict::Err => acknowledge(&mut answers, "AE", &header.control_id()),
                Verdict::HangUp => return Ok(()),
            }
        }
        stream.write_all_buf(&mut answers).await?;
    }
}

fn acknowledge(answers: &mut BytesMut, code: &str, control_id: &str) {
    answers.put_u8(VT);
    for part in
        ["MSH|^~\\&|SINK|SINK|||20261102081512||ACK|", control_id, "|P|2.5.1\rMSA|", code, "|", control_id, "\r"]
    {
        answers.put_slice(part.as_bytes());
    }
    answers.put_slice(&[FS, CR]);
}
