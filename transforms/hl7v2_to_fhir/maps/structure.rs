//! A message's table: its grammar, its segments' rows, and where each resource lives.

use toml::Spanned;

use message::fhir::definitions::{Kind, types};

use super::compile::{Compiler, within};
use super::condition::{self, Scope};
use super::error::Wrong;
use super::layers::{Layered, LayeredRow};
use super::plan::{Label, Link, MessagePlan, Node, SegmentRow};
use super::{grammar, path};

/// Compiles one message table; reports what is wrong with it to `compiler`.
pub(super) fn compile(compiler: &mut Compiler<'_>, table: &Layered) -> Option<MessagePlan> {
    let Some((file, text)) = &table.grammar else {
        compiler.report(table.file, 0, Wrong::new("a message needs a `grammar`"));
        return None;
    };
    let nodes = match grammar::read(text.get_ref()) {
        Ok(nodes) => nodes,
        Err(wrong) => {
            compiler.report(*file, text.span().start, wrong);
            return None;
        }
    };
    let mut plan = MessagePlan { name: table.name.clone(), nodes, ..MessagePlan::default() };
    for row in &table.rows {
        if let Err((offset, wrong)) = add(compiler, &mut plan, row) {
            compiler.report(row.file, offset, wrong);
        }
    }
    let nodes = &plan.nodes;
    plan.labels.iter_mut().for_each(|label| label.homes = homes(nodes, &label.mentions));
    let label = |name: &&str| plan.labels.iter().position(|label| label.name == *name);
    let patient = label(&"Patient[1]");
    plan.contexts = ["DiagnosticReport[1]", "ServiceRequest[1]", "Encounter[1]"].iter().filter_map(label).collect();
    plan.patient = patient;
    plan.known = plan.nodes.iter().filter(|node| !node.is_group).map(|node| node.name.clone()).collect();
    Some(plan)
}

fn add(compiler: &Compiler<'_>, plan: &mut MessagePlan, layered: &LayeredRow) -> Result<(), (usize, Wrong)> {
    let row = &layered.row;
    let missing = |what: &str| (layered.offset, Wrong::new(format!("a row of a message needs `{what}`")));
    let from = row.from.as_ref().ok_or_else(|| missing("from"))?;
    let to = row.to.as_ref().ok_or_else(|| missing("to"))?;
    let segment = from.get_ref().rsplit('.').next().unwrap_or_default();
    let after = row.after.as_ref().map(|after| after.get_ref().as_str());
    let found = leaves(&plan.nodes, from.get_ref(), after);
    let in_grammar = plan.nodes.iter().any(|node| !node.is_group && node.name == segment);
    if found.is_empty() && in_grammar {
        let text = format!("the grammar has no `{}`; a segment in groups reads GROUP.GROUP.SEG", from.get_ref());
        return Err((from.span().start, Wrong::new(text)));
    }
    let home = found.first().copied().unwrap_or(0);
    let label = label(plan, to.get_ref(), (home, true)).map_err(|wrong| (to.span().start, wrong))?;
    let table = match &row.table {
        Some(name) => Some(table_for(compiler, plan, label, name)?),
        None => None,
    };
    let of = row.table.as_ref().and_then(|name| name.get_ref().split('[').next());
    let of = of.filter(|of| *of != segment);
    for node in if found.is_empty() { vec![None] } else { found.into_iter().map(Some).collect() } {
        let scope = Scope { segment: Some(segment), data_type: None };
        let when = match &row.when {
            Some(when) => Some(condition::read(when.get_ref(), scope).map_err(within(when))?),
            None => None,
        };
        let links = row.link.iter().map(|text| link(plan, text, node.unwrap_or(0))).collect::<Result<_, _>>()?;
        let own = plan.labels.get_mut(label).into_iter().flat_map(|label| &mut label.mentions);
        own.filter(|mention| Some(mention.0) == node).for_each(|mention| mention.1 = true);
        let compiled = SegmentRow { label, table, of: of.map(Box::from), when, links };
        match node {
            Some(node) => plan.rows.entry(node).or_default().push(compiled),
            None => plan.free.entry(segment.to_owned()).or_default().push(compiled),
        }
    }
    Ok(())
}

fn table_for(
    compiler: &Compiler<'_>,
    plan: &MessagePlan,
    label: usize,
    name: &Spanned<String>,
) -> Result<usize, (usize, Wrong)> {
    let start = name.span().start;
    let Some(&(index, base)) = compiler.tables.get(&name.get_ref().to_lowercase()) else {
        let known = compiler.tables.keys().map(String::as_str);
        return Err((start, Wrong::unknown("there is no table", name.get_ref(), known)));
    };
    let fits = plan.labels.get(label).is_some_and(|label| Kind::Complex(label.kind) == base);
    if fits {
        Ok(index)
    } else {
        Err((start, Wrong::new(format!("`{}` makes something else than `to`", name.get_ref()))))
    }
}

/// The segments of the grammar that `PATIENT.PID` (with `after`) names.
pub(super) fn leaves(nodes: &[Node], path: &str, after: Option<&str>) -> Vec<usize> {
    let (groups, segment) = path.rsplit_once('.').unwrap_or(("", path));
    let matching: Vec<_> = (1..nodes.len())
        .filter(|&i| nodes.get(i).is_some_and(|n| !n.is_group && n.name == segment) && group_path(nodes, i) == groups)
        .collect();
    let Some(after) = after else { return matching };
    let start = nodes.iter().position(|node| node.name == after && !node.is_group).unwrap_or(0);
    matching.into_iter().find(|i| *i > start).into_iter().collect()
}

/// `PATIENT_RESULT.PATIENT` for a segment in it; groups without a name are not written.
pub(super) fn group_path(nodes: &[Node], leaf: usize) -> String {
    let mut names = Vec::new();
    let mut at = nodes.get(leaf).map_or(0, |node| node.parent);
    while at != 0 {
        let Some(node) = nodes.get(at) else { break };
        if !node.name.is_empty() {
            names.push(node.name.as_str());
        }
        at = node.parent;
    }
    names.reverse();
    names.join(".")
}

/// The label `Patient[1]`, of which the segment of `mention` speaks.
fn label(plan: &mut MessagePlan, text: &str, mention: (usize, bool)) -> Result<usize, Wrong> {
    let kind_name = text.split('[').next().unwrap_or(text);
    let kind =
        types().id(kind_name).ok_or_else(|| Wrong::unknown("there is no resource", kind_name, types().names()))?;
    if let Some(index) = plan.labels.iter().position(|label| label.name == text) {
        if let Some(label) = plan.labels.get_mut(index) {
            label.mentions.push(mention);
        }
        return Ok(index);
    }
    plan.labels.push(Label { kind, name: text.to_owned(), homes: Vec::new(), mentions: vec![mention] });
    Ok(plan.labels.len() - 1)
}

/// Where a resource lives: in the smallest part of the message that holds all `mentions` of it. Parts beside each other
/// that all repeat and all make it, as orders of a message and orders of a charge do, hold one each.
fn homes(nodes: &[Node], mentions: &[(usize, bool)]) -> Vec<usize> {
    let all = mentions.iter().map(|(node, _)| *node);
    let Some(home) = all.reduce(|a, b| common(nodes, a, b)) else { return Vec::new() };
    let mut parts: Vec<(usize, Vec<(usize, bool)>)> = Vec::new();
    for mention in mentions {
        let Some(part) = line(nodes, mention.0).into_iter().take_while(|node| *node != home).last() else {
            return vec![home];
        };
        match parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, own)) => own.push(*mention),
            None => parts.push((part, vec![*mention])),
        }
    }
    let node = |part: usize| nodes.get(part);
    let first = parts.first().and_then(|(part, _)| node(*part));
    let are_alike = parts.iter().all(|(part, _)| {
        node(*part).zip(first).is_some_and(|(own, first)| own.is_group && first.is_group || own.name == first.name)
    });
    let repeats = |part: usize, home: usize| {
        let way = line(nodes, home);
        way.iter().take_while(|at| **at != part).chain([&part]).any(|at| node(*at).is_some_and(|node| node.repeats))
    };
    let split: Vec<(usize, Vec<usize>)> = parts.iter().map(|(part, own)| (*part, homes(nodes, own))).collect();
    let stand_alone = parts.iter().zip(&split).all(|((part, own), (_, homes))| {
        own.iter().any(|(_, makes)| *makes) && homes.iter().all(|home| repeats(*part, *home))
    });
    if parts.len() > 1 && are_alike && stand_alone {
        split.into_iter().flat_map(|(_, homes)| homes).collect()
    } else {
        vec![home]
    }
}

/// The node and all around it, up to the message.
fn line(nodes: &[Node], mut at: usize) -> Vec<usize> {
    let mut line = vec![at];
    while at != 0 {
        at = nodes.get(at).map_or(0, |node| node.parent);
        line.push(at);
    }
    line
}

/// The smallest node that holds both.
fn common(nodes: &[Node], a: usize, b: usize) -> usize {
    let of_a = line(nodes, a);
    line(nodes, b).into_iter().find(|node| of_a.contains(node)).unwrap_or(0)
}

/// `Encounter[1].subject = Patient[1]`.
fn link(plan: &mut MessagePlan, spanned: &Spanned<String>, node: usize) -> Result<Link, (usize, Wrong)> {
    let start = spanned.span().start;
    let wrong = || Wrong::new("a link reads like `Encounter[1].subject = Patient[1]`");
    let (left, right) = spanned.get_ref().split_once('=').ok_or_else(|| (start, wrong()))?;
    let (resource, path_text) = left.trim().split_once('.').ok_or_else(|| (start, wrong()))?;
    let from = label(plan, resource, (node, false)).map_err(|wrong| (start, wrong))?;
    let to = label(plan, right.trim(), (node, false)).map_err(|wrong| (start, wrong))?;
    let kind = plan.labels.get(from).map(|label| Kind::Complex(label.kind)).ok_or_else(|| (start, wrong()))?;
    let path = path::read(path_text, kind).map_err(|wrong| (start, wrong))?;
    let is_reference = matches!(path.kind, Kind::Complex(id) if types().get(id).name == "Reference");
    if is_reference {
        Ok(Link { from, path, to })
    } else {
        Err((start, Wrong::new(format!("`{path_text}` is no reference"))))
    }
}
