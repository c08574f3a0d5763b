//! Tables for people.

use std::time::Duration;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::Timestamp;

use super::print::{self, OutputError};
use crate::engine::clock;

/// Prints rows under a head, fitted to the terminal; says so when there are none.
pub(super) fn print<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    none: &str,
) -> Result<(), OutputError> {
    print::line(format_args!("{}", render(head, rows, none, None)))
}

/// The width that the last column has at least, where lines are wrapped.
const LEAST_WORDS: Width = Width::Fixed(24);

/// Rows under a head, in `width` columns or as many as the terminal has; without one, lines are as long
/// as they are.
fn render<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    none: &str,
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header(head.map(str::to_uppercase));
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| print::plain(&cell))));
    if table.is_empty() {
        return none.to_owned();
    }
    // An id must stay in one piece, to be copied; what follows in words may wrap.
    let constraints =
        (1..N).map(|_| ColumnConstraint::ContentWidth).chain([ColumnConstraint::LowerBoundary(LEAST_WORDS)]);
    table.set_constraints(constraints);
    // Cells stand off their (invisible) border by one blank.
    let lines = table.to_string();
    lines.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}

/// Text cut to `most` characters, which shows that it is cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A time in the operator's own zone, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, in one unit: `12 s`, `5 min`, `3 h`, `2 d`.
pub(super) fn ago(at: Timestamp) -> String {
    since(Duration::try_from(clock::now().duration_since(at)).unwrap_or_default())
}

fn since(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number of bytes: `512 B`, `3.4 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(width: Option<u16>, rows: &[[&str; 2]], expected: Expect) {
        let rows = rows.iter().map(|row| row.map(str::to_owned));
        expected.assert_eq(&render(["name", "reason"], rows, "None.", width));
    }

    #[test]
    fn lines_rows_up_under_a_head() {
        check(
            None,
            &[["archive", ""], ["a", "connection refused"]],
            expect![[r"
                 NAME     REASON
                 archive
                 a        connection refused"]],
        );
    }

    #[test]
    fn says_so_when_there_are_none() {
        check(None, &[], expect!["None."]);
    }

    #[test]
    fn wraps_a_long_reason_on_a_narrow_terminal() {
        check(
            Some(30),
            &[["archive", "no answer within thirty seconds"]],
            expect![[r"
                 NAME     REASON
                 archive  no answer within
                          thirty seconds"]],
        );
    }

    #[test]
    fn keeps_ids_whole_on_a_very_narrow_terminal() {
        check(
            Some(20),
            &[["01a20f35-77bc-75e4-b869-20d764a2cb2c", "it was refused for now"]],
            expect![[r"
                NAME                                  REASON
                01a20f35-77bc-75e4-b869-20d764a2cb2c  it was refused for now"]],
        );
    }

    #[test]
    fn lets_no_peer_steer_the_terminal() {
        check(
            None,
            &[["a", "\u{1b}[2J\u{7}gone"]],
            expect![[r"
                 NAME  REASON
                 a     �[2J�gone"]],
        );
    }

    #[test]
    fn cuts_long_text_visibly() {
        assert_eq!(cut("Größe", 5), "Größe");
        assert_eq!(cut("Größen", 5), "Größ…");
    }

    #[test]
    fn tells_ages_and_sizes_in_one_unit() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|s| since(Duration::from_secs(s)));
        assert_eq!(ages, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
        let sizes = [0, 1023, 1024, 3_565_158, 1 << 40, 1 << 60].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "3.4 MiB", "1.0 TiB", "1048576.0 TiB"]);
    }
}
