//! What was measured, beside its target.

use serde::Serialize;

use super::super::print::OutputError;
use super::super::table;
use super::ledger::Account;

/// One number.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measure {
    scenario: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// What a number is to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// All numbers of a run.
#[derive(Default)]
pub(super) struct Report(Vec<Measure>);

/// The numbers of one scenario.
pub(super) struct Section<'a> {
    report: &'a mut Report,
    scenario: &'static str,
}

impl Report {
    pub(super) fn section(&mut self, scenario: &'static str) -> Section<'_> {
        Section { report: self, scenario }
    }

    pub(super) fn measures(&self) -> &[Measure] {
        &self.0
    }

    /// A table for people.
    pub(super) fn print(&self) -> Result<(), OutputError> {
        let rows = self.0.iter().map(|measure| {
            let target = measure.target.map(|target| match target {
                Target::AtLeast(least) => format!("≥ {}", number(least)),
                Target::AtMost(most) => format!("≤ {}", number(most)),
            });
            let verdict = match measure.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let value = format!("{} {}", number(measure.value), measure.unit);
            [measure.scenario.to_owned(), measure.what.clone(), value, target.unwrap_or_default(), verdict.to_owned()]
        });
        table::print(["scenario", "what", "measured", "target", ""], rows, "Nothing was measured.")
    }

    /// True if nothing was lost or out of order anywhere.
    pub(super) fn is_sound(&self) -> bool {
        self.0.iter().all(|measure| measure.unit != MUST || measure.met != Some(false))
    }
}

/// The unit of numbers that are wrong unless they meet their target, on any machine.
const MUST: &str = "messages";

impl Section<'_> {
    pub(super) fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.push(what.into(), value, unit, None);
    }

    pub(super) fn add_for(&mut self, what: impl Into<String>, value: f64, unit: &'static str, target: Target) {
        self.push(what.into(), value, unit, Some(target));
    }

    /// An account; nothing may be lost or out of order.
    pub(super) fn account(&mut self, account: &Account) {
        let Account { accepted, delivered, duplicated, out_of_order, lost } = *account;
        for (what, count) in [("accepted", accepted), ("delivered", delivered), ("duplicated", duplicated)] {
            self.add(what, count as f64, MUST);
        }
        for (what, count) in [("out of order", out_of_order), ("lost", lost)] {
            self.add_for(what, count as f64, MUST, Target::AtMost(0.0));
        }
    }

    fn push(&mut self, what: String, value: f64, unit: &'static str, target: Option<Target>) {
        let met = target.map(|target| match target {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        });
        self.report.0.push(Measure { scenario: self.scenario, what, value, unit, target, met });
    }
}

/// With three digits, or all before the point.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100.0.. => thousands(value.round() as i64),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.8, 2.5, 42.25, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "0.800", "2.50", "42.2", "1,234,567"]);
    }

    #[test]
    fn a_loss_makes_a_report_unsound() {
        let mut report = Report::default();
        report.section("x").account(&Account { accepted: 1, lost: 1, ..Account::default() });
        assert!(!report.is_sound());
    }
}
