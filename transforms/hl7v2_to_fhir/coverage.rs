//! The coverage report: what was populated and no row has taken, and where all findings are.

use message::json::Text;
use message::{Finding, FindingKind};
use smol_str::{SmolStrBuilder, format_smolstr};

use super::run::Run;
use super::source::{Level, Segment, name_of};

/// No message needs a longer list; how many more there are is said.
const MOST: usize = 10_000;

/// Gives what was noted of values its place, and adds a finding for every value that no row took.
pub(super) fn report(run: &mut Run<'_>) {
    let mut noted = std::mem::take(&mut run.noted);
    noted.sort_by_key(|(offset, ..)| *offset);
    noted.dedup();
    let mut report = Report { findings: std::mem::take(&mut run.findings), noted, next: 0, left_out: 0 };
    for segment in &run.source.segments {
        for (number, field) in run.source.fields(*segment) {
            report.field(run, *segment, number, field);
        }
    }
    for (_, kind, said) in report.noted.split_off(report.next.min(report.noted.len())) {
        report.add(kind, &|| Text::new_static("message"), said);
    }
    if report.left_out > 0 {
        let text = format_smolstr!("{} more places are not listed", report.left_out);
        report.findings.push(Finding { kind: FindingKind::Unmapped, location: "message".into(), text });
    }
    run.findings = report.findings;
}

struct Report {
    findings: Vec<Finding>,
    noted: Vec<(usize, FindingKind, Text)>,
    next: usize,
    left_out: usize,
}

/// Where in a field a value stands.
#[derive(Clone, Copy)]
struct At {
    field: usize,
    /// From 0; the others from 1.
    repetition: usize,
    component: usize,
    subcomponent: usize,
}

impl Report {
    /// Goes through the values of a field, most of which rows have taken.
    fn field(&mut self, run: &Run<'_>, segment: Segment<'_>, field: usize, text: &str) {
        let Some(offset) = run.source.offset(text) else { return };
        let mut at = At { field, repetition: 0, component: 1, subcomponent: 1 };
        let (mut repetition, mut start) = (0, 0);
        // Looked up once a repetition, which may be long and have many values.
        let mut single = None;
        while let Some(rest) = text.get(start..) {
            let end = rest.bytes().position(|b| run.source.delimiter(b).is_some()).map_or(text.len(), |at| start + at);
            let delimiter = text.as_bytes().get(end).and_then(|b| run.source.delimiter(*b));
            let noted = self.noted.get(self.next).is_some_and(|(noted, ..)| *noted <= offset + end);
            if noted || (start < end && !run.source.is_taken_at(offset + start)) {
                let value = text.get(start..end).unwrap_or_default();
                let within = || text.get(repetition..).unwrap_or_default();
                let single = *single.get_or_insert_with(|| is_single(run, within()));
                self.value((offset + start, value), &|| location(segment, at, single), run);
            }
            start = end + 1;
            match delimiter {
                Some(Level::Repetition) => {
                    at = At { repetition: at.repetition + 1, component: 1, subcomponent: 1, ..at };
                    (repetition, single) = (start, None);
                }
                Some(Level::Component) => at = At { component: at.component + 1, subcomponent: 1, ..at },
                Some(Level::Subcomponent) => at.subcomponent += 1,
                None => return,
            }
        }
    }

    fn value(&mut self, (offset, text): (usize, &str), place: &dyn Fn() -> Text, run: &Run<'_>) {
        while let Some((_, kind, said)) =
            self.noted.get_mut(self.next).filter(|(noted, ..)| *noted <= offset + text.len())
        {
            let (kind, said) = (*kind, std::mem::take(said));
            self.next += 1;
            self.add(kind, place, said);
        }
        if !text.trim().is_empty() && !run.source.is_taken_at(offset) {
            self.add(FindingKind::Unmapped, place, Text::new_static("no row of the tables takes the value"));
        }
    }

    fn add(&mut self, kind: FindingKind, place: &dyn Fn() -> Text, text: Text) {
        if self.findings.len() < MOST {
            self.findings.push(Finding { kind, location: place(), text });
        } else {
            self.left_out += 1;
        }
    }
}

/// True if a repetition has one component; `text` is the repetition and what follows it.
fn is_single(run: &Run<'_>, text: &str) -> bool {
    let delimiters = text.bytes().filter_map(|b| run.source.delimiter(b));
    let mut own = delimiters.take_while(|level| *level != Level::Repetition);
    !own.any(|level| level == Level::Component)
}

/// `OBX[2]-5[1].2`; what says nothing is left out: the component where it is the only one.
fn location(segment: Segment<'_>, at: At, single: bool) -> Text {
    let mut out = SmolStrBuilder::new();
    out.push_str(&name_of(&segment));
    out.push_str(&format_smolstr!("-{}", at.field));
    if at.repetition > 0 {
        out.push_str(&format_smolstr!("[{}]", at.repetition + 1));
    }
    if !(single && at.subcomponent == 1) {
        out.push_str(&format_smolstr!(".{}", at.component));
    }
    if at.subcomponent > 1 {
        out.push_str(&format_smolstr!(".{}", at.subcomponent));
    }
    out.finish()
}
