//! The index reads as one map, whatever part of it sled has been told of.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::index::Index;
use super::super::recent::Slot;

#[derive(Clone, Debug)]
enum Act {
    Write(Vec<(u8, Option<u8>)>),
    Fold,
}

fn act() -> impl Strategy<Value = Act> {
    let writes = proptest::collection::vec((0u8..12, proptest::option::of(any::<u8>())), 1..6);
    prop_oneof![2 => writes.prop_map(Act::Write), 1 => Just(Act::Fold)]
}

fn key(number: u8) -> Vec<u8> {
    vec![b'a' + number / 6, number]
}

/// So long that a few of them fill a block.
fn long(value: u8) -> Vec<u8> {
    vec![value; 450]
}

/// Everything that begins with `a`, in both directions, and each key by itself.
#[track_caller]
fn check(index: &Index, model: &BTreeMap<Vec<u8>, u8>) {
    let values = |entries: super::super::index::Entries| -> Vec<(Vec<u8>, u8)> {
        entries.map(Result::unwrap).map(|(key, value)| (key, value[0])).collect()
    };
    let mut expected: Vec<_> =
        model.iter().filter(|(key, _)| key[0] == b'a').map(|(key, value)| (key.clone(), *value)).collect();
    assert_eq!(values(index.prefix(b"a")), expected);
    expected.reverse();
    assert_eq!(values(index.range_back(b"a", None)), expected);
    for number in 0..12 {
        assert_eq!(index.raw(&key(number)).unwrap(), model.get(&key(number)).map(|value| long(*value)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_in_memory_and_what_is_in_sled_read_as_one(acts in proptest::collection::vec(act(), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(dir.path(), 1 << 20).unwrap();
        let mut model = BTreeMap::new();
        for act in acts {
            match act {
                Act::Fold => index.fold().unwrap(),
                Act::Write(writes) => {
                    for (number, value) in &writes {
                        match value {
                            Some(value) => model.insert(key(*number), *value),
                            None => model.remove(&key(*number)),
                        };
                    }
                    let raw = writes.into_iter().map(|(number, value)| {
                        (key(number).into(), value.map_or_else(Slot::gone, |value| Slot::value(long(value))))
                    });
                    index.write(raw.collect()).unwrap();
                }
            }
            check(&index, &model);
        }
    }
}

#[test]
fn a_scan_that_a_fold_interrupts_sees_no_key_that_was_gone() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), 1 << 20).unwrap();
    index.write((0..6).map(|number| (key(number).into(), Slot::value(long(number)))).collect()).unwrap();
    index.fold().unwrap();
    index.write([1, 4].map(|number| (key(number).into(), Slot::gone())).into()).unwrap();
    let mut scan = index.prefix(b"a");
    assert_eq!(scan.next().unwrap().unwrap().0, key(0));
    index.fold().unwrap();
    let rest: Vec<_> = scan.map(|entry| entry.unwrap().1[0]).collect();
    assert_eq!(rest, [2, 3, 5]);
}
