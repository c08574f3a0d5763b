//! Cuts an HL7 v2 file at its message, batch and file headers (HL7 v2.5.1 §2.10.3).

use bytes::Bytes;
use message::Fault;

/// The messages in `file`, in order; FHS, BHS, BTS and FTS left out.
pub(super) fn split(file: &Bytes, verify_counts: bool) -> Result<Vec<Bytes>, Fault> {
    let mut splitter = Splitter::default();
    let mut start = 0;
    for line in file.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
        splitter.line(line, start, file, verify_counts)?;
        start += line.len();
    }
    splitter.end(file.len(), file);
    Ok(splitter.messages)
}

#[derive(Default)]
struct Splitter {
    messages: Vec<Bytes>,
    open: Option<usize>,
    in_batch: usize,
}

impl Splitter {
    fn line(&mut self, line: &[u8], at: usize, file: &Bytes, verify_counts: bool) -> Result<(), Fault> {
        let content = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii_start();
        match content.get(..3) {
            Some(b"MSH") => {
                self.end(at, file);
                self.open = Some(at);
                self.in_batch += 1;
            }
            Some(b"FHS" | b"BHS" | b"FTS") => self.end(at, file),
            Some(b"BTS") => {
                self.end(at, file);
                let counted = std::mem::take(&mut self.in_batch);
                if verify_counts {
                    verify(content, counted, at)?
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, at: usize, file: &Bytes) {
        if let Some(start) = self.open.take() {
            self.messages.push(file.slice(start..at));
        }
    }
}

fn verify(trailer: &[u8], counted: usize, at: usize) -> Result<(), Fault> {
    let separator = trailer.get(3).copied().unwrap_or(b'|');
    let declared = trailer.split(|byte| *byte == separator).nth(1).unwrap_or_default().trim_ascii();
    let declared = std::str::from_utf8(declared).ok().and_then(|text| text.parse::<usize>().ok());
    match declared {
        Some(declared) if declared != counted => Err(Fault::new(
            207,
            format!("BTS-1 at byte {at}"),
            format!("the batch holds {counted} messages, and its trailer counts {declared}"),
        )),
        _ => Ok(()),
    }
}
