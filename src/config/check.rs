//! `tributary check`, offline: what is wrong with a site, and what it holds.

use std::path::Path;

use super::load::load;
use super::problem::Problem;
use super::site::Site;

/// What a check found.
#[derive(Debug)]
pub struct Report {
    /// The site, if it can run.
    pub site: Option<Site>,
    /// Everything that is wrong with it, file by file.
    pub problems: Vec<Problem>,
}

/// Exit code for a bad configuration (`EX_CONFIG` of `sysexits.h`).
pub const EX_CONFIG: u8 = 78;

/// Checks the site in `dir` without reaching anything outside it.
#[must_use]
pub fn run(dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Report {
    match load(dir, env) {
        Ok(site) => Report { problems: site.warnings.clone(), site: Some(site) },
        Err(problems) => Report { site: None, problems },
    }
}

impl Report {
    /// 0 if the site can run, else [`EX_CONFIG`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.site.is_some() { 0 } else { EX_CONFIG }
    }

    /// All problems and a last line that sums them up; with the lines that they are about if
    /// `shown`, and in colour if `coloured`.
    #[must_use]
    pub fn render(&self, shown: bool, coloured: bool) -> String {
        let one = |problem: &Problem| if shown { problem.render(coloured) } else { problem.to_string() };
        let mut text = String::new();
        for problem in &self.problems {
            let gap = if shown { "\n" } else { "" };
            text += &format!("{}\n{gap}", one(problem));
        }
        text + &self.summary()
    }

    /// One line: `2 errors, 1 warning`, or what the site holds.
    #[must_use]
    pub fn summary(&self) -> String {
        let errors = self.problems.iter().filter(|problem| problem.is_error()).count();
        let warnings = count(self.problems.len() - errors, "warning");
        match &self.site {
            Some(site) => {
                let channels = count(site.channels.len(), "channel");
                format!("ok: {channels}, {}, {warnings}", count(site.destinations.len(), "destination"))
            }
            None => format!("{}, {warnings}", count(errors, "error")),
        }
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
