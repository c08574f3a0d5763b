//! Signing and verifying, with keys made here and with the standards' own examples.

use expect_test::{Expect, expect};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

use super::*;
use crate::json::{Value, json};

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

fn keys() -> [SigningKey; 2] {
    let random = SystemRandom::new();
    let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    [("one", ed25519), ("two", p256)].map(|(kid, der)| SigningKey::read(&pem(der.as_ref()), kid, &random).unwrap())
}

fn at() -> jiff::Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn trusted(keys: &[SigningKey]) -> TrustedKeys {
    let mut trusted = TrustedKeys::default();
    let jwks: Vec<serde_json::Value> = keys.iter().map(SigningKey::public_jwk).collect();
    trusted.add("partner", &serde_json::json!({ "keys": jwks }).to_string()).unwrap();
    trusted
}

fn bundle() -> Value {
    let observation = json!({ "resourceType": "Observation", "note": [{ "text": "a \u{e9}\n" }] });
    json!({ "resourceType": "Bundle", "id": "1", "type": "document", "entry": [{ "resource": observation }] })
}

fn signed(key: &SigningKey) -> Value {
    let mut bundle = bundle();
    let when = "2026-03-01T12:00:00Z".parse().unwrap();
    sign(&mut bundle, key, "tributary 0.1.0", when, &SystemRandom::new()).unwrap();
    bundle
}

#[test]
fn what_is_signed_is_verified_by_the_key_it_names() {
    let keys = keys();
    let trusted = trusted(&keys);
    for key in &keys {
        let bundle = signed(key);
        assert_eq!(verify(&bundle, &trusted, at()), Ok(Signed { kid: key.kid().to_owned() }));
        // However it is written down.
        let again: serde_json::Value = serde_json::from_slice(&bundle.to_vec()).unwrap();
        assert_eq!(verify(&again.into(), &trusted, at()), Ok(Signed { kid: key.kid().to_owned() }));
    }
}

#[track_caller]
fn check(change: impl Fn(&mut Value), expected: Expect) {
    let keys = keys();
    let mut bundle = signed(&keys[0]);
    change(&mut bundle);
    expected.assert_eq(&verify(&bundle, &trusted(&keys), at()).unwrap_err().to_string());
}

fn set(bundle: &mut Value, key: &str, value: Value) {
    bundle.get_mut("signature").and_then(Value::as_object_mut).unwrap().insert(key.to_owned(), value);
}

fn jws(header: &str) -> Value {
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
    Value::from(base64::engine::general_purpose::STANDARD.encode(format!("{header}..AAAA")))
}

#[test]
fn what_was_changed_or_is_not_trusted_is_refused_with_its_reason() {
    check(
        |bundle| {
            bundle.as_object_mut().unwrap().insert("id", "2");
        },
        expect![
            "its signature does not fit its content: it was changed after it was signed, or not signed with key one"
        ],
    );
    check(
        |bundle| {
            bundle.as_object_mut().unwrap().shift_remove("signature");
        },
        expect!["it carries no signature"],
    );
    check(
        |bundle| set(bundle, "data", jws(r#"{"alg":"none"}"#)),
        expect!["its signature is not understood: its algorithm must be EdDSA, ES256, ES384 or RS256"],
    );
    check(
        |bundle| set(bundle, "data", jws(r#"{"alg":"EdDSA","kid":"other"}"#)),
        expect!["its signature was made with a key that is not among the trusted ones: other, EdDSA"],
    );
    // A key is used for its own algorithm alone.
    check(
        |bundle| set(bundle, "data", jws(r#"{"alg":"RS256","kid":"one"}"#)),
        expect!["its signature was made with a key that is not among the trusted ones: one, RS256"],
    );
    check(
        |bundle| set(bundle, "data", jws(r#"{"alg":"EdDSA","kid":"one","crit":["b64"],"b64":false}"#)),
        expect!["its signature is not understood: its header has critical extensions, and none is known here"],
    );
    check(
        |bundle| set(bundle, "data", "eA==".into()),
        expect!["its signature is not understood: it is no detached JWS in compact form (HEADER..SIGNATURE)"],
    );
    check(
        |bundle| set(bundle, "sigFormat", "image/png".into()),
        expect!["its signature is not understood: its sigFormat must be application/jose"],
    );
}

/// RFC 8785 §3.2.3 and its appendix B.
#[test]
fn canonical_json_is_as_the_standard_has_it() {
    let text = r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001,0.010],
        "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false],
        "\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew","1":"One","\ud83d\ude00":"Emoji","\u0080":"Control"}"#;
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let canonical = canonical_json(&value.into()).unwrap();
    let expected = concat!(
        r#"{"\r":"Carriage Return","1":"One","literals":[null,true,false],"#,
        r#""numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27,0.01],"#,
        r#""string":"€$\u000f\nA'B\"\\\\\"/","#,
        "\"\u{80}\":\"Control\",\"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Emoji\",\"\u{fb33}\":\"Hebrew\"}"
    );
    assert_eq!(String::from_utf8(canonical).unwrap(), expected);
}

/// RFC 8037, appendix A.4: the payload is `Example of Ed25519 signing`.
#[test]
fn verifies_the_standard_s_own_signature() {
    let mut keys = TrustedKeys::default();
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    keys.add("rfc", jwk).unwrap();
    let detached =
        "eyJhbGciOiJFZERTQSJ9..hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(super::jws::verify(detached, b"Example of Ed25519 signing", &keys, at()), Ok(String::new()));
    assert!(super::jws::verify(detached, b"Example of another signing", &keys, at()).is_err());
}

#[test]
fn says_what_is_wrong_with_a_key_file() {
    let mut keys = TrustedKeys::default();
    let mut fails = |text: &str, expected: Expect| expected.assert_eq(&keys.add("x", text).unwrap_err().to_string());
    fails(
        "hello",
        expect!["it is neither a JWK set nor a public key or certificate in PEM (-----BEGIN PUBLIC KEY-----)"],
    );
    fails(r#"{"a":1}"#, expect![[r#"it is no JWK set: {"keys": [{"kty": …, "kid": …}]}"#]]);
    fails(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"x"}]}"#,
        expect!["it holds a private key, which belongs to its owner alone: ask for the public one"],
    );
    fails(
        r#"{"keys":[{"kty":"oct","k":"eA"}]}"#,
        expect!["none of its keys can be used: Ed25519, P-256, P-384 or RSA of 2048 bits and more"],
    );
    let error =
        SigningKey::read("-----BEGIN PRIVATE KEY-----\neA==\n-----END PRIVATE KEY-----", "k", &SystemRandom::new());
    expect!["it holds no private key, Ed25519 or P-256 in PKCS#8: make one with `openssl genpkey -algorithm ed25519`"]
        .assert_eq(&error.unwrap_err().to_string());
}
