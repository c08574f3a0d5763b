//! Messages of invented patients, and what their answers say.

/// An ADT^A08 of `patient`; `given` is their given name, by which versions are told apart.
pub(crate) fn update(patient: &str, control_id: &str, given: &str) -> Vec<u8> {
    adt("A08", patient, control_id, given, "")
}

/// An ADT message. `header` is what follows MSH-12, such as `|||AL|NE`.
pub(crate) fn adt(trigger: &str, patient: &str, control_id: &str, given: &str, header: &str) -> Vec<u8> {
    let structure = if trigger == "A40" { "ADT_A39" } else { "ADT_A01" };
    let mut text = format!(
        "MSH|^~\\&|MERIDIAN|ST-MARY|TRIBUTARY|REGION|20261102081512-0600||ADT^{trigger}^{structure}|{control_id}|P|2.5.1{header}\r\
         EVN|{trigger}|20261102081512-0600\r\
         PID|1||{patient}^^^ST-MARY^MR||Thornfield^{given}||19710423|F\r"
    );
    if trigger != "A40" {
        text += &format!("PV1|1|I|4W^412^B|||||||||||||||||V{patient}^^^ST-MARY^VN\r");
    }
    text.into_bytes()
}

/// An ADT^A40 that merges `prior` into `patient`.
pub(crate) fn merge(patient: &str, prior: &str, control_id: &str) -> Vec<u8> {
    let mut message = adt("A40", patient, control_id, "Merged", "");
    message.extend_from_slice(format!("MRG|{prior}^^^ST-MARY^MR\r").as_bytes());
    message
}

/// A field of the first segment of that name; MSH-1 is the separator, as the standard counts.
pub(crate) fn field(message: &[u8], segment: &str, number: usize) -> String {
    let text = String::from_utf8_lossy(message);
    let text = text.trim_start_matches('\u{feff}');
    let separator = text.chars().nth(3).unwrap_or('|');
    let found = text.split(['\r', '\n']).find(|line| line.starts_with(segment));
    let index = if segment == "MSH" { number - 1 } else { number };
    found.and_then(|line| line.split(separator).nth(index)).unwrap_or_default().to_owned()
}

/// MSA-1 of an acknowledgment.
pub(crate) fn code(ack: &[u8]) -> String {
    field(ack, "MSA", 1)
}

/// MSH-10.
pub(crate) fn control_id(message: &[u8]) -> String {
    field(message, "MSH", 10)
}

/// PID-3.1.
pub(crate) fn patient(message: &[u8]) -> String {
    field(message, "PID", 3).split('^').next().unwrap_or_default().to_owned()
}
