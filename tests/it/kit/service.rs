//! A service that the engine asks: it answers as it is told, hangs, breaks off, and can come to an address where nobody
//! was.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What it says to a request: its target, and its body where it has one.
type Says = Box<dyn Fn(&str, &Value) -> (u16, String, Value) + Send>;

/// How it behaves.
enum Behaviour {
    /// Status, more header lines, body.
    Answers(Says),
    /// It reads, and says nothing.
    Hangs,
    /// It closes every connection.
    BreaksOff,
}

/// A service on a real socket, for the length of the test run.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Service {
    /// An address where nobody is.
    pub(crate) fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// One on a free port.
    pub(crate) fn start(says: impl Fn(&str, &Value) -> (u16, String, Value) + Send + 'static) -> Self {
        Self::at(Self::nobody(), says)
    }

    /// One at `address`.
    pub(crate) fn at(
        address: SocketAddr,
        says: impl Fn(&str, &Value) -> (u16, String, Value) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let behaviour = Arc::new(Mutex::new(Behaviour::Answers(Box::new(says))));
        let asked = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let (shared, seen) = (Arc::clone(&behaviour), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, seen) = (Arc::clone(&shared), Arc::clone(&seen));
                std::thread::spawn(move || drop(serve(stream, &shared, &seen)));
            }
        });
        Self { address, behaviour, asked }
    }

    /// Says something else from now on.
    pub(crate) fn says(&self, says: impl Fn(&str, &Value) -> (u16, String, Value) + Send + 'static) {
        *self.behaviour.lock().unwrap() = Behaviour::Answers(Box::new(says));
    }

    /// Says nothing from now on.
    pub(crate) fn hangs(&self) {
        *self.behaviour.lock().unwrap() = Behaviour::Hangs;
    }

    /// Closes every connection from now on.
    pub(crate) fn breaks_off(&self) {
        *self.behaviour.lock().unwrap() = Behaviour::BreaksOff;
    }

    /// What it was asked: targets and bodies, in order.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

/// One request of a connection.
fn serve(
    mut stream: TcpStream,
    behaviour: &Mutex<Behaviour>,
    asked: &Mutex<Vec<(String, Value)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if target.is_empty() {
            target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    asked.lock().unwrap().push((target.clone(), body.clone()));
    let answer = match &*behaviour.lock().unwrap() {
        Behaviour::Answers(says) => Some(says(&target, &body)),
        Behaviour::Hangs => None,
        Behaviour::BreaksOff => return Ok(()),
    };
    let Some((status, headers, body)) = answer else {
        // Until whoever asked has waited for long enough.
        return std::io::copy(&mut reader, &mut std::io::sink()).map(drop);
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())
}
