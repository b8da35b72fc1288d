//! Who is let in by a web token, and why nobody else is: tokens that are signed by real keys.

use super::*;
use crate::Pin;
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const URL: &str = "https://login.example.org/ops";

const RULES: &str = r#"
issuer = "https://login.example.org/ops"
audience = "upstart"
name = "claims.email"
role = "'upstart-admins' in claims.groups ? 'admin' : 'ops' in claims.groups ? 'operator' : ''"
"#;

/// An issuer's key of this name.
struct SigningKey {
    id: &'static str,
    key: KeyPair,
}

impl SigningKey {
    fn new(id: &'static str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        Self { id, key }
    }

    fn told(&self) -> Value {
        let point = self.key.der_bytes();
        let [x, y] = [&point[1..33], &point[33..]].map(base64url);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256", "x": x, "y": y})
    }

    fn signed(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        encode(&header, claims, &key).expect("signed")
    }
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let number = part
            .iter()
            .chain([0; 2].iter())
            .take(3)
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        for digit in 0..=part.len() {
            let at = number >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[at as usize]));
        }
    }
    text
}

fn set_of(keys: &[&SigningKey]) -> IssuerKeySet {
    let told: Vec<Value> = keys.iter().map(|key| key.told()).collect();
    let set = json!({ "keys": told });
    IssuerKeySet::read(set.to_string().as_bytes()).expect("a set")
}

fn issuer(rules: &str) -> Result<Issuer, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("issuer.toml");
    std::fs::write(&file, rules).expect("written");
    Issuer::read(&file).map_err(|error| error.to_string())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn claims() -> Value {
    json!({"iss": URL, "aud": "upstart", "exp": now() + 600, "email": "ann@example.org", "groups": ["all", "ops"]})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[test]
fn whom_the_issuer_names_is_an_operator_with_the_role_that_its_rules_give() {
    let (issuer, key) = (issuer(RULES).expect("rules"), SigningKey::new("1"));
    let keys = set_of(&[&SigningKey::new("0"), &key]);
    let claimed = issuer.check(&key.signed(&claims()), &keys).expect("let in");
    assert_eq!(
        (claimed.name.as_str(), claimed.role),
        ("ann@example.org", Role::Operator)
    );
    let admin = with("groups", json!(["upstart-admins"]));
    let claimed = issuer.check(&key.signed(&admin), &keys).expect("let in");
    assert_eq!(claimed.role, Role::Admin);
    // Seconds may have a fraction.
    let end = now() + 600;
    let odd = with("exp", json!(end as f64 + 0.5));
    let claimed = issuer.check(&key.signed(&odd), &keys).expect("let in");
    assert_eq!(claimed.expires_at_ms, (end + 30) * 1_000);
}

#[test]
fn whatever_is_not_as_it_must_be_lets_nobody_in_and_says_why() {
    let (issuer, key) = (issuer(RULES).expect("rules"), SigningKey::new("1"));
    let keys = set_of(&[&key]);
    for (claims, why) in [
        (with("exp", json!(now() - 600)), "has expired"),
        (with("nbf", json!(now() + 600)), "does not count yet"),
        (with("aud", json!("another")), "not for `upstart`"),
        (
            with("iss", json!("https://evil.example.org")),
            "not of https://login.example.org",
        ),
        (with("groups", json!([])), "no role"),
        (with("groups", json!(7)), "role: "),
        (with("email", json!("ann\nbob")), "cannot be an operator's"),
        (with("email", json!("")), "cannot be an operator's"),
        (with("email", json!("server")), "cannot be an operator's"),
        (with("email", json!("node:n1")), "cannot be an operator's"),
        (with("email", json!("--json")), "cannot be an operator's"),
        (with("email", json!("zo\u{435}")), "cannot be an operator's"),
        (with("exp", json!(now() - 31)), "has expired"),
        (
            json!({"iss": URL, "aud": "upstart", "email": "a", "groups": ["ops"]}),
            "`exp`",
        ),
        (
            json!({"iss": URL, "exp": now() + 600, "email": "a", "groups": ["ops"]}),
            "`aud`",
        ),
        (
            json!({"aud": "upstart", "exp": now() + 600, "email": "a", "groups": ["ops"]}),
            "`iss`",
        ),
        (
            json!({"iss": URL, "aud": "upstart", "exp": now() + 600, "groups": ["ops"]}),
            "no `email`",
        ),
    ] {
        let refused = issuer.check(&key.signed(&claims), &keys);
        let refused = refused.expect_err(why).to_string();
        assert!(refused.contains(why), "{claims}: {refused}");
    }
}

#[test]
fn only_the_issuers_keys_sign() {
    let (issuer, key) = (issuer(RULES).expect("rules"), SigningKey::new("1"));
    let keys = set_of(&[&key]);
    let thief = SigningKey::new("1");
    let refused = issuer.check(&thief.signed(&claims()), &keys);
    assert_eq!(refused, Err(ClaimError::NotSigned));
    let other = SigningKey::new("2").signed(&claims());
    assert_eq!(issuer.check(&other, &keys), Err(ClaimError::UnknownKey));
    // Signed with what everybody knows, or with nothing.
    let public = EncodingKey::from_secret(key.key.der_bytes()).expect("bytes");
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("1".to_owned());
    let with_public = encode(&header, &claims(), &public).expect("signed");
    assert!(issuer.check(&with_public, &keys).is_err());
    let body = base64url(claims().to_string().as_bytes());
    let head = base64url(br#"{"alg":"none","kid":"1"}"#);
    assert!(issuer.check(&format!("{head}.{body}."), &keys).is_err());
    // Each bit counts.
    let good = key.signed(&claims());
    issuer.check(&good, &keys).expect("let in");
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("text");
        if at + 1 < good.len() {
            assert!(issuer.check(&changed, &keys).is_err(), "{changed}");
        }
    }
}

#[test]
fn rules_that_cannot_be_are_refused_with_their_place() {
    for (from, to, why) in [
        ("audience = \"upstart\"", "audience = \"\"", "audience"),
        ("audience = \"upstart\"", "", "missing field `audience`"),
        ("claims.email", "claims.", "name: "),
        ("claims.email", "user.email", "name: "),
        ("name =", "nmae =", "unknown field `nmae`"),
    ] {
        let refused = issuer(&RULES.replacen(from, to, 1)).expect_err(why);
        assert!(
            refused.contains(why) && refused.contains("issuer.toml"),
            "{refused}"
        );
    }
    assert!(is_web_token("eyJhbGciOiJFUzI1NiJ9.e30.c2ln"));
    for other in ["a-token", "a.b.c", "eyJ", &Pin::of_key(b"k").to_string()] {
        assert!(!is_web_token(other), "{other}");
    }
}

/// Others may tell keys that nobody knows here, and keys for something else.
#[test]
fn keys_that_are_not_understood_are_left_alone_and_those_for_something_else_sign_nothing() {
    let (issuer, key) = (issuer(RULES).expect("rules"), SigningKey::new("1"));
    let mut for_secrets = key.told();
    for_secrets["use"] = json!("enc");
    let mut for_another = key.told();
    for_another["alg"] = json!("ES384");
    let set = |told: Value| {
        let set = json!({"keys": [null, {"kty": "of a later time"}, {"kid": 7}, told]});
        IssuerKeySet::read(set.to_string().as_bytes()).expect("a set")
    };
    let token = key.signed(&claims());
    issuer.check(&token, &set(key.told())).expect("let in");
    for (told, why) in [(for_secrets, "`use`"), (for_another, "`alg`")] {
        let refused = issuer.check(&token, &set(told)).expect_err(why);
        assert!(refused.to_string().contains(why), "{refused}");
    }
    IssuerKeySet::read(b"{}").expect_err("no set");
}
