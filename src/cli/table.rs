//! Tables for people.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use crate::engine::clock;

/// Prints rows under a head, fitted to the terminal; says so when there are none.
pub(super) fn print<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>, none: &str) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.map(str::to_uppercase));
    table.add_rows(rows);
    if table.is_empty() {
        println!("{none}");
    } else {
        println!("{}", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
    }
}

/// A time in the operator's own zone, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, in one unit: `12 s`, `5 min`, `3 h`, `2 d`.
pub(super) fn ago(at: Timestamp) -> String {
    let seconds = Duration::try_from(clock::now().duration_since(at)).unwrap_or_default().as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number of bytes: `512 B`, `3.4 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
