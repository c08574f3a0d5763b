//! An EMR that sends over MLLP, and frames.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};

use super::DEADLINE;
use super::hl7;
use super::running::RUNTIME;

/// Puts a message into its frame.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [b"\x0b", message, b"\x1c\r"].concat()
}

/// Reads one frame; `None` at the end of the connection.
pub(crate) fn read_frame(stream: &mut impl io::Read, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut looked_at = 0;
    loop {
        let from = looked_at.min(buffer.len());
        if let Some(end) = buffer[from..].windows(2).position(|pair| pair == b"\x1c\r") {
            let rest = buffer.split_off(from + end + 2);
            let frame = std::mem::replace(buffer, rest);
            return Ok(Some(frame[1..frame.len() - 2].to_vec()));
        }
        looked_at = buffer.len().saturating_sub(1);
        let mut chunk = [0; 64 << 10];
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

/// One connection of an EMR.
pub(crate) struct Sender {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Sender {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::on(TcpStream::connect(address)?)
    }

    /// The same, as the peer at `from`, another of this machine's addresses.
    pub(crate) fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let stream = RUNTIME.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(address).await?.into_std()
        });
        let stream = stream.unwrap();
        stream.set_nonblocking(false).unwrap();
        Self::on(stream).unwrap()
    }

    fn on(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Itself, to read, and the stream, to write.
    pub(crate) fn split(self) -> (Self, TcpStream) {
        let stream = self.stream.try_clone().unwrap();
        (self, stream)
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next acknowledgment; an error at the end of the connection.
    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        read_frame(&mut self.stream, &mut self.buffer)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends a message and waits for its acknowledgment.
    pub(crate) fn try_send(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.write(&framed(message))?;
        self.read()
    }

    /// Sends a message and returns its acknowledgment.
    #[track_caller]
    pub(crate) fn send(&mut self, message: &[u8]) -> Vec<u8> {
        self.try_send(message).unwrap()
    }

    /// Sends a message that must be taken.
    #[track_caller]
    pub(crate) fn accepted(&mut self, message: &[u8]) {
        let ack = self.send(message);
        assert_eq!(hl7::code(&ack), "AA", "{}", String::from_utf8_lossy(&ack).replace('\r', "\n"));
        assert_eq!(hl7::field(&ack, "MSA", 2), hl7::control_id(message));
    }

    /// True if nothing comes for a moment.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let mut byte = [0];
        let read = self.stream.read(&mut byte);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        if let Ok(1) = read {
            self.buffer.push(byte[0]);
        }
        read.is_err()
    }
}
