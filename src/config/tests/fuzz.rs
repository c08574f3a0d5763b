//! No file, however broken, makes the loader panic or lose its way.

use proptest::prelude::*;

use super::{GOOD, env, load_in};
use crate::config::load;

/// One edit that a person or a bad disk makes.
#[derive(Clone, Debug)]
enum Edit {
    Replace(usize, u8),
    Insert(usize, String),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let fragment = prop_oneof![
        Just("[".to_owned()),
        Just("]]".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("'".to_owned()),
        Just("=".to_owned()),
        Just("\n".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("${env:TOKEN}".to_owned()),
        Just("${".to_owned()),
        Just("\\u0000".to_owned()),
        Just("[inbound.mllp]".to_owned()),
        Just("ä∂\u{feff}".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("nan".to_owned()),
        Just("-9999999999999999999999".to_owned()),
        "[a-z_.\"0-9]{1,8}",
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<usize>(), fragment).prop_map(|(at, text)| Edit::Insert(at, text)),
        (any::<usize>(), 1..40usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<usize>(), 1..80usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ]
}

fn apply(text: &mut Vec<u8>, edit: &Edit) {
    let place = |at: usize| at % (text.len() + 1);
    match edit {
        Edit::Replace(at, byte) => {
            let at = place(*at);
            text.get_mut(at).into_iter().for_each(|old| *old = *byte);
        }
        Edit::Insert(at, fragment) => {
            let at = place(*at);
            text.splice(at..at, fragment.bytes());
        }
        Edit::Remove(at, length) => {
            let at = place(*at);
            text.drain(at..text.len().min(at + length));
        }
        Edit::Repeat(at, length) => {
            let at = place(*at);
            let again = text[at..text.len().min(at + length)].to_vec();
            text.splice(at..at, again);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_mutated_site_loads_or_says_why(file in 0..GOOD.len(), edits in prop::collection::vec(edit(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        prop_assert!(load_in(dir.path(), &[]).is_ok());
        let (name, text) = GOOD[file];
        let mut bytes = text.as_bytes().to_vec();
        edits.iter().for_each(|edit| apply(&mut bytes, edit));
        std::fs::write(dir.path().join(name), &bytes).unwrap();
        if let Err(problems) = load(dir.path(), &env) {
            prop_assert!(problems.iter().any(|problem| problem.is_error()));
            for problem in &problems {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count().max(20) + 1;
                prop_assert!(problem.place.is_none_or(|place| place.line <= lines && place.column >= 1));
                prop_assert!(!problem.message.is_empty() && !problem.render(true).is_empty());
            }
        }
    }
}
