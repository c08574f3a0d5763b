//! The coverage report: what was populated and no row has taken, and where all findings are.

use message::{Finding, FindingKind};

use super::run::Run;
use super::source::{Segment, Slice, name_of};

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
            for (repetition, slice) in run.source.repetitions(field).enumerate() {
                report.repetition(run, *segment, (number, repetition), slice);
            }
        }
    }
    for (_, kind, said) in report.noted.split_off(report.next.min(report.noted.len())) {
        report.add(kind, &|| "message".to_owned(), said);
    }
    if report.left_out > 0 {
        let text = format!("{} more places are not listed", report.left_out);
        report.findings.push(Finding { kind: FindingKind::Unmapped, location: "message".into(), text });
    }
    run.findings = report.findings;
}

struct Report {
    findings: Vec<Finding>,
    noted: Vec<(usize, FindingKind, String)>,
    next: usize,
    left_out: usize,
}

impl Report {
    fn repetition(&mut self, run: &Run<'_>, segment: Segment<'_>, at: (usize, usize), slice: Slice<'_>) {
        let single = run.source.parts(slice).nth(1).is_none();
        for (component, part) in run.source.parts(slice) {
            for (subcomponent, leaf) in run.source.parts(part) {
                let whole = single && subcomponent == 1;
                let place = || location(segment, at, if whole { (0, 0) } else { (component, subcomponent) });
                self.leaf(run, leaf.text, place);
            }
        }
    }

    fn leaf(&mut self, run: &Run<'_>, text: &str, place: impl Fn() -> String) {
        let Some(offset) = run.source.offset(text) else { return };
        while let Some((noted, kind, said)) =
            self.noted.get_mut(self.next).filter(|(noted, ..)| *noted <= offset + text.len())
        {
            let (_, kind, said) = (noted, *kind, std::mem::take(said));
            self.next += 1;
            self.add(kind, &place, said);
        }
        if !text.trim().is_empty() && !run.source.is_taken(text) {
            self.add(FindingKind::Unmapped, &place, "no row of the tables takes the value".into());
        }
    }

    fn add(&mut self, kind: FindingKind, place: &impl Fn() -> String, text: String) {
        if self.findings.len() < MOST {
            self.findings.push(Finding { kind, location: place(), text });
        } else {
            self.left_out += 1;
        }
    }
}

/// `OBX[2]-5[1].2`; what says nothing is left out.
fn location(
    segment: Segment<'_>,
    (field, repetition): (usize, usize),
    (component, subcomponent): (usize, usize),
) -> String {
    let mut out = format!("{}-{field}", name_of(&segment));
    if repetition > 0 {
        out.push_str(&format!("[{}]", repetition + 1));
    }
    if component > 0 {
        out.push_str(&format!(".{component}"));
    }
    if subcomponent > 1 {
        out.push_str(&format!(".{subcomponent}"));
    }
    out
}
