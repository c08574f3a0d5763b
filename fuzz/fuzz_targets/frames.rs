//! MLLP blocks come out whole and the same, however the network cuts the bytes.
#![no_main]

use channels::mllp::{Block, Deframer};

/// Longest message taken here, in bytes.
const LONGEST: usize = 64;

fn blocks(bytes: &[u8], piece: usize) -> Vec<(Option<Vec<u8>>, u64)> {
    let mut deframer = Deframer::new(LONGEST);
    let mut found = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        deframer.buffer().extend_from_slice(part);
        while let Some(block) = deframer.next_block() {
            found.push(match block {
                Block::Whole(message) => (Some(message.to_vec()), message.len() as u64),
                Block::TooLong { length, .. } => (None, length),
            });
        }
    }
    found
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = blocks(bytes, bytes.len());
    assert!(whole.iter().all(|(message, length)| message.is_some() == (*length <= LONGEST as u64)));
    for piece in [1, 2, 7] {
        assert_eq!(blocks(bytes, piece), whole);
    }
});
