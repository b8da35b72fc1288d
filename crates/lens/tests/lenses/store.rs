//! The replicated store's lenses as they are in examples/: three versions, both directions, one
//! and two steps, without a refusal.

use std::path::Path;
use std::sync::Arc;

use crate::support::*;
use call::{Direction, RefusalKind};
use lens::Lens;

fn load(path: &str) -> Arc<Lens> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/1-store")
        .join(path);
    let text = std::fs::read_to_string(&path).expect("the example is there");
    Arc::new(Lens::parse(path.to_str().expect("UTF-8"), &text).unwrap_or_else(|e| panic!("{e}")))
}

/// The same exchange at each version.
struct Exchange([(Wire, Wire); 3]);

fn exchanges() -> Vec<Exchange> {
    let v1 = r#"{"value":-7,"colour":"red","clock":"12.a"}"#;
    let v2 = r#"{"name":"k 1","data":"-7","shade":"RED","stamp":"12.a"}"#;
    let v3 = r#"{"content":{"number":-7,"tints":["red"]},"mark":{"time":"12.a"}}"#;
    let read1 = r#"{"key":"k 1","value":-7,"colour":"red","clock":"12.a"}"#;
    let read3 = r#"{"id":"k 1","content":{"number":-7,"tints":["red"]},"mark":{"time":"12.a"}}"#;
    let problem = |kind: &str| format!(r#"{{"problem":{{"kind":"{kind}"}}}}"#);
    vec![
        Exchange([
            (
                wire("PUT /records/k%201", v1),
                wire("200", r#"{"clock":"12.a"}"#),
            ),
            (wire("POST /rows", v2), wire("201", r#"{"stamp":"12.a"}"#)),
            (
                wire("PUT /objects/k%201", v3),
                wire("200", r#"{"accepted":{"time":"12.a"}}"#),
            ),
        ]),
        Exchange([
            (wire("GET /records/k%201", ""), wire("200", read1)),
            (wire("GET /rows?name=k+1", ""), wire("200", v2)),
            (wire("GET /objects/k%201", ""), wire("200", read3)),
        ]),
        Exchange([
            (
                wire("GET /records/x", ""),
                wire("404", r#"{"error":"no such key"}"#),
            ),
            (
                wire("GET /rows?name=x", ""),
                wire("410", r#"{"code":"UNKNOWN_NAME"}"#),
            ),
            (wire("GET /objects/x", ""), wire("404", &problem("missing"))),
        ]),
        Exchange([
            (
                wire("GET /records/x", ""),
                wire("400", r#"{"error":"bad call"}"#),
            ),
            (
                wire("GET /rows?name=x", ""),
                wire("422", r#"{"code":"BAD_CALL"}"#),
            ),
            (
                wire("GET /objects/x", ""),
                wire("400", &problem("malformed")),
            ),
        ]),
        Exchange([
            (wire("GET /health", ""), wire("200", r#"{"healthy":true}"#)),
            (wire("GET /status", ""), wire("200", r#"{"status":"UP"}"#)),
            (wire("GET /ready", ""), wire("200", r#"{"ready":true}"#)),
        ]),
    ]
}

#[test]
fn every_exchange_in_every_pair_of_versions() {
    let steps = [load("v2/lenses/data.toml"), load("v3/lenses/data.toml")];
    for Exchange(at) in exchanges() {
        for (caller, node) in [(0, 1), (1, 2), (0, 2), (1, 0), (2, 1), (2, 0)] {
            let chain = if caller < node {
                (caller..node)
                    .map(|i| (steps[i].clone(), Direction::Past))
                    .collect()
            } else {
                (node..caller)
                    .rev()
                    .map(|i| (steps[i].clone(), Direction::Future))
                    .collect()
            };
            let outcome = send(
                &lens::chain(chain),
                at[caller].0.clone(),
                at[node].1.clone(),
            );
            assert_eq!(
                outcome.seen.as_ref(),
                Some(&at[node].0),
                "{caller} to {node}"
            );
            assert_eq!(
                outcome.answer,
                Ok(at[caller].1.clone()),
                "{caller} to {node}"
            );
        }
    }
}

#[test]
fn all_lenses_of_the_example_are_accepted() {
    for version in ["v2", "v3"] {
        for service in ["data", "front", "repair"] {
            load(&format!("{version}/lenses/{service}.toml"));
        }
    }
}

#[test]
fn a_refusal_far_down_the_chain_comes_in_the_callers_words() {
    let steps = [load("v2/lenses/data.toml"), load("v3/lenses/data.toml")];
    let chain = lens::chain(steps.map(|lens| (lens, Direction::Past)).to_vec());
    // Version 3 has no word for this colour; version 1 would have refused it too.
    let odd = wire(
        "PUT /records/k",
        r#"{"value":1,"colour":"pink","clock":"1"}"#,
    );
    let refusal = send(&chain, odd, wire("200", ""))
        .answer
        .expect_err("refused");
    assert_eq!(refusal.kind, RefusalKind::Request);
    assert_eq!(refusal.json(), Some(&json(r#"{"error":"bad call"}"#)));
}
