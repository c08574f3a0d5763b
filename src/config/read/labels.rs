//! The site's own label rules: tried one by one, so that each mistake is told with its place.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use message::Context;
use message::consent::Flags;
use transforms::stamp::{LabelRule, StampOptions, Stamper};

use super::document::Document;
use super::tree::Node;

/// Reports each of `rules`, those of `[[stamp.label]]` in `document`, that cannot be used.
pub(super) fn check(document: &Document, rules: &[LabelRule]) {
    let nodes = document.root().at(&["stamp", "label"]).map(Node::elements).unwrap_or_default();
    for (node, rule) in nodes.iter().zip(rules) {
        let options = StampOptions { label: vec![rule.clone()], ..StampOptions::default() };
        if let Err(error) = Stamper::new(&anywhere(), Flags::default(), &options) {
            document.error(node.span.clone(), error.to_string(), None);
        }
    }
}

/// A context for rules on trial: they do not look at it.
fn anywhere() -> Context {
    Context {
        now: Timestamp::UNIX_EPOCH,
        provider: std::sync::Arc::default(),
        engine: "tributary".into(),
        base_uri: "urn:tributary".into(),
        time_zone: TimeZone::UTC,
    }
}
