//! That values are what `serde_json` holds and writes, and that big ones are no trap.

use proptest::prelude::*;

use super::{Map, Number, Value};

/// Texts of all that JSON escapes, of many lengths.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,40}", "[\\x00-\\x7f]{0,20}", "\\PC{0,20}", "[\"\\\\\n\u{1f} é]{0,20}"]
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?"
            .prop_map(|digits| serde_json::Value::Number(digits.parse().unwrap())),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            prop::collection::vec((text(), inner), 0..24)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn writes_what_serde_json_writes(value in any_json()) {
        let ours = Value::from(value.clone());
        prop_assert_eq!(ours.to_string(), value.to_string());
        prop_assert_eq!(serde_json::to_string(&ours).unwrap(), value.to_string());
        prop_assert_eq!(format!("{ours:#}"), format!("{value:#}"));
        prop_assert_eq!(serde_json::Value::from(ours), value);
    }

    #[test]
    fn is_equal_whatever_the_order_of_members(value in any_json(), other in any_json()) {
        let reversed = |value: &serde_json::Value| match value {
            serde_json::Value::Object(members) => Value::Object(members.clone().into_iter().rev().collect()),
            value => value.clone().into(),
        };
        prop_assert_eq!(&Value::from(value.clone()), &reversed(&value));
        prop_assert_eq!(Value::from(value.clone()) == Value::from(other.clone()), value == other);
    }

    #[test]
    fn knows_numbers_as_serde_json_does_and_keeps_them_as_they_are_written(text in "[-+0-9.eE]{0,8}") {
        let is_number = text.parse::<serde_json::Number>().is_ok();
        prop_assert_eq!(text.parse::<Number>().ok().map(|number| number.to_string()), is_number.then_some(text));
    }
}

#[test]
fn members_keep_their_order_and_their_place() {
    let mut map = Map::new();
    map.put("a", 1);
    map.insert("b", 2);
    map.insert("a", 3);
    assert_eq!(Value::Object(map.clone()).to_string(), r#"{"a":3,"b":2}"#);
    assert_eq!(map.shift_insert(1, "a", 4), Some(3.into()));
    map.shift_insert(0, "c", true);
    assert_eq!(Value::Object(map.clone()).to_string(), r#"{"c":true,"b":2,"a":4}"#);
    assert_eq!(map.shift_remove("b"), Some(2.into()));
    assert_eq!(map.shift_remove("b"), None);
    assert_eq!(Value::Object(map), json!({ "a": 4, "c": true }));
}

/// Comparing looks at each value once a level, however the members stand.
#[test]
fn deep_and_wide_values_are_compared_in_no_time() {
    let deep = |leaf: i64| {
        (0..64).fold(Value::from(leaf), |inner, _| Value::Object([("a", inner), ("b", 0.into())].into_iter().collect()))
    };
    let turned = |leaf: i64| {
        (0..64).fold(Value::from(leaf), |inner, _| Value::Object([("b", 0.into()), ("a", inner)].into_iter().collect()))
    };
    assert_eq!(deep(1), turned(1));
    assert_ne!(deep(1), turned(2));
    let mut wide = Map::with_capacity(100_000);
    (0..100_000).for_each(|n| wide.push(format!("member {n}"), n));
    let back: Vec<_> = wide.clone().into_iter().rev().collect();
    let mut turned = Map::with_capacity(back.len());
    back.into_iter().for_each(|(name, value)| turned.push(name, value));
    assert_eq!(wide, turned);
    turned.push("one more", 1);
    assert!(wide.is_within(&turned) && !turned.is_within(&wide));
}

#[test]
fn what_is_shared_is_written_as_it_is_and_changed_alone() {
    let mut shared = Value::from(serde_json::json!({ "a": "\"", "b": [1, { "c": null }] }));
    let before = shared.to_string();
    shared.share();
    let mut changed = shared.clone();
    assert_eq!((changed.to_string(), shared.to_string()), (before.clone(), before.clone()));
    assert!(changed.get_mut("none").is_none() && changed == shared);
    if let Some(members) = changed.as_object_mut() {
        members.insert("b", 2);
        members.put_at(0, "z", true);
    }
    assert_eq!(changed.to_string(), r#"{"z":true,"a":"\"","b":2}"#);
    assert_eq!(shared.to_string(), before);
    let Value::Object(members) = shared else { panic!("it is an object") };
    assert_eq!(Value::Object(members.into_iter().collect()).to_string(), before);
}

/// One member more than what is shared: at every place, as if all were its own.
#[test]
fn what_is_shared_takes_one_member_more() {
    let own = Value::from(serde_json::json!({ "a": "\"", "b": [1], "c": { "d": null } }));
    let Value::Object(own) = own else { panic!("an object") };
    for at in 0..5 {
        let (mut with, mut alone) = (own.clone(), own.clone());
        with.share();
        with.put_at(at, "more", "é\n");
        alone.put_at(at, "more", "é\n");
        assert_eq!(Value::Object(with.clone()).to_string(), Value::Object(alone.clone()).to_string());
        assert_eq!(serde_json::to_string(&with).unwrap(), serde_json::to_string(&alone).unwrap());
        assert_eq!(with, alone);
        assert_eq!(alone, with);
        assert_ne!(with, own);
        assert!(with.is_within(&alone));
        assert_eq!((with.len(), with.iter().len()), (4, 4));
        assert!(with.iter().rev().eq(alone.iter().rev()) && with.keys().eq(alone.keys()));
        assert_eq!((with.get("more"), with.get("c")), (alone.get("more"), alone.get("c")));
        let mut changed = with.clone();
        changed.insert("b", 2);
        changed.put_at(0, "first", 1);
        alone.insert("b", 2);
        alone.put_at(0, "first", 1);
        assert_eq!(Value::Object(changed).to_string(), Value::Object(alone.clone()).to_string());
        let moved: Map = with.into_iter().collect();
        assert_eq!(moved.keys().nth(at.min(3)).map(|name| name.as_str()), Some("more"));
    }
}
