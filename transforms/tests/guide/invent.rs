//! Segments with a value in every field, each of its data type, by chance: also the values that conditions ask for.

use std::collections::BTreeMap;

use proptest::prelude::Rng;
use proptest::prelude::RngExt as _;

use super::condition;
use super::tables::{Guide, Row};

/// Invents values; no two are the same where they may differ.
pub(crate) struct Inventor<'g, R> {
    guide: &'g Guide,
    random: R,
    /// What conditions compare a place with.
    literals: BTreeMap<String, Vec<String>>,
    /// Fields that conditions count.
    counted: Vec<String>,
    /// How many of a hundred components have a value.
    filled: u32,
    number: usize,
}

impl<'g, R: Rng> Inventor<'g, R> {
    pub(crate) fn new(guide: &'g Guide, random: R) -> Self {
        let mut literals: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut counted = Vec::new();
        for row in guide.segments.values().chain(guide.data_types.values()).flatten() {
            for (path, literal) in condition::literals(&row.when) {
                let path = if path.is_empty() { row.from.clone() } else { path };
                literals.entry(path.replace("HD-", "HD.")).or_default().push(literal);
            }
            if row.when.to_uppercase().contains("COUNT") {
                counted.extend(row.when.split_whitespace().find(|word| word.contains('-')).map(str::to_owned));
            }
        }
        counted.push("OBX-5".to_owned());
        Self { guide, random, literals, counted, filled: 100, number: 0 }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// A segment that fills what `table` reads; `given` are fields that are as they are.
    pub(crate) fn segment(&mut self, table: &str, given: &[(usize, &str)]) -> String {
        let rows = self.guide.segments[&table.to_lowercase()].clone();
        let name = table.split('[').next().unwrap_or_default();
        let mut fields: BTreeMap<usize, String> = BTreeMap::new();
        // Sometimes nearly all, sometimes little.
        let filled = if self.chance(60) { 95 } else { 50 };
        self.filled = if self.chance(60) { 95 } else { 60 };
        for row in &rows {
            let Some(number) = row.from.rsplit_once('-').and_then(|(_, number)| number.parse().ok()) else { continue };
            if number == 0 || fields.contains_key(&number) {
                continue;
            }
            let vocabulary = rows.iter().find(|other| other.from == row.from && !other.vocabulary.is_empty());
            let vocabulary = vocabulary.map_or(String::new(), |row| row.vocabulary.clone());
            let mut text = if self.chance(filled) { self.field(row, &vocabulary, &fields) } else { String::new() };
            if self.counted.contains(&row.from) && !text.is_empty() && self.chance(40) {
                text = format!("{text}~{}", self.field(row, &vocabulary, &fields));
            }
            fields.insert(number, text);
        }
        fields.extend(given.iter().map(|(number, text)| (*number, (*text).to_owned())));
        let last = fields.keys().max().copied().unwrap_or(1);
        let text = |number| fields.get(&number).cloned().unwrap_or_default();
        match name {
            "MSH" => format!("MSH|^~\\&|{}", (3..=last).map(text).collect::<Vec<_>>().join("|")),
            _ => format!("{name}|{}", (1..=last).map(text).collect::<Vec<_>>().join("|")),
        }
    }

    fn field(&mut self, row: &Row, vocabulary: &str, before: &BTreeMap<usize, String>) -> String {
        let kind = match row.from.as_str() {
            // The value is of the type that OBX-2 names.
            "OBX-5" => before.get(&2).filter(|kind| !kind.is_empty()).cloned().unwrap_or("ST".to_owned()),
            _ => row.kind.clone(),
        };
        self.value(&kind, vocabulary, &row.from, '^')
    }

    fn value(&mut self, kind: &str, vocabulary: &str, place: &str, mark: char) -> String {
        if let Some(literal) = self.literal(place) {
            return literal;
        }
        // Some tables say no type.
        let kind = if matches!(place, "XCN.17" | "XPN.10") { "DR" } else { kind };
        let kinds = if mark == '\u{1}' { Vec::new() } else { self.guide.components(kind) };
        if kind == "HD" {
            return self.authority(place, mark);
        }
        if kinds.is_empty() {
            return self.primitive(kind, vocabulary);
        }
        let next = if mark == '^' { '&' } else { '\u{1}' };
        let mut parts = Vec::new();
        for (index, of) in kinds.iter().enumerate() {
            let number = index + 1;
            let here = self.literal(&format!("{place}.{number}"));
            let codes = self.codes_of(kind, number).unwrap_or_default();
            let is_coded = matches!(kind, "CWE" | "CE" | "CNE" | "CF");
            parts.push(match (here, is_coded, number) {
                (Some(literal), ..) => literal,
                (None, true, 1) => self.value(of, vocabulary, "CWE.1", next),
                (None, true, 3 | 6 | 12) if !vocabulary.is_empty() && number == 3 => String::new(),
                (None, true, 3 | 6 | 12) => ["LN", "SCT", "I10C"][self.random.random_range(0..3)].to_owned(),
                _ if number > 1 && !self.chance(self.filled) => String::new(),
                _ => self.value(of, &codes, &format!("{kind}.{number}"), next),
            });
        }
        let mark = if mark == '^' { "^" } else { "&" };
        parts.join(mark).trim_end_matches(['^', '&']).to_owned()
    }

    fn literal(&mut self, place: &str) -> Option<String> {
        let known = self.literals.get(place).filter(|known| !known.is_empty())?.clone();
        self.chance(80).then(|| known[self.random.random_range(0..known.len())].clone())
    }

    fn codes_of(&self, kind: &str, number: usize) -> Option<String> {
        let of_kind = |(name, _): &(&String, &Vec<Row>)| name.starts_with(&format!("{}[", kind.to_lowercase()));
        let mut rows = self.guide.data_types.iter().filter(of_kind).flat_map(|(_, rows)| rows);
        let from = format!("{kind}.{number}");
        rows.find(|row| row.from == from && !row.vocabulary.is_empty()).map(|row| row.vocabulary.clone())
    }

    fn authority(&mut self, place: &str, mark: char) -> String {
        self.number += 1;
        let number = self.number;
        let namespace = if self.chance(80) { format!("AUTH{number}") } else { String::new() };
        let kind = self.literal(&format!("{place}.3")).or_else(|| self.literal("HD.3")).unwrap_or("ISO".to_owned());
        let id = match kind.as_str() {
            "UUID" => format!("00000000-0000-4000-8000-{number:012}"),
            "DNS" => format!("a{number}.example.org"),
            "URI" => format!("http://example.org/{number}"),
            _ => format!("1.2.3.{number}"),
        };
        let mark = if mark == '^' { "^" } else { "&" };
        match mark {
            _ if mark == "&" && !namespace.is_empty() && self.chance(30) => namespace,
            mark => [namespace, id, kind].join(mark),
        }
    }

    fn primitive(&mut self, kind: &str, vocabulary: &str) -> String {
        self.number += 1;
        let number = self.number;
        if let Some(codes) = self.guide.vocabulary(vocabulary) {
            let known: Vec<_> = codes.iter().filter(|(_, made)| !made.is_empty()).map(|(code, _)| code).collect();
            if !known.is_empty() {
                return known[self.random.random_range(0..known.len())].clone();
            }
        }
        let (month, day) = (1 + number / 28 % 12, 1 + number % 28);
        let year = 2000 + number / 336 % 25;
        match kind {
            "NM" => (1 + number % 900).to_string(),
            "SI" => "1".to_owned(),
            "DT" => format!("{year}{month:02}{day:02}"),
            "DTM" | "TS" => format!("{year}{month:02}{day:02}{:02}1530", number % 24),
            "TM" => format!("{:02}15", number % 24),
            _ => format!("T{number}"),
        }
    }
}
