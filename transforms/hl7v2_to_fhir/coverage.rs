//! What was populated and no row has taken.

use message::{Finding, FindingKind};

use super::run::Run;
use super::source::{Level, Slice};

/// Adds a finding for every value of the message that no row has taken.
pub(super) fn report(run: &mut Run<'_>) {
    let mut missed = Vec::new();
    for segment in run.source.segments.clone() {
        for (_, field) in run.source.fields(segment) {
            for repetition in run.source.repetitions(field) {
                untaken(run, repetition, &mut missed);
            }
        }
    }
    for offset in missed {
        let location = run.source.location(offset);
        let text = "no row of the tables takes the value".into();
        run.findings.push(Finding { kind: FindingKind::Unmapped, location, text });
    }
}

fn untaken(run: &Run<'_>, slice: Slice<'_>, missed: &mut Vec<usize>) {
    if slice.text.is_empty() {
        return;
    }
    if slice.level == Level::Subcomponent {
        if !run.source.is_taken(slice.text) && !slice.text.trim().is_empty() {
            missed.extend(run.source.offset(slice.text));
        }
        return;
    }
    for (_, part) in run.source.parts(slice) {
        untaken(run, part, missed);
    }
}
