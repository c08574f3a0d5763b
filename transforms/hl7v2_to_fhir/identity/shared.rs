//! People, organisations and devices that have any identifier in common are one.
//!
//! Fields name the same laboratory now by one of its numbers, now by another, now by both. Written
//! as several entries, a search by the number that they share would find several.

use message::json::{Text, Value};
use message::{Finding, FindingKind};

use super::{follow, resource_id};
use crate::hl7v2_to_fhir::hashed::Hashed;
use crate::hl7v2_to_fhir::known::known;
use crate::hl7v2_to_fhir::run::Run;
use crate::hl7v2_to_fhir::source::name_of;
use crate::hl7v2_to_fhir::tree::{Key, NodeId, ResourceId, Tree};
use message::fhir::definitions::TypeId;

/// Of what type it is, whose, and system and value of a number.
type Number<'t> = (TypeId, Option<ResourceId>, &'t str, &'t str);

/// Puts all into the first of those that share a number; gives the resource that stands for each.
pub(super) fn merge(run: &mut Run<'_>) -> Vec<ResourceId> {
    let redirects = redirects(&run.tree);
    for (number, into) in redirects.iter().copied().enumerate() {
        let from = resource_id(number);
        let roots = (run.tree.get(into).map(|first| first.root), run.tree.get(from).map(|other| other.root));
        if let (Some(first), Some(other)) = roots
            && into != from
        {
            note_names(run, first, other);
            run.tree.merge(first, other, &redirects);
        }
    }
    redirects
}

/// The first resource of those that share a number with each, also by way of others.
fn redirects(tree: &Tree) -> Vec<ResourceId> {
    let mut redirects: Vec<ResourceId> = (0..tree.resources.len()).map(resource_id).collect();
    let mut numbers: Hashed<Number<'_>, ResourceId> = Hashed::default();
    for (number, resource) in tree.resources.iter().enumerate() {
        let kind = known().kind(resource.kind);
        if !kind.is_one_by_any {
            continue;
        }
        let patient = resource.patient.filter(|_| kind.about.is_some());
        for (_, identifier) in tree.all_named(resource.root, "identifier") {
            let (Some(system), Some(value)) = (tree.text(identifier, "system"), tree.text(identifier, "value")) else {
                continue;
            };
            let first = *numbers.entry((resource.kind, patient, system, value)).or_insert(resource_id(number));
            join(&mut redirects, first, resource_id(number));
        }
    }
    follow(&mut redirects);
    redirects
}

/// Makes one of the two groups that `a` and `b` are in.
fn join(redirects: &mut [ResourceId], a: ResourceId, b: ResourceId) {
    let (a, b) = (head(redirects, a), head(redirects, b));
    if let Some(slot) = redirects.get_mut(a.max(b).0 as usize) {
        *slot = a.min(b);
    }
}

fn head(redirects: &[ResourceId], id: ResourceId) -> ResourceId {
    let mut id = id;
    while let Some(to) = redirects.get(id.0 as usize).filter(|to| **to != id) {
        id = *to;
    }
    id
}

/// Reports that `other` has another name than `first`. The name of an organisation stays as an alias;
/// people have as many names as they are given.
fn note_names(run: &mut Run<'_>, first: NodeId, other: NodeId) {
    let (Some(before), Some(name)) = (name(&run.tree, first), name(&run.tree, other)) else { return };
    if before.eq_ignore_ascii_case(&name) {
        return;
    }
    let location = place(run, other);
    let text = Text::new_static("the same number stands beside another name elsewhere; one entry is made of both");
    run.findings.push(Finding { kind: FindingKind::Malformed, location, text });
    if let Some(alias) = known().organization_alias.filter(|_| run.tree.text(first, "name").is_some()) {
        let number = u32::try_from(run.findings.len()).unwrap_or(u32::MAX);
        let node = run.tree.child(first, alias, Key { repetition: number, ..Key::default() });
        run.tree.set(node, Value::from(name));
    }
}

/// The name of an organisation, or family and first given name of a person.
fn name(tree: &Tree, root: NodeId) -> Option<String> {
    if let Some(name) = tree.text(root, "name") {
        return Some(name.trim().to_owned());
    }
    let name = tree.named(root, "name")?;
    let part = |part: &str| tree.text(name, part).unwrap_or_default().trim();
    let whole = format!("{} {}", part("family"), part("given"));
    (!whole.trim().is_empty()).then_some(whole)
}

/// The segment that names the resource.
fn place(run: &Run<'_>, root: NodeId) -> Text {
    let identifiers = run.tree.all_named(root, "identifier");
    let segment = identifiers.first().and_then(|(key, _)| usize::try_from(key.segment).ok()?.checked_sub(1));
    let segment = segment.and_then(|number| run.source.segments.get(number));
    segment.map_or(Text::new_static("message"), name_of)
}
