//! Provenance in a running engine: the invariants that need one, signatures, and the way from a record at a repository
//! back to the bytes that came.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use message::Sha256;
use message::signature::{Signed, TrustedKeys, verify};
use serde_json::{Value, json};

use crate::consent::{self, consent, file, results};
use crate::kit::hl7::update;
use crate::kit::http::{self, Server};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Site, TO_FHIR, TO_OUT, wait_until};

fn codes(concept: &Value) -> Vec<&str> {
    concept["coding"].as_array().into_iter().flatten().filter_map(|coding| coding["code"].as_str()).collect()
}

/// A server that takes all that comes, and keeps it as it came.
fn repository() -> Server {
    Server::start(|bundle, _| {
        let entries = bundle["entry"].as_array().into_iter().flatten();
        let entries: Vec<Value> = entries.map(|_| json!({ "response": { "status": "201 Created" } })).collect();
        (200, String::new(), json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries }))
    })
}

/// From `Patient/…` at the repository to the message's bytes, over every step with its version, and back.
#[test]
fn lineage_walks_from_a_record_to_the_bytes_and_back() {
    let fhir = Fhir::start();
    let site = Site::convert(&format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let (first, second) = (update("MRN-1", "C1", "Ada"), update("MRN-1", "C2", "Ada Maria"));
    sender.accepted(&first);
    sender.accepted(&second);
    sender.accepted(&update("MRN-2", "C3", "Ben"));
    running.wait_deliveries("out", &[("delivered", 3)]);
    let patients = fhir.repository.resources("Patient");
    let ada = patients.iter().find(|patient| patient["name"][0]["given"][0] == "Ada Maria").unwrap();
    let (id, version) = (ada["id"].as_str().unwrap(), ada["meta"]["versionId"].as_str().unwrap());
    let latest = site.json(&["lineage", &format!("Patient/{id}")]);
    assert_eq!(latest["versions"][0]["location"], format!("Patient/{id}/_history/{version}"));
    assert_eq!(latest["versions"].as_array().unwrap().len(), 2);
    assert_eq!(latest["message"]["control_id"], "C2");
    // The record alone, with who did what to it, by which versions, from which bytes.
    let records = latest["outputs"][0]["records"].as_array().unwrap();
    assert_eq!((records.len(), &records[0]["kind"]), (1, &json!("Patient")));
    assert_eq!(latest["outputs"][0]["engine"], concat!("tributary ", env!("CARGO_PKG_VERSION")));
    let told = records[0]["provenance"].as_array().unwrap();
    let has = |role: &str| told.iter().any(|told| told["roles"].as_array().unwrap().contains(&json!(role)));
    assert!(["author", "transmitter", "custodian", "assembler"].iter().all(|role| has(role)), "{told:#?}");
    let step = told.iter().find(|told| told["activity"] == "v2-fhir-transformation").unwrap();
    let policy = step["policy"].to_string();
    assert!(policy.contains("/transform/hl7v2-to-fhir:sha-256:") && policy.contains("/configuration:sha-256:"));
    let name = step["sources"][0].as_str().unwrap();
    assert_eq!(name, Sha256::of(&second).to_ni_uri());
    // And back: the bytes by that name, and the earlier version by its own.
    let of_bytes = site.json(&["lineage", name]);
    assert_eq!(of_bytes["message"]["id"], latest["message"]["id"]);
    let bytes = site.run(&["messages", "show", latest["message"]["id"].as_str().unwrap(), "--original"]).stdout;
    assert_eq!(bytes, second);
    let earlier = latest["versions"][1]["location"].as_str().unwrap();
    let earlier = site.json(&["lineage", earlier, "--destination", "out"]);
    assert_eq!(earlier["message"]["control_id"], "C1");
    assert_eq!(earlier["outputs"][0]["records"][0]["provenance"][0]["sources"][0], Sha256::of(&first).to_ni_uri());
    // As a tree, for people; no word of the message.
    let tree = site.cli(&["lineage", &format!("Patient/{id}")]);
    assert!(tree.contains(&format!("written as Patient/{id}")) && tree.contains("hl7v2-to-fhir"), "{tree}");
    assert!(!tree.contains("Ada") && !tree.contains("MRN-1"), "{tree}");
    let unknown = site.run(&["lineage", "Patient/nobody"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("wrote Patient/nobody"));
}

/// PI-5, of a site's own steps.
#[test]
fn pi_5_a_step_that_changes_nothing_leaves_no_provenance() {
    let fhir = Fhir::start();
    let script = |file: &str| format!("[[transform]]\nscript = {{ file = \"{file}\" }}\n");
    let steps = format!("{TO_FHIR}{}{}[[transform]]\nlabel = {{}}\n", script("look.js"), script("change.js"));
    let site = Site::new()
        .channel("in", &format!("{MLLP_IN}{steps}{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")));
    site.write("look.js", "function transform(message, bundle) { log(message.get('MSH-9.1')); }");
    site.write("change.js", "function transform(message, bundle) { bundle.entry[0].resource.language = 'en'; }");
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let provenance = fhir.repository.resources("Provenance");
    let steps =
        provenance.iter().filter_map(|one| one["policy"][0].as_str()).filter(|policy| policy.contains("/transform/"));
    let mut steps: Vec<&str> = steps.map(|policy| policy.split(['/', ':']).rev().nth(2).unwrap()).collect();
    steps.sort_unstable();
    assert_eq!(steps, ["hl7v2-to-fhir", "script"]);
}

/// PI-8, and that a redacted copy says so where its recipient may be told: by which policy and for which purpose.
#[test]
fn pi_8_a_redacted_copy_says_so_and_names_nothing_that_was_taken_out() {
    let server = repository();
    let out = format!("[outbound.fhir]\nurl = \"http://{}\"\n", server.address);
    let site = consent::site("told", &out);
    let policy = std::fs::read_to_string(site.path("policies/us-tpo.toml")).unwrap();
    let told = policy.lines().filter(|line| !line.starts_with("redaction_notice")).collect::<Vec<_>>().join("\n");
    site.write("policies/told.toml", format!("redaction_notice = \"label\"\n{told}"));
    let running = site.start();
    let hiv = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV" }]);
    let denied = json!({ "provision": [{ "type": "deny", "securityLabel": hiv }] });
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", denied));
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    wait_until("it was sent", || !server.requests().is_empty());
    let sent = server.requests().remove(0);
    assert!(!sent.to_string().contains("Secret"));
    let entries = sent["entry"].as_array().unwrap();
    let names: Vec<&str> = entries.iter().filter_map(|entry| entry["fullUrl"].as_str()).collect();
    let provenance: Vec<&Value> =
        entries.iter().map(|e| &e["resource"]).filter(|resource| resource["resourceType"] == "Provenance").collect();
    for target in provenance.iter().flat_map(|one| one["target"].as_array().unwrap()) {
        let reference = target["reference"].as_str().unwrap_or_default();
        assert!(!reference.starts_with("urn:") || names.contains(&reference), "{reference} points nowhere");
    }
    let redaction = provenance.iter().find(|one| codes(&one["activity"]).contains(&"REDACT")).unwrap();
    assert_eq!(codes(&redaction["reason"][0]), ["TREAT"]);
    assert!(redaction["policy"][0].as_str().unwrap().starts_with("urn:tributary:consent-policy:"));
    assert_eq!(redaction["agent"][0]["who"]["display"], concat!("tributary ", env!("CARGO_PKG_VERSION")));
    assert!(redaction["agent"][0]["onBehalfOf"].is_object());
    assert_eq!(redaction["entity"][0]["role"], "derivation");
}

fn key(site: &Site, name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> String {
    let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
    site.write(name, pair.serialize_pem());
    pair.public_key_pem()
}

/// What leaves is signed, as it leaves; another engine verifies it, labels it, and takes nothing else.
#[test]
fn what_leaves_is_signed_and_what_arrives_is_verified() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let server = repository();
        let out = format!(
            "sign = {{ key = \"sign.pem\", kid = \"partner\" }}\n[outbound.fhir]\nurl = \"http://{}\"\n{QUICK}",
            server.address
        );
        let site = Site::convert(&out);
        let public = key(&site, "sign.pem", algorithm);
        let running = site.start();
        Sender::connect(running.address("in")).accepted(&update("MRN-1", "C1", "Ada"));
        running.wait_deliveries("out", &[("delivered", 1)]);
        let bundle = server.requests().remove(0);
        // The digest that is kept is that of what arrived.
        let told = format!("(signed with key partner, sha-256 {})", message::Sha256::of(bundle.to_string().as_bytes()));
        assert!(site.delivery("C1")["reason"].as_str().unwrap().contains(&told));
        let mut trusted = TrustedKeys::default();
        trusted.add("partner", &public).unwrap();
        assert_eq!(
            verify(&bundle.clone().into(), &trusted, "2026-03-01T12:00:00Z".parse().unwrap()),
            Ok(Signed { kid: "partner".to_owned() })
        );
        verified_by_others(&bundle, &public);
        arrives(&bundle, &public);
    }
}

/// The same Bundle, and what becomes of it on its way, at an engine that takes signed Bundles only.
fn arrives(bundle: &Value, public: &str) {
    let fhir = Fhir::start();
    let keys = "verify_signatures = \"require\"\ntrusted_keys = [\"partner.pem\"]\n";
    let site = Site::new()
        .engine("https://ehr.example/tributary", "https://elsewhere.example/tributary")
        .channel("in", &format!("{keys}{HTTP_IN}{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")));
    site.write("partner.pem", public);
    let running = site.start();
    let post = |bundle: &Value, id: &str| {
        let answer =
            http::post(running.address("in"), &format!("X-Request-Id: {id}\r\n"), bundle.to_string().as_bytes());
        assert_eq!(answer.status, 202, "{}", answer.body);
    };
    post(bundle, "good");
    running.wait_deliveries("out", &[("delivered", 1)]);
    let patient = &fhir.repository.resources("Patient")[0];
    let labels: Vec<&Value> =
        patient["meta"]["security"].as_array().unwrap().iter().map(|label| &label["code"]).collect();
    assert!(labels.contains(&&json!("DIGSIG")), "{labels:?}");
    let provenance = fhir.repository.resources("Provenance");
    assert!(provenance.iter().any(|one| codes(&one["activity"]).contains(&"verify")));
    let mut changed = bundle.clone();
    let mut entries = changed["entry"].as_array_mut().unwrap().iter_mut();
    let patient = entries.find(|entry| entry["resource"]["resourceType"] == "Patient").unwrap();
    patient["resource"]["gender"] = json!("unknown");
    changed["identifier"]["value"] = json!("changed");
    post(&changed, "changed");
    let mut unsigned = bundle.clone();
    unsigned["identifier"]["value"] = json!("unsigned");
    unsigned.as_object_mut().unwrap().remove("signature");
    post(&unsigned, "unsigned");
    running.wait_messages(&[("delivered", 1), ("failed", 2)]);
    let reasons: Vec<String> = site.messages().iter().map(|one| one["reason"].as_str().unwrap().to_owned()).collect();
    let says = |what: &str| {
        reasons.iter().any(|reason| reason.starts_with("verify-signature: Bundle.signature") && reason.contains(what))
    };
    assert!(says("was changed after it was signed") && says("carries no signature"), "{reasons:?}");
    assert_eq!(fhir.repository.resources("Patient").len(), 1);
}

/// The JWS, by another library: joserfc for Python.
fn verified_by_others(bundle: &Value, public: &str) {
    const CHECK: &str = r#"
import sys, json, base64
from joserfc import jws
from joserfc.jwk import OKPKey, ECKey
jws.JWSRegistry.max_header_length = 1 << 16
told = json.load(sys.stdin)
bundle = told["bundle"]
data = base64.b64decode(bundle.pop("signature")["data"]).decode()
canonical = json.dumps(bundle, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
header, _, signature = data.split(".")
payload = base64.urlsafe_b64encode(canonical).rstrip(b"=").decode()
alg = json.loads(base64.urlsafe_b64decode(header + "=="))["alg"]
key = (OKPKey if alg == "EdDSA" else ECKey).import_key(told["key"])
jws.deserialize_compact(f"{header}.{payload}.{signature}", key, algorithms=[alg])
print("verified")
"#;
    let available = Command::new("python3").args(["-c", "import joserfc"]).stderr(Stdio::null()).status();
    if !available.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no python3 with joserfc to verify the signature with");
        return;
    }
    let mut python = Command::new("python3");
    python.args(["-c", CHECK]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let input = json!({ "bundle": bundle, "key": public }).to_string();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// PI-15: a signed document that is only passed on is verified at its destination as it was signed.
#[test]
fn pi_15_a_signed_document_arrives_as_it_was_signed() {
    let fhir = Fhir::start();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let random = ring::rand::SystemRandom::new();
    let key = message::signature::SigningKey::read(&pair.serialize_pem(), "author", &random).unwrap();
    let document: Value = serde_json::from_str(
        r#"{"resourceType":"Bundle","identifier":{"system":"urn:ietf:rfc:3986","value":"urn:uuid:5d3a6b0c-0f0e-4f6b-9c4e-000000000001"},
        "type":"document","timestamp":"2026-03-01T12:00:00Z","entry":[{"fullUrl":"urn:uuid:5d3a6b0c-0f0e-4f6b-9c4e-000000000002",
        "resource":{"resourceType":"Composition","status":"final","type":{"text":"Note"},"date":"2026-03-01T12:00:00Z",
        "author":[{"display":"Dr Wren"}],"title":"Note"}}]}"#,
    )
    .unwrap();
    let mut document = message::json::Value::from(document);
    let when = "2026-03-01T12:00:00Z".parse().unwrap();
    message::signature::sign(&mut document, &key, "an author's program", when, &random).unwrap();
    let keys = "verify_signatures = \"require\"\ntrusted_keys = [\"author.pem\"]\n[stamp]\ndocuments = \"whole\"\n";
    let site = Site::new()
        .channel(
            "in",
            &format!("{}{HTTP_IN}{TO_OUT}", keys.replace("[stamp]\n", "stamp.").trim_end().to_owned() + "\n"),
        )
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")));
    site.write("author.pem", pair.public_key_pem());
    let running = site.start();
    let answer = http::post(running.address("in"), "", document.to_string().as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.body);
    running.wait_deliveries("out", &[("delivered", 1)]);
    let mut arrived = fhir.repository.resources("Bundle").remove(0);
    // What a server adds on its own is no part of what was signed.
    for own in ["id", "meta"] {
        arrived.as_object_mut().unwrap().remove(own);
    }
    let mut trusted = TrustedKeys::default();
    trusted.add("author", &pair.public_key_pem()).unwrap();
    assert_eq!(
        verify(&arrived.clone().into(), &trusted, "2026-03-01T12:00:00Z".parse().unwrap()),
        Ok(Signed { kid: "author".to_owned() })
    );
    let data = arrived["signature"]["data"].as_str().unwrap();
    assert!(STANDARD.decode(data).is_ok());
}

/// RFC 7515 §4.1.6: whoever trusts an authority need not know the key.
#[test]
fn what_is_signed_with_a_certificate_is_verified_by_its_authority() {
    let (authority, issuer) = authority();
    let (other, _) = self::authority();
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let server = repository();
        let sign = "sign = { key = \"sign.pem\", kid = \"partner\", certificates = \"chain.pem\" }\n";
        let site = Site::convert(&format!("{sign}[outbound.fhir]\nurl = \"http://{}\"\n{QUICK}", server.address));
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = |change: fn(&mut rcgen::CertificateParams)| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            change(&mut params);
            params.signed_by(&pair, &issuer).unwrap().pem()
        };
        site.write("sign.pem", pair.serialize_pem());
        site.write("chain.pem", certificate(|_| ()));
        let running = site.start();
        Sender::connect(running.address("in")).accepted(&update("MRN-1", "C1", "Ada"));
        running.wait_deliveries("out", &[("delivered", 1)]);
        let bundle = server.requests().remove(0);
        verified_by_others(&bundle, &pair.public_key_pem());
        arrives(&bundle, &authority);
        let verified = |bundle: &Value, trusted: &str, at: &str| {
            let mut keys = TrustedKeys::default();
            keys.add("authority", trusted).unwrap();
            verify(&bundle.clone().into(), &keys, at.parse().unwrap())
                .map(|signed| signed.kid)
                .map_err(|it| it.to_string())
        };
        const NOW: &str = "2026-03-01T12:00:00Z";
        assert!(verified(&bundle, &authority, NOW).unwrap().starts_with("authority (certificate "));
        let refused = |result: Result<String, String>, why: &str| {
            let told = result.unwrap_err();
            assert!(told.contains(why), "{told}");
        };
        refused(verified(&bundle, &other, NOW), "leads to none that is trusted");
        refused(verified(&bundle, &certificate(|_| ()), NOW), "leads to none that is trusted");
        let mut changed = bundle.clone();
        changed["entry"][0]["resource"]["language"] = json!("de");
        refused(verified(&changed, &authority, NOW), "was changed after it was signed");
        let signed_with = |chain: &str| {
            let random = ring::rand::SystemRandom::new();
            let key = message::signature::SigningKey::read(&pair.serialize_pem(), "partner", &random).unwrap();
            let mut bundle = message::json::Value::from(bundle.clone());
            let key = key.with_certificates(chain).unwrap();
            message::signature::sign(&mut bundle, &key, "test", NOW.parse().unwrap(), &random).unwrap();
            serde_json::from_slice::<Value>(&bundle.to_vec()).unwrap()
        };
        let short = signed_with(&certificate(|params| params.not_after = rcgen::date_time_ymd(2026, 1, 1)));
        refused(verified(&short, &authority, NOW), "leads to none that is trusted");
        assert!(verified(&short, &authority, "2025-12-01T12:00:00Z").is_ok());
        let server_only = signed_with(&certificate(|params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        }));
        refused(verified(&server_only, &authority, NOW), "leads to none that is trusted");
        // The certificate of another key is none to sign with.
        let others = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let others = rcgen::CertificateParams::new(Vec::new()).unwrap().signed_by(&others, &issuer).unwrap().pem();
        site.write("chain.pem", others);
        let told = site.run(&["check"]);
        assert!(String::from_utf8_lossy(&told.stdout).contains("is not of the key that signs"), "{told:?}");
    }
}

/// An authority's certificate, and what issues in its name.
fn authority() -> (String, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, rcgen::Issuer::new(params, key))
}
