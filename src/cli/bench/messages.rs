//! The messages that are sent: invented, of the sizes that the targets name.

use std::fmt::Write as _;

use bytes::Bytes;

/// Begins what makes each message its own: its control id and its visit number.
const MARK: &[u8] = b"BENCH-";
const DIGITS: usize = 9;

/// The control id (MSH-10) of message `number`; its visit number (PV1-19) too, so that it can be told
/// wherever it arrives, converted or not.
pub(super) fn control_id(number: u64) -> String {
    format!("BENCH-{number:09}")
}

/// Which message this is, from its bytes as HL7 v2 or as FHIR.
pub(super) fn number_in(bytes: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(bytes, MARK)? + MARK.len();
    std::str::from_utf8(bytes.get(at..at + DIGITS)?).ok()?.parse().ok()
}

/// An admission of about 1 KB.
pub(super) fn adt(number: u64, patient: u32) -> Bytes {
    let id = control_id(number);
    Bytes::from(format!(
        "MSH|^~\\&|MERIDIAN|ST-MARY|TRIBUTARY|REGION|20261102081512-0600||ADT^A01^ADT_A01|{id}|P|2.5.1||||||UNICODE UTF-8\r\
         EVN|A01|20261102081512-0600|||QUILL^Quill^Dana|20261102080900-0600\r\
         PID|1||{patient:06}^^^ST-MARY^MR||Thornfield^Juniper^Amaryllis^^Ms^^L||19710423|F||2106-3^White^HL70005|\
         17 Larkspur Lane^Apt 4^Willowmere^IL^60999^USA^H||^PRN^PH^^1^312^5550117|^WPN^PH^^1^312^5550119|\
         en^English^ISO639|M^Married^HL70002\r\
         PD1||||1234567893^Fairweather^Orla^^^Dr^^^NPI\r\
         NK1|1|Thornfield^Basil^^^Mr|SPO^Spouse^HL70063|17 Larkspur Lane^Apt 4^Willowmere^IL^60999^USA|^PRN^PH^^1^312^5550120\r\
         PV1|1|I|4W^412^B^ST-MARY|E^Emergency^HL70007|||1234567893^Fairweather^Orla^^^Dr^^^NPI||CAR|||||A0|||IP|\
         {id}^^^ST-MARY^VN|||||||||||||||||||||||||20261102080900-0600\r\
         AL1|1|DA^Drug allergy^HL70127|7980^Penicillin G^RXNORM|MO^Moderate^HL70128|Hives|19980611\r\
         DG1|1||I20.0^Unstable angina^I10C||20261102083000-0600|A\r\
         IN1|1|GOLD^Gold Plan^L|WM-77^^^WILLOWMERE|Willowmere Mutual||||||||20260101|20261231\r"
    ))
}

/// Forty results: a report of about 10 KB.
pub(super) fn oru(number: u64, patient: u32) -> Bytes {
    let mut text = report_head(number, patient);
    for n in 1..=40 {
        let written = write!(
            text,
            "OBX|{n}|NM|{code}-{check}^Analyte number {n} [Mass/volume] in Serum or Plasma by standard method^LN^\
             LOCAL-{n:03}^Analyte number {n} of the panel^L||{whole}.{part:02}0|mg/dL^milligram per decilitre^UCUM|\
             70.0-110.0|N|||F|||20261102091500-0600|HARBOR^Harbor Laboratory|TECH{n:02}^Wren^Pippa\r",
            code = 2300 + n,
            check = n % 10,
            whole = 70 + n,
            part = n * 2,
        );
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    Bytes::from(text)
}

/// A report with a document of `size` bytes in it, in Base64.
pub(super) fn document(number: u64, patient: u32, size: usize) -> Bytes {
    let mut text = report_head(number, patient);
    text.reserve(size + 64);
    text.push_str("OBX|1|ED|18842-5^Discharge summary^LN||^application^pdf^Base64^");
    text.extend(std::iter::repeat_n("JVBERi0xLjcK", size / 12));
    text.push_str("||||||F\r");
    Bytes::from(text)
}

fn report_head(number: u64, patient: u32) -> String {
    let id = control_id(number);
    format!(
        "MSH|^~\\&|ASSAY|ST-MARY|TRIBUTARY|REGION|20261102132210-0600||ORU^R01^ORU_R01|{id}|P|2.5.1||||||UNICODE UTF-8\r\
         PID|1||{patient:06}^^^ST-MARY^MR||Thornfield^Juniper^Amaryllis^^Ms^^L||19710423|F\r\
         PV1|1|I|4W^412^B^ST-MARY|||||||CAR|||||||||{id}^^^ST-MARY^VN\r\
         ORC|RE|P7001^MERIDIAN|F26-9001^ASSAY||CM|||||||1234567893^Fairweather^Orla^^^Dr^^^NPI\r\
         OBR|1|P7001^MERIDIAN|F26-9001^ASSAY|24323-8^Comprehensive metabolic 2000 panel^LN|||20261102091500-0600|||||||\
         20261102095000-0600||1234567893^Fairweather^Orla^^^Dr^^^NPI||||||20261102131900-0600||CH|F\r"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], size: std::ops::RangeInclusive<usize>) {
        assert_eq!(number_in(message), Some(41));
        assert!(size.contains(&message.len()), "{} bytes", message.len());
    }

    #[test]
    fn messages_have_the_sizes_that_the_targets_name() {
        check(&adt(41, 7), 950..=1_150);
        check(&oru(41, 7), 9_500..=11_000);
        check(&document(41, 7, 1 << 20), 1 << 20..=(1 << 20) + 1_000);
    }
}
