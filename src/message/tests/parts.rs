//! The `hl7-parser` crate's tree of a segment has the same parts as our slices.

use hl7_parser::message::Separators;
use hl7_parser::parser::parse_segment_with_separators;
use message::hl7v2::{Delimiters, Segment};
use proptest::prelude::*;

/// A segment of plain text with every delimiter in it, such as `PID|1^2&3~4||5`.
fn segment() -> impl Strategy<Value = String> {
    let text = "[A-Za-z0-9 ]{0,4}";
    let component = prop::collection::vec(text, 1..4).prop_map(|parts| parts.join("&"));
    let repetition = prop::collection::vec(component, 1..4).prop_map(|parts| parts.join("^"));
    let field = prop::collection::vec(repetition, 1..3).prop_map(|parts| parts.join("~"));
    prop::collection::vec(field, 1..6).prop_map(|fields| format!("PID|{}", fields.join("|")))
}

proptest! {
    #[test]
    fn both_see_the_same_parts(line in segment()) {
        let theirs = parse_segment_with_separators(&line, Separators::default()).unwrap();
        prop_assert_eq!(theirs.raw_value(), line.as_str());
        let ours = Segment::new(&line, Delimiters::default());
        prop_assert_eq!(ours.name(), theirs.name);
        for (number, field) in ours.fields() {
            let their_field = theirs.field(number).unwrap();
            prop_assert_eq!(field.text(), their_field.raw_value());
            for (n, repetition) in (1..).zip(field.repetitions()) {
                let their_repetition = their_field.repeat(n).unwrap();
                prop_assert_eq!(repetition.text(), their_repetition.raw_value());
                for (n, component) in (1..).zip(repetition.components()) {
                    let their_component = their_repetition.component(n).unwrap();
                    prop_assert_eq!(component.text(), their_component.raw_value());
                    for (n, subcomponent) in (1..).zip(component.subcomponents()) {
                        let theirs = their_component.subcomponent(n).map_or("", |part| part.raw_value());
                        prop_assert_eq!(subcomponent.text(), theirs);
                    }
                }
            }
        }
    }
}
