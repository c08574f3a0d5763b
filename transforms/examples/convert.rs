//! scratch
use message::{Context, Provider, hl7v2};
use std::sync::Arc;
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options, maps::Maps};
fn main() {
    let start = std::time::Instant::now();
    let maps = Arc::new(
        Maps::embedded()
            .map_err(|e| e.iter().map(|e| e.to_string()).collect::<Vec<_>>().join("\n"))
            .unwrap_or_else(|e| panic!("{e}")),
    );
    eprintln!("load {:?}", start.elapsed());
    let t = Hl7v2ToFhir::new(maps, Options::default());
    let context = Context {
        now: "2024-01-02T03:04:05Z".parse().unwrap(),
        provider: Arc::new(Provider { key: "st-mary".into(), name: "St Mary".into(), ..Provider::default() }),
        engine: "tributary 0.1.0".into(),
        base_uri: "https://example.org/tributary".into(),
        time_zone: jiff::tz::TimeZone::get("America/Chicago").unwrap(),
    };
    let out = std::env::args().nth(1).unwrap();
    for file in std::env::args().skip(2) {
        let bytes = std::fs::read(&file).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap_or_else(|_| bytes.iter().map(|b| *b as char).collect());
        let text = text.trim_start_matches('\u{feff}').to_owned();
        let mut parts: Vec<String> = vec![];
        for line in text.split(['\r', '\n']) {
            if line.trim_start().starts_with("MSH") {
                parts.push(String::new());
            }
            if let Some(p) = parts.last_mut() {
                p.push_str(line.trim_start());
                p.push('\r');
            }
        }
        for (i, part) in parts.iter().enumerate() {
            let b = bytes::Bytes::from(part.clone());
            let Ok(m) = hl7v2::Message::index(b.clone(), b) else {
                eprintln!("{file}: unreadable");
                continue;
            };
            let start = std::time::Instant::now();
            if std::env::var("REPEAT").is_ok() {
                for _ in 0..std::env::var("REPEAT").unwrap().parse::<usize>().unwrap() {
                    t.convert(&m, &context);
                }
            }
            let (bundle, findings) = t.convert(&m, &context);
            let took = start.elapsed();
            let name = file.rsplit('/').next().unwrap();
            if out == "-" {
                println!("{}", serde_json::to_string_pretty(&bundle).unwrap());
                for f in findings {
                    println!("{:?} {} {}", f.kind, f.location, f.text);
                }
                eprintln!("{took:?}");
            } else {
                let p = if i == 0 { format!("{out}/{name}.json") } else { format!("{out}/{name}.{i}.json") };
                std::fs::write(p, serde_json::to_string_pretty(&bundle).unwrap()).unwrap();
                std::fs::write(
                    format!("{out}/{name}.{i}.findings"),
                    findings.iter().map(|f| format!("{:?} {} {}\n", f.kind, f.location, f.text)).collect::<String>(),
                )
                .unwrap();
            }
        }
    }
}
