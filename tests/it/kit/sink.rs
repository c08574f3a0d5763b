//! A receiver over MLLP that does as it is told, and keeps what came, in order.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::hl7;
use super::mllp::{framed, read_frame};

/// What becomes of a message that came.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An acknowledgment with this code.
    Code(&'static str),
    /// An acknowledgment of another message, with AA.
    Foreign,
    /// These bytes as they are.
    Raw(Vec<u8>),
    /// The reply, but so much later.
    Late(Duration, Box<Reply>),
    /// Nothing, on a connection that stays open.
    Silence,
    /// The connection is closed.
    Close,
}

/// Decides on the message that came, of how many before it.
type Script = Box<dyn FnMut(&[u8], usize) -> Reply + Send>;

/// A receiver; closed when it is dropped.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    taken: Mutex<Vec<Vec<u8>>>,
    script: Mutex<Script>,
    connections: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
    /// While true, connections are not read from.
    deaf: AtomicBool,
    /// Messages on connections that the peer has ended are not taken.
    strict: AtomicBool,
    /// How many those were.
    abandoned: AtomicUsize,
}

impl Sink {
    /// One that takes everything.
    pub(crate) fn good() -> Self {
        Self::start(|_, _| Reply::Code("AA"))
    }

    /// One that does as `script` says.
    pub(crate) fn start(script: impl FnMut(&[u8], usize) -> Reply + Send + 'static) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same, on an address that it had before.
    pub(crate) fn start_at(address: SocketAddr, script: impl FnMut(&[u8], usize) -> Reply + Send + 'static) -> Self {
        let listener = super::wait_for("the port is free", || TcpListener::bind(address).ok());
        Self::listen(listener, script)
    }

    fn listen(listener: TcpListener, script: impl FnMut(&[u8], usize) -> Reply + Send + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            taken: Mutex::default(),
            script: Mutex::new(Box::new(script)),
            connections: Mutex::default(),
            closed: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            strict: AtomicBool::new(false),
            abandoned: AtomicUsize::new(0),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// What the destination's file says: MLLP, to here. `extra` is added to `[outbound.mllp]`.
    pub(crate) fn outbound(&self, extra: &str) -> String {
        format!("[outbound.mllp]\naddress = \"{}\"\n{extra}\n", self.address)
    }

    /// Does something else from now on.
    pub(crate) fn script(&self, script: impl FnMut(&[u8], usize) -> Reply + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// Does not read from its connections while `deaf`.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.shared.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Takes nothing any more from a connection that the peer has ended. On a busy machine a message may be
    /// read so late that its sender has given it up, and has sent it and others again: that it comes
    /// after those is no fault of the sender's.
    pub(crate) fn leave_what_was_given_up(&self) {
        self.shared.strict.store(true, Ordering::SeqCst);
    }

    /// How many messages were left for that.
    pub(crate) fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }

    /// Everything that came, in order, whatever it was answered.
    pub(crate) fn taken(&self) -> Vec<Vec<u8>> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// The control ids of everything that came, in order.
    pub(crate) fn control_ids(&self) -> Vec<String> {
        self.taken().iter().map(|message| hl7::control_id(message)).collect()
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut conversations = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            if self.closed.load(Ordering::SeqCst) {
                break;
            }
            self.connections.lock().unwrap().push(stream.try_clone().unwrap());
            let shared = Arc::clone(self);
            conversations.push(std::thread::spawn(move || shared.converse(stream)));
        }
        for conversation in conversations {
            conversation.join().unwrap();
        }
    }

    /// Until the peer, or we, end the connection: what fails by that is no matter.
    fn converse(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while self.listens() {
            let Ok(Some(message)) = read_frame(&mut stream, &mut buffer) else { return };
            let reply = {
                // One lock for both: the order kept is the order of the replies.
                let mut script = self.script.lock().unwrap();
                let mut taken = self.taken.lock().unwrap();
                if self.strict.load(Ordering::SeqCst) && is_ended(&stream) {
                    self.abandoned.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                let reply = script(&message, taken.len());
                taken.push(message.clone());
                reply
            };
            if !answer(&mut stream, &message, reply) {
                drop(stream.shutdown(Shutdown::Both));
                return;
            }
        }
    }

    /// Waits while it is deaf. False once it is closed.
    fn listens(&self) -> bool {
        while self.deaf.load(Ordering::SeqCst) && !self.closed.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        !self.closed.load(Ordering::SeqCst)
    }
}

/// True if the peer has ended its side of the connection.
fn is_ended(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !peeked.map_or_else(|error| error.kind() == std::io::ErrorKind::WouldBlock, |bytes| bytes > 0)
}

/// False if the connection is to be closed.
fn answer(stream: &mut TcpStream, message: &[u8], reply: Reply) -> bool {
    let bytes = match reply {
        Reply::Code(code) => framed(&ack(code, &hl7::control_id(message))),
        Reply::Foreign => framed(&ack("AA", "SOMEBODY-ELSE")),
        Reply::Raw(bytes) => bytes,
        Reply::Late(wait, reply) => {
            std::thread::sleep(wait);
            return answer(stream, message, *reply);
        }
        Reply::Silence => {
            // Until the peer gives up.
            let mut rest = [0; 1024];
            while stream.read(&mut rest).is_ok_and(|read| read > 0) {}
            return false;
        }
        Reply::Close => return false,
    };
    stream.write_all(&bytes).is_ok()
}

/// An acknowledgment of `control_id`.
pub(crate) fn ack(code: &str, control_id: &str) -> Vec<u8> {
    let text = if code.ends_with('A') { "" } else { "|the receiver says no" };
    format!("MSH|^~\\&|CLINIC|REGION|||20261102||ACK|K{control_id}|P|2.5.1\rMSA|{code}|{control_id}{text}\r")
        .into_bytes()
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // The last connection, which it does not take.
        drop(TcpStream::connect(self.address));
        for connection in self.shared.connections.lock().unwrap().iter() {
            // It may have ended already.
            drop(connection.shutdown(Shutdown::Both));
        }
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}
