//! Nothing is dropped in silence: each value of a message is in what it becomes, or its place is on the coverage list.
//!
//! A value may also be there in other words, as a code that a table translates, or be what a condition asks for, or
//! be skipped by a row with its reason. All of these stand in the tables: what they name is left out here.
#![allow(clippy::expect_used, reason = "a test stops where its files cannot be read")]
#![allow(clippy::print_stderr, reason = "how much was looked at is of interest")]

mod corpus;

use std::collections::HashSet;
use std::path::Path;

use base64::Engine as _;
use message::Finding;
use message::hl7v2::{self, escape};
use message::json::Value;

/// What the tables say: words that they know, and fields that they skip.
struct Told {
    words: HashSet<String>,
    skipped: HashSet<String>,
}

impl Told {
    fn read() -> Self {
        let mut told = Self { words: HashSet::new(), skipped: HashSet::new() };
        for path in corpus::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("maps"), ".toml") {
            let table: toml::Table = std::fs::read_to_string(path).expect("a table").parse().expect("TOML");
            let list = |name: &str| table.get(name).and_then(toml::Value::as_array).into_iter().flatten();
            let text = |row: &toml::Value, key: &str| row.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            told.words.extend(list("codes").filter_map(|code| text(code, "from")).map(|code| plain(&code)));
            for row in list("row") {
                // The words of `when`: what stands between quotes.
                let when = text(row, "when").unwrap_or_default();
                told.words.extend(when.split('\'').skip(1).step_by(2).map(plain));
                if row.get("skip").is_some() {
                    told.skipped.extend(text(row, "from"));
                }
            }
        }
        told
    }

    fn has(&self, place: &Place<'_>) -> bool {
        let field = format!("{}-{}", place.segment, place.field);
        self.skipped.iter().any(|skipped| *skipped == field || skipped.starts_with(&format!("{field}.")))
            || self.words.contains(&plain(&place.value))
            || is_table(&place.value)
    }
}

/// `HL70063`: a table of HL7's own goes with the code where that is translated.
fn is_table(value: &str) -> bool {
    let number = value.trim().strip_prefix("HL7").or(value.trim().strip_prefix("hl7"));
    number.is_some_and(|number| number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// All texts of what a message became, in the forms that values are looked for in.
struct Said {
    plain: String,
    digits: String,
}

impl Said {
    fn of(bundle: &Value) -> Self {
        let (mut plain_texts, mut digits_only) = (String::new(), String::new());
        let mut rest = vec![bundle];
        while let Some(value) = rest.pop() {
            match value {
                Value::Object(members) => rest.extend(members.values()),
                Value::Array(members) => rest.extend(members),
                value => {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    for form in std::iter::once(decoded(&text)).chain(of_base64(&text)) {
                        plain_texts.push_str(&plain(&form));
                        digits_only.push_str(&digits(&form));
                        plain_texts.push('\n');
                        digits_only.push('\n');
                    }
                }
            }
        }
        Self { plain: plain_texts, digits: digits_only }
    }

    /// True if `value` is told, whole or word by word.
    fn has(&self, value: &str) -> bool {
        // Seconds that are not said are zeros, so the zone does not follow what is said.
        let is_time = value.len() > 12 && value.bytes().take(12).all(|b| b.is_ascii_digit());
        let value = plain(if is_time { value.split(['+', '-']).next().unwrap_or(value) } else { value });
        let number = value.trim_start_matches(['+', '0']).trim_end_matches('.');
        let digits = digits(&value);
        let is_number = value.bytes().all(|b| b.is_ascii_digit() || b" .:+-()/extx".contains(&b));
        self.plain.contains(&value)
            || (is_number && (self.plain.contains(number) || self.digits.contains(&digits)))
            || value.split(' ').all(|word| self.plain.contains(word))
    }
}

/// Without differences of case, of blanks, or of what FHIR's texts cannot hold.
fn plain(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Names are encoded in URIs.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        match after.get(..2).filter(|_| *first == b'%').and_then(code) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What base64 stands for, as text and in hexadecimal digits.
fn of_base64(text: &str) -> impl Iterator<Item = String> + use<> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [String::from_utf8(bytes).ok(), Some(hexadecimal)].into_iter().flatten().filter(|text| !text.is_empty())
}

/// Where a value stands, and what it is.
struct Place<'m> {
    segment: &'m str,
    field: usize,
    /// As the coverage list writes it.
    location: String,
    value: String,
}

/// All values of a message, but for the delimiters and what deletes.
fn places(message: &hl7v2::Message) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for segment in message.segments() {
        let name = segment.name();
        seen.push(name);
        let occurrence = seen.iter().filter(|other| **other == name).count();
        let is_header = matches!(name, "MSH" | "FHS" | "BHS");
        let fields = segment.text().split(char::from(message.delimiters().field)).enumerate().skip(1);
        for (number, text) in fields {
            let field = if is_header { number + 1 } else { number };
            if !(is_header && field == 2) {
                let place = if occurrence > 1 { format!("{name}[{occurrence}]") } else { name.to_owned() };
                of_field(message, (name, &place, field), text, &mut places);
            }
        }
    }
    places
}

fn of_field<'m>(
    message: &hl7v2::Message,
    (segment, place, field): (&'m str, &str, usize),
    text: &str,
    places: &mut Vec<Place<'m>>,
) {
    let delimiters = message.delimiters();
    for (r, repetition) in text.split(char::from(delimiters.repetition)).enumerate() {
        let components: Vec<_> = repetition.split(char::from(delimiters.component)).collect();
        for (c, component) in components.iter().enumerate() {
            let parts: Vec<_> = match delimiters.subcomponent {
                Some(at) => component.split(char::from(at)).collect(),
                None => vec![*component],
            };
            for (s, part) in parts.into_iter().enumerate() {
                if part.trim().is_empty() || part == "\"\"" {
                    continue;
                }
                let mut location = format!("{place}-{field}");
                if r > 0 {
                    location.push_str(&format!("[{}]", r + 1));
                }
                if !(components.len() == 1 && s == 0) {
                    location.push_str(&format!(".{}", c + 1));
                }
                if s > 0 {
                    location.push_str(&format!(".{}", s + 1));
                }
                let value = escape::unescape(part, delimiters).into_owned();
                places.push(Place { segment, field, location, value });
            }
        }
    }
}

fn is_listed(findings: &HashSet<&str>, place: &Place<'_>) -> bool {
    findings.contains(place.location.as_str())
        || findings.iter().any(|listed| {
            // A finding of a whole field is one of each of its values.
            place.location.strip_prefix(listed).is_some_and(|rest| rest.starts_with(['.', '[', '-']))
        })
}

/// How many values of the message were looked at; what was lost of them is added to `lost`.
fn check(message: &hl7v2::Message, bundle: &Value, findings: &[Finding], told: &Told, lost: &mut Vec<String>) -> usize {
    let listed: HashSet<&str> = findings.iter().map(|finding| finding.location.as_str()).collect();
    let said = Said::of(bundle);
    let places = places(message);
    for place in &places {
        if !said.has(&place.value) && !told.has(place) && !is_listed(&listed, place) {
            lost.push(place.location.clone());
        }
    }
    places.len()
}

/// The whole corpus where there is one: `TRIBUTARY_CORPUS` says where.
#[test]
fn each_value_is_in_the_bundle_or_on_the_list() {
    let (transform, context, told) = (corpus::transform(), corpus::context(), Told::read());
    let shared = corpus::shared().into_iter().flat_map(|root| ["hl7v2", "hl7v2-fields"].map(|name| root.join(name)));
    let (mut count, mut all) = (0, Vec::new());
    for path in shared.chain(corpus::own()).flat_map(|folder| corpus::files(&folder, "")) {
        if path.extension().is_some_and(|end| ["json", "txt", "md", "rs"].iter().any(|other| end == *other)) {
            continue;
        }
        for message in corpus::messages(&path) {
            let (bundle, findings) = transform.convert(&message, &context);
            let mut lost = Vec::new();
            count += check(&message, &bundle, &findings, &told, &mut lost);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.extend(lost.into_iter().map(|location| format!("{location} of {name}")));
        }
    }
    all.sort();
    eprintln!("{count} values, {} lost", all.len());
    assert!(count > 500, "only {count} values were looked at");
    assert!(
        all.is_empty(),
        "{} of {count} values are lost without a word: {:#?}",
        all.len(),
        all.get(..100).unwrap_or(&all)
    );
}
