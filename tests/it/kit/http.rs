//! HTTP by hand: a client that posts Bundles, and a server whose every byte is the test's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::DEADLINE;

/// An answer's status, head and body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Posts a body, with more header lines, and returns the answer.
pub(crate) fn post(address: SocketAddr, headers: &str, body: &[u8]) -> Answer {
    try_post(address, headers, body).unwrap()
}

/// The same, where the server may be gone.
pub(crate) fn try_post(address: SocketAddr, headers: &str, body: &[u8]) -> std::io::Result<Answer> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n\
         {headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(address, &[head.as_bytes(), body].concat())
}

/// Gets a path.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, head.as_bytes()).unwrap()
}

fn exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A Bundle with one Patient, under an identifier.
pub(crate) fn bundle(identifier: &str, patient: &str, given: &str) -> Vec<u8> {
    let query = format!("Patient?identifier=https://lake.example/mrn|{patient}");
    json!({
        "resourceType": "Bundle",
        "identifier": { "system": "https://lake.example/bundles", "value": identifier },
        "type": "transaction",
        "entry": [{
            "fullUrl": "urn:uuid:7c1e2f0a-5d0b-4d6e-9a55-0c3f3b1a1001",
            "resource": {
                "resourceType": "Patient",
                "identifier": [{ "system": "https://lake.example/mrn", "value": patient }],
                "name": [{ "family": "Marchbanks", "given": [given] }],
            },
            "request": { "method": "PUT", "url": query },
        }],
    })
    .to_string()
    .into_bytes()
}

/// What a scripted server says to a request's body.
type Script = Box<dyn FnMut(&Value, usize) -> (u16, String, Value) + Send>;

/// A server that answers each request as its script says: status, more header lines, body.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// It serves until the tests end.
    pub(crate) fn start(script: impl FnMut(&Value, usize) -> (u16, String, Value) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, script) = (Arc::clone(&requests), Arc::new(Mutex::new(Box::new(script) as Script)));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, &kept, &script));
            }
        });
        Self { address, requests }
    }

    /// The bodies that came, in order.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Value>>, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream);
    while let Some(body) = read_request(&mut reader) {
        let (status, headers, answer) = {
            let (mut kept, mut script) = (kept.lock().unwrap(), script.lock().unwrap());
            let answer = script(&body, kept.len());
            kept.push(body);
            answer
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} Told\r\nContent-Type: application/fhir+json\r\n{headers}Content-Length: {}\r\n\r\n",
            answer.len()
        );
        if reader.get_mut().write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Posts a body and closes the connection without waiting for the answer.
pub(crate) fn post_and_hang_up(address: SocketAddr, body: &[u8]) {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
}
