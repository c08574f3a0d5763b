//! Files of a site that no message goes through: most often a name that is written otherwise than it is called.

use std::collections::HashSet;

use toml::Spanned;

use super::compile::GROUP_OF_RESULTS;
use super::layers::{Folder, Layered, Layers, Source, folder_and_name};
use super::plan::Origin;

/// The code table that the program itself asks: the names of coding systems.
const CODING_SYSTEMS: &str = "codingsystem";

/// The site's files of tables, codes and blocks that no structure leads to, by name.
pub(super) fn of(layers: &Layers, sources: &[Source]) -> Vec<String> {
    let reached = Reached::from_messages(layers);
    let site = sources.iter().filter(|source| source.origin == Origin::Site);
    let is_idle = |source: &&Source| match folder_and_name(&source.name) {
        Some((Folder::Messages, _)) | None => false,
        Some((folder, name)) => !reached.0.contains(&(folder, name.to_lowercase())),
    };
    site.filter(is_idle).map(|source| source.name.to_string()).collect()
}

/// Tables, code tables and blocks, by folder and lower-case name.
#[derive(Default)]
struct Reached(HashSet<(Folder, String)>);

impl Reached {
    fn from_messages(layers: &Layers) -> Self {
        let mut reached = Self::default();
        reached.0.insert((Folder::Codes, CODING_SYSTEMS.to_owned()));
        let messages = layers.tables.iter().filter(|((folder, _), _)| *folder == Folder::Messages);
        let mut open: Vec<&Layered> = messages.map(|(_, table)| table).collect();
        let of_groups = (Folder::Segments, GROUP_OF_RESULTS.to_owned());
        open.extend(layers.tables.get(&of_groups));
        reached.0.insert(of_groups);
        for table in &open {
            let blocks = table.uses.iter().map(|(_, used)| used.block.get_ref().to_lowercase());
            reached.0.extend(blocks.map(|name| (Folder::Blocks, name)));
        }
        while let Some(table) = open.pop() {
            for row in table.rows.iter().map(|row| &row.row) {
                if let Some(code) = named(&row.code) {
                    reached.0.insert((Folder::Codes, code));
                }
                let Some(name) = named(&row.table) else { continue };
                for folder in [Folder::Segments, Folder::DataTypes] {
                    let key = (folder, name.clone());
                    if let Some(found) = layers.tables.get(&key).filter(|_| !reached.0.contains(&key)) {
                        open.push(found);
                        reached.0.insert(key);
                    }
                }
            }
        }
        reached
    }
}

fn named(part: &Option<Spanned<String>>) -> Option<String> {
    part.as_ref().map(|part| part.get_ref().to_lowercase())
}
