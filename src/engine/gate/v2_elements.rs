//! Single elements of HL7 v2: what a label of demographics covers is left empty, which tells the receiver nothing, and never
//! becomes `""`, which would tell it to erase its own. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use message::json::Text;

/// Fields of a segment; all of it where there are none.
type Fields = (&'static str, &'static [usize]);

/// Fields that a label covers, by segment.
const COVERED: &[(&str, &[Fields])] = &[
    (
        "DEMO",
        &[
            ("PID", &[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 39]),
            ("PD1", &[1, 2, 19, 20, 21]),
            ("MRG", &[7]),
            ("NK1", &[]),
            ("GT1", &[]),
            ("IN1", &[]),
            ("IN2", &[]),
            ("IN3", &[]),
            ("STF", &[]),
        ],
    ),
    ("DOB", &[("PID", &[7]), ("IN1", &[18]), ("GT1", &[8]), ("NK1", &[16]), ("IN2", &[])]),
    ("GENDER", &[("PID", &[8]), ("IN1", &[43]), ("GT1", &[9])]),
    ("MARST", &[("PID", &[16]), ("IN2", &[43]), ("GT1", &[30])]),
    (
        "PATLOC",
        &[
            ("PID", &[11, 12, 23]),
            ("PV1", &[3, 6, 11, 37, 42, 43]),
            ("PV2", &[1, 23]),
            ("NPU", &[]),
            ("NK1", &[4]),
            ("IN1", &[19]),
            ("GT1", &[5]),
            ("EVN", &[7]),
        ],
    ),
    ("RACE", &[("PID", &[10, 22]), ("NK1", &[28, 35]), ("GT1", &[44, 55])]),
    ("REL", &[("PID", &[17]), ("IN2", &[39]), ("NK1", &[25]), ("GT1", &[41]), ("PD1", &[3, 14])]),
];
/// A value at least this long that stands elsewhere too is told there.
const TELLING: usize = 8;

/// `bytes` without what `labels` cover.
///
/// # Errors
///
/// Why that cannot be done.
pub(super) fn masked(bytes: &Bytes, separators: Separators, labels: &BTreeSet<Text>) -> Result<Bytes, &'static str> {
    let covered: Vec<&Fields> =
        COVERED.iter().filter(|(label, _)| labels.contains(*label)).flat_map(|(_, segments)| *segments).collect();
    let (mut rest, mut lost): (Vec<u8>, BTreeSet<Vec<u8>>) = (Vec::with_capacity(bytes.len()), BTreeSet::new());
    for line in bytes.split(|byte| *byte == b'\r').filter(|line| !line.is_empty()) {
        let name = line.get(..3).unwrap_or_default();
        if name.first() == Some(&b'Z') {
            return Err("nobody can tell what its segments of the site's own say");
        }
        let of_it: Vec<&[usize]> =
            covered.iter().filter(|(segment, _)| segment.as_bytes() == name).map(|(_, fields)| *fields).collect();
        if of_it.iter().any(|fields| fields.is_empty()) {
            continue;
        }
        for (at, field) in line.split(|byte| *byte == separators.field).enumerate() {
            if at > 0 {
                rest.push(separators.field);
            }
            if !of_it.iter().any(|fields| fields.contains(&at)) || field.is_empty() {
                rest.extend_from_slice(field);
                continue;
            }
            let parts = field.split(|byte| separators.within.contains(byte));
            lost.extend(parts.filter(|part| part.len() >= TELLING).map(<[u8]>::to_vec));
            // A name must be there: it is one that names nobody (table 0200, `S`).
            if name == b"PID" && at == 5 {
                let component = separators.within.first().copied().unwrap_or(b'^');
                rest.extend(std::iter::repeat_n(component, 6).chain([b'S']));
            }
        }
        rest.push(b'\r');
    }
    let tells = |value: &Vec<u8>| rest.windows(value.len()).any(|window| window == value.as_slice());
    if lost.iter().any(tells) { Err("it says elsewhere what is to be masked") } else { Ok(rest.into()) }
}

/// What separates the parts of a message.
#[derive(Clone, Copy)]
pub(super) struct Separators {
    pub(super) field: u8,
    /// Components, repetitions, subcomponents.
    pub(super) within: [u8; 3],
}

/// `bytes` with a note behind the patient that says `text`.
///
/// # Errors
///
/// Where there is no patient.
pub(super) fn noted(bytes: &Bytes, separators: Separators, text: &str) -> Result<Bytes, &'static str> {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\r').filter(|line| !line.is_empty()).collect();
    let patient = lines.iter().position(|line| line.starts_with(b"PID")).ok_or("it has no place for a statement")?;
    let behind = |line: &&&[u8]| [&b"PD1"[..], b"NTE"].iter().any(|name| line.starts_with(name));
    let after = lines.iter().skip(patient + 1).take_while(behind);
    let notes = after.clone().filter(|line| line.starts_with(b"NTE")).count();
    let at = patient + 1 + after.count();
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || " .,/-()".contains(c) { c } else { '-' }).collect();
    let mut rest = Vec::with_capacity(bytes.len() + plain.len() + 16);
    for (number, line) in lines.iter().enumerate() {
        if number == at {
            note(&mut rest, separators, notes + 1, &plain);
        }
        rest.extend_from_slice(line);
        rest.push(b'\r');
    }
    if at == lines.len() {
        note(&mut rest, separators, notes + 1, &plain);
    }
    Ok(rest.into())
}

fn note(rest: &mut Vec<u8>, separators: Separators, number: usize, text: &str) {
    for part in ["NTE", &number.to_string(), "O", text] {
        if !rest.is_empty() && part != "NTE" {
            rest.push(separators.field);
        }
        rest.extend_from_slice(part.as_bytes());
    }
    rest.push(b'\r');
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEPARATORS: Separators = Separators { field: b'|', within: *b"^~&" };
    const MESSAGE: &str = "MSH|^~\\&|A|X|||20260101||ORU^R01|1|P|2.5.1\r\
        PID|1||7^^^X^MR||Thornfield^Wilhelmina||19710423|F|||1 Elm^^Troy||||||CAT\rPV1|1|I|4W^412^B\rOBR|1|||A\r";

    fn of(text: &str, labels: &[&str]) -> Result<String, &'static str> {
        let labels = labels.iter().map(|label| Text::from(*label)).collect();
        let rest = masked(&Bytes::copy_from_slice(text.as_bytes()), SEPARATORS, &labels)?;
        Ok(String::from_utf8(rest.to_vec()).unwrap())
    }

    #[test]
    fn a_covered_field_is_left_empty() {
        let rest = of(MESSAGE, &["DOB", "REL"]).unwrap();
        assert_eq!(rest, MESSAGE.replace("19710423", "").replace("CAT", ""));
        let placed = of(MESSAGE, &["PATLOC"]).unwrap();
        assert_eq!(placed, MESSAGE.replace("1 Elm^^Troy", "").replace("4W^412^B", ""));
        assert!(!placed.contains("\"\""));
    }

    #[test]
    fn a_person_without_demographics_is_a_number() {
        let rest = of(&format!("{MESSAGE}NK1|1|Kin^Anne\r"), &["DEMO"]).unwrap();
        assert!(rest.contains("PID|1||7^^^X^MR||^^^^^^S||||||||||||\r"), "{rest}");
        assert!(!rest.contains("Kin") && rest.contains("PV1|1|I|4W^412^B"));
    }

    #[test]
    fn what_is_said_elsewhere_is_not_masked() {
        assert!(of(&format!("{MESSAGE}OBX|1|TX|n||born 19710423\r"), &["DOB"]).is_err());
        assert!(of(&format!("{MESSAGE}ZPI|1\r"), &["DOB"]).is_err());
    }

    #[test]
    fn a_statement_stands_behind_the_patient() {
        let noted = |text: &str| {
            noted(&Bytes::copy_from_slice(text.as_bytes()), SEPARATORS, "42 CFR part 2 prohibits. By c1|3^")
        };
        let rest = noted(MESSAGE).unwrap();
        let rest = std::str::from_utf8(&rest).unwrap();
        assert!(rest.contains("CAT\rNTE|1|O|42 CFR part 2 prohibits. By c1-3-\rPV1"), "{rest}");
        let again = noted("MSH|^~\\&|A\rPID|1\rPD1|1\rNTE|1||x\r").unwrap();
        assert!(again.ends_with(b"NTE|1||x\rNTE|2|O|42 CFR part 2 prohibits. By c1-3-\r"));
        assert!(noted("MSH|^~\\&|A\r").is_err());
    }
}
