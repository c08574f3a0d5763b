//! Rows that many messages have in common: a block stands once and is spread over the groups that use it.

use std::collections::BTreeMap;

use toml::Spanned;

use super::error::Wrong;
use super::file::{RowFile, UseFile};
use super::grammar;
use super::layers::{Folder, Layered, LayeredRow, Layers, Source, mistake, put};
use super::plan::Node;
use super::structure;

/// Puts the rows of the blocks that a message uses below the message's own.
pub(super) fn spread(layers: &mut Layers, sources: &[Source]) {
    let is_block = |((folder, _), _): &((Folder, String), Layered)| *folder == Folder::Blocks;
    let (blocks, mut tables): (BTreeMap<_, _>, BTreeMap<_, _>) =
        std::mem::take(&mut layers.tables).into_iter().partition(is_block);
    for table in tables.values_mut().filter(|table| !table.uses.is_empty()) {
        // A mistake in a grammar is told where the message is compiled.
        let Some(nodes) = table.grammar.as_ref().and_then(|(_, text)| grammar::read(text.get_ref()).ok()) else {
            continue;
        };
        let mut rows = Vec::new();
        for (file, used) in &table.uses {
            let found = match blocks.get(&(Folder::Blocks, used.block.get_ref().to_lowercase())) {
                Some(found) => found,
                None => {
                    let known = blocks.values().map(|block| block.name.as_str());
                    let wrong = Wrong::unknown("there is no block", used.block.get_ref(), known);
                    let error = sources.get(*file).map(|source| mistake(source, used.block.span().start, wrong));
                    layers.errors.extend(error);
                    continue;
                }
            };
            if let Some(wrong) = unknown_group(&nodes, used) {
                let at = used.group.as_ref().map_or(0, |group| group.span().start);
                layers.errors.extend(sources.get(*file).map(|source| mistake(source, at, wrong)));
            }
            add(&mut rows, found, &nodes, used.group.as_ref().map_or("", |group| group.get_ref().as_str()));
        }
        for own in std::mem::take(&mut table.rows) {
            put(&mut rows, own);
        }
        table.rows = rows;
    }
    layers.tables = tables;
}

/// The rows of `block` for those of its segments that the grammar has in `group`.
fn add(rows: &mut Vec<LayeredRow>, block: &Layered, nodes: &[Node], group: &str) {
    for layered in &block.rows {
        let Some(from) = &layered.row.from else { continue };
        let path = if group.is_empty() { from.get_ref().clone() } else { format!("{group}.{}", from.get_ref()) };
        let after = layered.row.after.as_ref().map(|after| after.get_ref().as_str());
        if structure::leaves(nodes, &path, after).is_empty() {
            continue;
        }
        let row = RowFile { from: Some(Spanned::new(from.span(), path)), ..layered.row.clone() };
        rows.push(LayeredRow { row, file: layered.file, offset: layered.offset });
    }
}

fn unknown_group(nodes: &[Node], used: &UseFile) -> Option<Wrong> {
    let group = used.group.as_ref()?.get_ref();
    let mut groups: Vec<_> = (1..nodes.len()).map(|leaf| structure::group_path(nodes, leaf)).collect();
    groups.dedup();
    let known = groups.iter().any(|path| path == group);
    (!known).then(|| Wrong::unknown("the grammar has no group", group, groups.iter().map(String::as_str)))
}
