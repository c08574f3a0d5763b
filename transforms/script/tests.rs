use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use message::consent::Flags;
use message::{Body, Context, FindingKind, Format, Message, MessageId, Original, Provider, Sha256, Transform as _};
use message::{TransformError, hl7v2};
use serde_json::{Value, json};

use super::{CodeSets, Options, Script, ScriptError, TYPES};

const ADT: &str = "MSH|^~\\&|A|STMARY|B|C|20260131080000||ADT^A01|1|P|2.5\rPID|1||4711^^^STMARY^MR~99^^^X^PI||Doe^Ann||\"\"\r\
                   OBX|1|NM|a||72.50\rOBX|2|NM|b||0.010\rZPI|a\\T\\b\r";

fn context() -> Context {
    Context {
        now: "2026-01-31T14:00:00Z".parse().unwrap(),
        provider: Arc::new(Provider { key: "st-mary".into(), ..Provider::default() }),
        engine: "tributary".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: jiff::tz::TimeZone::UTC,
    }
}

fn script(source: &str) -> Result<Script, ScriptError> {
    Script::new(Path::new("scripts/fix.js"), source.to_owned(), Arc::default(), Options::default())
}

fn message(text: &'static str, bundle: Option<Value>) -> Message {
    let bytes = Bytes::from_static(text.as_bytes());
    let read = hl7v2::Message::index(bytes.clone(), bytes.clone()).unwrap();
    let original = Original {
        id: MessageId(uuid::Uuid::nil()),
        channel: "st-mary-adt".into(),
        received: context().now,
        peer: "".into(),
        format: Format::Hl7v2,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: None,
    };
    let mut message = Message::new(Arc::new(original), Body::Hl7v2(read), Flags::default());
    if let Some(bundle) = bundle {
        message.body = Body::Fhir(bundle.into());
    }
    message
}

fn apply(source: &str, bundle: Option<Value>) -> Result<Message, TransformError> {
    script(source).expect("a script").apply(message(ADT, bundle), &context())
}

fn bundle() -> Value {
    serde_json::from_str(
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Observation",
        "valueQuantity":{"value":72.50},"component":[{"valueQuantity":{"value":5}},{"valueQuantity":{"value":123456789012345678.9}}]}},
        {"resource":{"resourceType":"Patient","name":[{"family":"Doe"}],"multipleBirthInteger":2}}]}"#,
    )
    .unwrap()
}

/// The Bundle that a script leaves.
#[track_caller]
fn left(source: &str) -> Value {
    match apply(source, Some(bundle())).unwrap().body {
        Body::Fhir(bundle) => bundle.into(),
        Body::Hl7v2(_) => panic!("still HL7 v2"),
    }
}

/// Where and why a script fails.
#[track_caller]
fn fails(source: &str, location: &str, reason: &str) {
    let error = apply(source, Some(bundle())).map(|_| ()).unwrap_err();
    assert_eq!((error.location.as_str(), error.reason.as_str()), (location, reason));
}

#[test]
fn numbers_keep_their_digits() {
    assert_eq!(left("function transform() {}").to_string(), bundle().to_string());
    let moved = left(
        "function transform(message, bundle) {
           const [observation] = resources(bundle, 'Observation');
           observation.referenceRange = [{ low: { value: observation.valueQuantity.value } }];
           observation.component[0].valueQuantity.value = decimal(message.get('OBX[2]-5'));
           observation.note = [{ text: `${observation.valueQuantity.value} > ${observation.valueQuantity.value > 72}` }];
           observation.component[1].valueQuantity.value = observation.valueQuantity.value * 2;
         }",
    );
    let observation = &moved["entry"][0]["resource"];
    assert_eq!(observation["referenceRange"][0]["low"].to_string(), r#"{"value":72.50}"#);
    assert_eq!(observation["component"][0].to_string(), r#"{"valueQuantity":{"value":0.010}}"#);
    assert_eq!(observation["note"][0]["text"], "72.50 > true");
    assert_eq!(observation["component"][1]["valueQuantity"]["value"].to_string(), "145");
}

#[test]
fn reads_the_message_by_path() {
    let left = left(
        "function transform(message, bundle, context) {
           return { resourceType: 'Bundle', said: [
             message.get('PID-3'), message.get('PID-3[2].1'), message.get('PID-7') === null, message.get('PID-9'),
             message.all('PID-3.1'), message.all('OBX-5'), message.has('PID-7'), message.has('PID-5.1'),
             message.segments('OBX').map((obx) => obx.name + obx.number + obx.get('5') + obx.get('OBX-3')),
             message.get('ZPI-1'), context.channel, context.provider, new Date().toISOString(), Date.now(),
           ] };
         }",
    );
    let expected = json!([
        "4711^^^STMARY^MR",
        "99",
        true,
        "",
        ["4711", "99"],
        ["72.50", "0.010"],
        false,
        true,
        ["OBX372.50a", "OBX40.010b"],
        "a&b",
        "st-mary-adt",
        "st-mary",
        "2026-01-31T14:00:00.000Z",
        1769868000000_u64,
    ]);
    assert_eq!(left["said"], expected);
}

#[test]
fn makes_a_bundle_of_a_message_that_no_table_converts() {
    let source = "function transform(message, bundle) {
        if (bundle === null) return { resourceType: 'Bundle', type: 'transaction', id: uuid(message.get('PID-3.1')) };
      }";
    let made = apply(source, None).unwrap();
    let Body::Fhir(made) = made.body else { panic!("still HL7 v2") };
    assert_eq!(uuid::Uuid::parse_str(made["id"].as_str().unwrap()).unwrap().get_version_num(), 5);
    let kept =
        apply("function transform(message) { if (!message.has('PID-3')) fail('PID-3', 'no MRN'); }", None).unwrap();
    assert!(matches!(kept.body, Body::Hl7v2(_)));
}

#[test]
fn an_error_names_file_and_line_and_no_value() {
    fails(
        "function transform(message) {\n  const who = message.get('PID-5.1');\n  throw new Error('no ward for ' + who);\n}",
        "fix.js:3",
        "no ward for …",
    );
    fails(
        "function transform(message) {\n  const wards = {};\n  return wards[message.get('PID-5.1')].code;\n}",
        "fix.js:3",
        "cannot read property 'code' of undefined",
    );
    fails("function transform() {\n  missing();\n}", "fix.js:2", "missing is not defined");
    fails(
        "function transform(message) {\n  fail('PID-3[1].4', 'an authority we do not know');\n}",
        "PID-3[1].4",
        "an authority we do not know (fix.js:2)",
    );
    fails(
        "function transform(message) {\n  message.get('PID');\n  message.get('pid-3');\n}",
        "fix.js:3",
        "…` is no HL7 path; write it like PID-3[1].4.2",
    );
    // What is thrown bare says nothing of where, so that none of it can be told to be the script's own.
    fails("function transform() {\n  throw 'a text';\n}", "fix.js:1", "…");
    fails(
        "function transform(m, b) {\n  lookup('wards', '1');\n}",
        "fix.js:2",
        "lookup() knows no such code set; there is none",
    );
}

#[test]
fn what_a_script_says_is_kept_without_values() {
    let source = "function transform(message) {\n  log('a patient without a ward');\n  note('PID-5', 'name: ' + message.get('PID-5'));\n}";
    let findings = apply(source, Some(bundle())).unwrap().findings;
    let said: Vec<_> = findings.iter().map(|f| (f.kind, f.location.as_str(), f.text.as_str())).collect();
    let expected = [(FindingKind::Noted, "fix.js:2", "a patient without a ward"), (FindingKind::Noted, "PID-5", "…")];
    assert_eq!(said, expected);
}

#[test]
fn no_script_hangs_or_fills_the_memory() {
    let steps = "the script took too many steps (max_steps = 2000): is there a loop without an end?";
    let memory = "the script took too much memory (max_memory = 64 MiB)";
    // A loop is known by its function.
    fails("function transform() {\n  let i = 0;\n  for (;;) i++;\n}", "fix.js:1", steps);
    fails(
        "function transform() {\n  let i = 0;\n  for (;;) { try { for (;;) i++; } catch (e) {} finally { continue; } }\n}",
        "fix.js:1",
        steps,
    );
    fails("function transform() {\n  /^(a+)+$/.test('a'.repeat(64) + 'b');\n}", "fix.js:2", steps);
    fails(
        "function deep() {\n  return deep() + 1;\n}\nfunction transform() { deep(); }",
        "fix.js:2",
        "Maximum call stack size exceeded",
    );
    fails(
        "function transform() {\n  const all = [];\n  for (;;) all.push('x'.repeat(65536) + all.length);\n}",
        "fix.js:3",
        memory,
    );
    fails("function transform() {\n  return new Uint8Array(1e9);\n}", "fix.js:2", memory);
    fails("function transform() {\n  return { x: 'ab'.repeat(2 ** 28) };\n}", "fix.js:2", memory);
    fails(
        "function transform() {\n  'a'.repeat(2 ** 23).indexOf('a'.repeat(2 ** 22) + 'b');\n}",
        "fix.js:2",
        "the texts are too long to search",
    );
}

#[test]
fn no_trick_with_prototypes_or_results_passes() {
    fails("function transform() {\n  Object.prototype.toJSON = () => 1;\n}", "fix.js:2", "object is not extensible");
    fails("function transform() {\n  Array.prototype.map = null;\n}", "fix.js:2", "'map' is read-only");
    fails("function transform() {\n  JSON.stringify = () => 'x';\n}", "fix.js:2", "'stringify' is read-only");
    fails("function transform(m, bundle) {\n  bundle.self = bundle;\n}", "fix.js:1", "circular reference");
    fails(
        "function transform(m, bundle) {\n  bundle.entry[1].resource.active = Number('x');\n}",
        "entry[1].resource.active",
        "null or NaN stands there, which FHIR does not have: delete the element instead (fix.js:1)",
    );
    let deep = "function transform(m, bundle) {\n  let at = bundle;\n  for (let i = 0; i < 5000; i++) at = at.extension = {};\n}";
    let error = apply(deep, Some(bundle())).map(|_| ()).unwrap_err();
    assert!(error.location.starts_with("fix.js:"), "{error}");
    let returns = "transform() must return a Bundle, or nothing to keep the one that it was given";
    fails("function transform() { return 7; }", "fix.js:1", returns);
    fails("function transform() { return null; }", "fix.js:1", returns);
    fails("async function transform() { }", "fix.js:1", "transform() must not be async");
    fails(
        "function transform() {\n  return { toJSON() { let i = 0;\n for (;;) i++; } };\n}",
        "fix.js:2",
        "the script took too many steps (max_steps = 2000): is there a loop without an end?",
    );
    fails(
        "function transform() {\n  Math.random();\n}",
        "fix.js:2",
        "Math.random() is not there: the same message must give the same result",
    );
    for name in [
        "require",
        "process",
        "std",
        "os",
        "fetch",
        "setTimeout",
        "performance",
        "Atomics",
        "WebAssembly",
        "print",
        "console",
    ] {
        assert!(apply(&format!("function transform() {{ return {name}; }}"), Some(bundle())).is_err(), "{name}");
    }
}

#[test]
fn nothing_of_one_message_reaches_the_next() {
    let source = "let seen = 0;\nfunction transform(m, bundle) { globalThis.more = (globalThis.more || 0) + 1; seen += 1; bundle.seen = seen + globalThis.more; }";
    let script = script(source).unwrap();
    for _ in 0..3 {
        let Body::Fhir(bundle) = script.apply(message(ADT, Some(bundle())), &context()).unwrap().body else { panic!() };
        assert_eq!(bundle["seen"], message::json!(2));
    }
}

#[test]
fn mistakes_are_found_when_a_script_is_loaded() {
    let check = |source: &str| script(source).map(|_| ()).unwrap_err();
    let syntax = check("function transform() {\n  const = 5;\n}");
    assert_eq!(syntax.line, 2, "{syntax}");
    assert_eq!(check("const x = 1;").text, "the script must define function transform(message, bundle, context)");
    assert_eq!(check("\nundefinedName;\nfunction transform() {}").line, 2);
    assert!(check("for (;;) {}\nfunction transform() {}").text.starts_with("the script took too many steps"));
}

#[test]
fn looks_codes_up_in_csv_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("wards.csv"), "code,display,bed\n4N,\"Four, North\",12\n# closed\n5S,Five South,\n")
        .unwrap();
    let codes = Arc::new(CodeSets::load(dir.path()).unwrap());
    let source = "function transform() {
        const row = lookup('wards', '4N');
        return { resourceType: 'Bundle', said: [row.display, row.bed, lookup('wards', '5S').bed, lookup('wards', 'x') === undefined] };
      }";
    let script = Script::new(Path::new("fix.js"), source.to_owned(), Arc::clone(&codes), Options::default()).unwrap();
    let Body::Fhir(bundle) = script.apply(message(ADT, Some(bundle())), &context()).unwrap().body else { panic!() };
    assert_eq!(bundle["said"], message::json!(["Four, North", "12", "", true]));

    let before = codes.version().to_owned();
    std::fs::write(dir.path().join("wards.csv"), "code,display\n4N,Four\n4N,Again\n").unwrap();
    std::fs::write(dir.path().join("units.csv"), "code,display\n1,2,3\n").unwrap();
    let errors = CodeSets::load(dir.path()).unwrap_err();
    let said: Vec<_> = errors.iter().map(|e| (e.line, e.text.as_str())).collect();
    let expected = [
        (2, "this is no CSV line like the first: 3 fields in place of 2"),
        (3, "the code stands in an earlier line already"),
    ];
    assert_eq!(said, expected);
    std::fs::remove_file(dir.path().join("units.csv")).unwrap();
    std::fs::write(dir.path().join("wards.csv"), "code,display\n4N,Four\n").unwrap();
    assert_ne!(CodeSets::load(dir.path()).unwrap().version(), before);
}

#[test]
fn a_script_never_panics_whatever_its_message_holds() {
    let script = script(
        "function transform(message, bundle) {
           for (const name of ['PID', 'OBX', 'ZZZ']) for (const s of message.segments(name)) { s.get('3'); s.all('5.1.2'); s.has('99'); }
           message.all('PID'); resources(bundle); resources(null);
         }",
    )
    .unwrap();
    for odd in [json!({}), json!({ "entry": [null, {}, { "resource": [] }] }), json!({ "entry": 5 })] {
        drop(script.apply(message(ADT, Some(odd)), &context()));
    }
}

#[test]
fn every_global_is_described_to_editors() {
    for name in ["decimal", "lookup", "resources", "uuid", "log", "note", "fail"] {
        assert!(TYPES.contains(&format!("declare function {name}(")), "{name}");
    }
}
