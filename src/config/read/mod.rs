//! From files to config structs, with every mistake of every file and its place.
//!
//! [`Document`] is one file as a tree whose strings are filled in; [`read`] makes a struct of a part of
//! it; the rest is one file for each kind of file, and [`across`] for what holds between files.

mod across;
mod channel;
mod consent;
mod consents;
mod destination;
mod document;
mod engine;
mod files;
mod fill;
mod hide;
mod keys;
mod labels;
mod maps;
mod nearest;
mod one_or_many;
mod parse;
mod patients;
mod purpose;
mod reader;
mod scripts;
mod services;
mod systems;
mod tree;
mod zone;

use std::path::Path;

use jiff::tz::TimeZone;

pub(super) use across::across;
pub(super) use channel::channel;
#[cfg(test)]
pub(super) use channel::{Common as InboundCommon, Top as ChannelTop};
pub(super) use consent::consent;
pub(super) use destination::destination;
#[cfg(test)]
pub(super) use destination::{Common as OutboundCommon, Top as DestinationTop};
pub(super) use document::Document;
pub(super) use engine::{engine, providers};
pub(super) use files::{Files, Part, code_sets_in, read_folder, tables_in};
pub(super) use fill::Fill;
pub(super) use maps::maps;
pub(super) use one_or_many::one_or_many;
#[cfg(test)]
pub(super) use reader::keys_of;
pub(super) use scripts::scripts;
pub(super) use systems::systems;
use tree::{Node, Value};
pub(super) use zone::zone;

/// What a file's values are relative to.
pub(super) struct Base<'a> {
    /// The site's folder: maps and scripts.
    pub(super) dir: &'a Path,
    /// The data directory: drop folders.
    pub(super) data_dir: &'a Path,
    /// The zone of channels that name none.
    pub(super) time_zone: &'a TimeZone,
}

/// The one table under `[inbound]` or `[outbound]`: its key and its node.
fn one_kind<'a>(document: &'a Document, table: &str, known: &[&str]) -> Option<(&'a str, &'a Node)> {
    let all = || known.iter().map(|kind| format!("[{table}.{kind}]")).collect::<Vec<_>>().join(", ");
    let root = document.root();
    let Some(node) = root.at(&[table]) else {
        document.missing(root.span.clone(), format!("[{table}.…] is missing"), Some(format!("add one of {}", all())));
        return None;
    };
    if !matches!(node.value, Value::Table { .. }) {
        document.error(
            node.span.clone(),
            format!("`{table}` must be a table"),
            Some(format!("write one of {}", all())),
        );
        return None;
    }
    let (right, wrong): (Vec<_>, Vec<_>) = node.entries().iter().partition(|entry| known.contains(&entry.key.as_str()));
    for entry in &wrong {
        let message = format!("unknown kind `{}` in [{table}]", entry.key);
        document.error(entry.span.clone(), message, Some(nearest::help(&entry.key, known)));
    }
    for entry in right.iter().skip(1) {
        let message = format!("a second kind, `{}`, in [{table}]", entry.key);
        document.error(
            entry.span.clone(),
            message,
            Some("keep one of them, and make the other a file of its own".into()),
        );
    }
    match right.as_slice() {
        [] if wrong.is_empty() => {
            document.missing(
                node.span.clone(),
                format!("[{table}.…] is missing"),
                Some(format!("add one of {}", all())),
            );
            None
        }
        [] => None,
        [entry, ..] => Some((entry.key.as_str(), &entry.node)),
    }
}

/// Refuses clear text to or from another machine without a written reason.
fn plain_text(document: &Document, table: &Node, reason: Option<&str>, what: &str, secure: &str) {
    if reason.is_some_and(|reason| !reason.trim().is_empty()) {
        return;
    }
    let help = format!("{secure}or say why it may be so: plain_text = \"the reason\"");
    document.error(table.span.clone(), format!("{what} in clear text, to be read on the way"), Some(help));
}

/// True if `host` is this machine: a loopback address or `localhost`.
fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
