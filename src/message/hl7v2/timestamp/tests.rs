//! Precision, offsets, zones and nonsense.

use expect_test::expect;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::{Clock, Dtm, Precision, render};

fn chicago() -> TimeZone {
    TimeZone::get("America/Chicago").unwrap()
}

#[test]
fn keeps_precision_and_offset() {
    let mut table = String::new();
    for text in [
        "2024",
        "202402",
        "20240229",
        "2024022923",
        "202402292359",
        "20240229235958",
        "20240229235958.1",
        "20240229235958.0010",
        "20240229235958.123456789-0500",
        "202402292359+0530",
        "2024022923+0000",
        "20240229-0500",
        "20240229235960",
        " 20240229 ",
        "20240229235958.",
        "00010101",
    ] {
        let time = Dtm::parse(text).unwrap();
        let instant = time.to_fhir_instant(&chicago()).map_or("-", |_| "instant");
        table.push_str(&format!(
            "{text}: {:?} {} {} {instant}\n",
            time.precision(),
            time.to_fhir_date(),
            time.to_fhir_date_time(&chicago())
        ));
    }
    expect![[r#"
        2024: Year 2024 2024 -
        202402: Month 2024-02 2024-02 -
        20240229: Day 2024-02-29 2024-02-29 -
        2024022923: Hour 2024-02-29 2024-02-29T23:00:00-06:00 instant
        202402292359: Minute 2024-02-29 2024-02-29T23:59:00-06:00 instant
        20240229235958: Second 2024-02-29 2024-02-29T23:59:58-06:00 instant
        20240229235958.1: Second 2024-02-29 2024-02-29T23:59:58.1-06:00 instant
        20240229235958.0010: Second 2024-02-29 2024-02-29T23:59:58.0010-06:00 instant
        20240229235958.123456789-0500: Second 2024-02-29 2024-02-29T23:59:58.123456789-05:00 instant
        202402292359+0530: Minute 2024-02-29 2024-02-29T23:59:00+05:30 instant
        2024022923+0000: Hour 2024-02-29 2024-02-29T23:00:00+00:00 instant
        20240229-0500: Day 2024-02-29 2024-02-29 -
        20240229235960: Second 2024-02-29 2024-02-29T23:59:60-06:00 instant
         20240229 : Day 2024-02-29 2024-02-29 -
        20240229235958.: Second 2024-02-29 2024-02-29T23:59:58-06:00 instant
        00010101: Day 0001-01-01 0001-01-01 -
    "#]]
    .assert_eq(&table);
}

#[test]
fn refuses_nonsense() {
    let mut table = String::new();
    for text in [
        "",
        "\"\"",
        "0000",
        "00000000",
        "20240230",
        "20230229",
        "20241301",
        "20240001",
        "20240100",
        "2024010124",
        "202401012360",
        "20240101235961",
        "20240101235958.1234567890",
        "2024-01-01",
        "2024010",
        "202401011",
        "20240101T12",
        "20240101120000Z",
        "20240101120000+24",
        "20240101120000+1401",
        "20240101120000-0060",
        "20240101120000+010",
        "20240101120000+01000",
        "202401011200.5",
        "99999",
        "unknown",
        "２０２４",
        "2024é",
        "20240101120000+é1",
    ] {
        table.push_str(&format!("{text}: {}\n", Dtm::parse(text).unwrap_err()));
    }
    expect![[r#"
        : no time stands here
        "": no time stands here
        0000: the year is not 0001 to 9999
        00000000: the year is not 0001 to 9999
        20240230: the month has no such day
        20230229: the month has no such day
        20241301: the month is not 01 to 12
        20240001: the month is not 01 to 12
        20240100: the month has no such day
        2024010124: the time of day is not 000000 to 235960
        202401012360: the time of day is not 000000 to 235960
        20240101235961: the time of day is not 000000 to 235960
        20240101235958.1234567890: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        2024-01-01: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        2024010: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        202401011: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        20240101T12: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        20240101120000Z: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        20240101120000+24: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        20240101120000+1401: the offset is not -1400 to +1400
        20240101120000-0060: the offset is not -1400 to +1400
        20240101120000+010: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        20240101120000+01000: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        202401011200.5: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        99999: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        unknown: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        ２０２４: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        2024é: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        20240101120000+é1: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
    "#]]
    .assert_eq(&table);
}

#[test]
fn reads_times_of_day() {
    let mut table = String::new();
    for text in ["08", "0830", "083015", "083015.50", "0830-0600", "24", "8", "0830X", ""] {
        let shown = Clock::parse(text).map_or_else(|error| error.to_string(), |clock| clock.to_fhir());
        table.push_str(&format!("{text}: {shown}\n"));
    }
    expect![[r#"
        08: 08:00:00
        0830: 08:30:00
        083015: 08:30:15
        083015.50: 08:30:15.50
        0830-0600: 08:30:00
        24: the time of day is not 000000 to 235960
        8: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        0830X: this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]
        : no time stands here
    "#]]
    .assert_eq(&table);
}

/// 2024: the clocks skip 02:00 to 03:00 on 10 March, and go through 01:00 to 02:00 twice on 3 November.
#[test]
fn takes_the_offset_before_the_change_where_clocks_skip_or_repeat() {
    let at = |text: &str| Dtm::parse(text).unwrap().to_fhir_date_time(&chicago());
    assert_eq!(at("202403100159"), "2024-03-10T01:59:00-06:00");
    assert_eq!(at("202403100230"), "2024-03-10T02:30:00-06:00");
    assert_eq!(at("202403100300"), "2024-03-10T03:00:00-05:00");
    assert_eq!(at("202411030130"), "2024-11-03T01:30:00-05:00");
    assert_eq!(at("202411030200"), "2024-11-03T02:00:00-06:00");
}

/// Chicago's own time, before there were zones, was 5 h 50 min 36 s behind Greenwich.
#[test]
fn cuts_offsets_to_minutes() {
    let time = Dtm::parse("187001011200").unwrap();
    assert_eq!(time.to_fhir_date_time(&chicago()), "1870-01-01T12:00:00-05:50");
}

#[test]
fn knows_no_further_than_the_degree_of_precision() {
    let limited = |code| Dtm::parse("20240229235958.5-0500").unwrap().limited_to(Precision::of_code(code).unwrap());
    let shown: Vec<_> = ["Y", "L", "D", "H", "M", "S"].map(|code| limited(code).to_fhir_date_time(&chicago())).into();
    expect![[r#"
        2024
        2024-02
        2024-02-29
        2024-02-29T23:00:00-05:00
        2024-02-29T23:59:00-05:00
        2024-02-29T23:59:58.5-05:00"#]]
    .assert_eq(&shown.join("\n"));
    assert_eq!(Precision::of_code("X"), None);
}

#[test]
fn finds_the_point_in_time() {
    let at = |text: &str| Dtm::parse(text).unwrap().to_timestamp(&chicago()).unwrap().to_string();
    assert_eq!(at("20240229235958.25-0500"), "2024-03-01T04:59:58.25Z");
    assert_eq!(at("2024"), "2024-01-01T06:00:00Z");
    assert_eq!(at("20161231235960+0000"), "2016-12-31T23:59:59Z");
}

#[test]
fn writes_now_for_msh_7() {
    let now = "2024-07-01T03:04:05.678Z".parse().unwrap();
    assert_eq!(render(now, &chicago()), "20240630220405-0500");
    assert_eq!(render(now, &TimeZone::UTC), "20240701030405+0000");
    assert_eq!(render(now, &TimeZone::get("Asia/Kolkata").unwrap()), "20240701083405+0530");
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,30}") {
        for zone in [chicago(), TimeZone::UTC] {
            if let Ok(time) = Dtm::parse(&text) {
                prop_assert!(time.to_fhir_date_time(&zone).starts_with(&time.to_fhir_date()));
                prop_assert!(time.to_timestamp(&zone).is_some() || time.year == 9999);
            }
        }
        if let Ok(clock) = Clock::parse(&text) {
            prop_assert!(clock.to_fhir().len() >= 8);
        }
    }

    /// What is written for now reads back as the same second, in whatever zone.
    #[test]
    fn reads_what_it_writes(second in 0i64..4_000_000_000, zone in 0usize..4) {
        let zone = ["UTC", "America/Chicago", "Asia/Kolkata", "Australia/Lord_Howe"].get(zone).unwrap();
        let (now, zone) = (jiff::Timestamp::from_second(second).unwrap(), TimeZone::get(zone).unwrap());
        prop_assert_eq!(Dtm::parse(&render(now, &zone)).unwrap().to_timestamp(&TimeZone::UTC), Some(now));
    }

    /// FHIR R4's own expression for a dateTime.
    #[test]
    fn writes_what_fhir_reads(text in "[0-9]{4}([01][0-9]([0-3][0-9]([0-2][0-9]([0-5][0-9]([0-6][0-9](\\.[0-9]{1,9})?)?)?)?)?)?([+-][01][0-9]{3})?") {
        let fhir = regex::Regex::new(r"^([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])(T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00)))?)?)?$").unwrap();
        if let Ok(time) = Dtm::parse(&text) {
            let written = time.to_fhir_date_time(&chicago());
            prop_assert!(fhir.is_match(&written), "{} {}", text, written);
        }
    }
}
