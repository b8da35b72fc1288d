//! The store's lenses, without any network: each call of each version reaches each other version in its own form, and
//! so does the answer on its way back.

use super::place::repository;
use call::{
    Answer, Body, BodyLimits, Call, CallContext, Chain, Delegate, Direction, Failure, HttpAnswer,
    HttpCall, Pending,
};
use lens::Lens;
use serde_json::{Value, json};
use std::sync::Arc;

/// A call or an answer at versions 1, 2 and 3: (request line or status, body).
type Forms = [(&'static str, Value); 3];

/// The software: remembers what it is asked and answers as it was told.
struct Software {
    asked: Option<(String, Value)>,
    answer: (u16, Value),
}

impl Delegate for Software {
    fn send(&mut self, call: Call) -> Pending<'_, Result<Answer, Failure>> {
        Box::pin(async move {
            let mut call = call.into_http()?;
            let body = value(&mut call.body).await;
            self.asked = Some((format!("{} {}", call.head.method, call.head.uri), body));
            let response = http::Response::builder()
                .status(self.answer.0)
                .body(())
                .expect("an answer");
            let body = Body::Bytes(self.answer.1.to_string().into());
            let head = response.into_parts().0;
            Ok(HttpAnswer { head, body }.into())
        })
    }
}

const LIMITS: BodyLimits = BodyLimits {
    bytes_max: 1 << 20,
    depth_max: 16,
};

async fn value(body: &mut Body) -> Value {
    let decoded = body.decode(LIMITS).await.expect("a body");
    decoded.map_or(Value::Null, |json| {
        let mut text = Vec::new();
        json.write(&mut text);
        serde_json::from_slice(&text).expect("JSON")
    })
}

fn lens(version: usize, service: &str) -> Arc<Lens> {
    let path = repository().join(format!("examples/1-store/v{version}/lenses/{service}.toml"));
    let text = std::fs::read_to_string(&path).expect("a lens file");
    Arc::new(Lens::parse(&path.to_string_lossy(), &text).expect("a lens"))
}

/// The chain of callers at one version on a node at another, nearest to the caller first.
fn chain(service: &str, caller: usize, node: usize) -> Chain {
    if caller < node {
        lens::chain(
            (caller + 1..=node)
                .map(|version| (lens(version, service), Direction::Past))
                .collect(),
        )
    } else {
        lens::chain(
            (node + 1..=caller)
                .rev()
                .map(|version| (lens(version, service), Direction::Future))
                .collect(),
        )
    }
}

async fn check(service: &str, calls: Forms, answers: Forms) {
    for caller in 1..=3 {
        for node in 1..=3 {
            let (line, body) = &calls[caller - 1];
            let (method, target) = line.split_once(' ').expect("method and target");
            let head = http::Request::builder()
                .method(method)
                .uri(target)
                .body(())
                .expect("a request");
            let body = if body.is_null() {
                Body::Empty
            } else {
                Body::Bytes(body.to_string().into())
            };
            let call = Call::Http(HttpCall {
                head: head.into_parts().0,
                body,
                context: CallContext::new(LIMITS),
            });
            let status = answers[node - 1].0.parse().expect("a status");
            let mut software = Software {
                asked: None,
                answer: (status, answers[node - 1].1.clone()),
            };
            let answer = chain(service, caller, node).call(call, &mut software).await;
            let mut answer = answer
                .and_then(Answer::into_http)
                .unwrap_or_else(|failure| panic!("{service} {caller} -> {node}: {failure:?}"));
            let (line, body) = calls[node - 1].clone();
            assert_eq!(
                software.asked,
                Some((line.to_owned(), body)),
                "{service} {caller} -> {node}"
            );
            let got = (
                answer.head.status.as_str().to_owned(),
                value(&mut answer.body).await,
            );
            let (status, body) = answers[caller - 1].clone();
            assert_eq!(
                got,
                (status.to_owned(), body),
                "{service} {caller} <- {node}"
            );
        }
    }
}

fn content(number: i64, tint: &str, time: u64) -> Value {
    json!({"content": {"number": number, "tints": [tint]}, "mark": {"time": time}})
}

fn writes() -> [Value; 3] {
    [
        json!({"value": -41, "colour": "blue", "clock": 1_795_423_904_696_065_u64}),
        json!({"name": "k-0-1-2", "data": "-41", "shade": "BLUE", "stamp": 1_795_423_904_696_065_u64}),
        content(-41, "blue", 1_795_423_904_696_065),
    ]
}

fn records() -> [Value; 3] {
    let [mut first, second, mut third] = writes();
    first["key"] = json!("k-0-1-2");
    third["id"] = json!("k-0-1-2");
    [first, second, third]
}

fn forms(lines: [&'static str; 3], bodies: [Value; 3]) -> Forms {
    let mut bodies = bodies.into_iter();
    lines.map(|line| (line, bodies.next().expect("three bodies")))
}

fn bad_calls() -> Forms {
    let bodies = [
        json!({"error": "bad call"}),
        json!({"code": "BAD_CALL"}),
        json!({"problem": {"kind": "malformed"}}),
    ];
    forms(["400", "422", "400"], bodies)
}

const NO_BODY: [Value; 3] = [Value::Null, Value::Null, Value::Null];

#[tokio::test]
async fn writes_pass_between_all_versions() {
    let clock = 1_795_423_904_696_065_u64;
    let kept = [
        json!({"clock": clock}),
        json!({"stamp": clock}),
        json!({"accepted": {"time": clock}}),
    ];
    let data = ["PUT /records/k-0-1-2", "POST /rows", "PUT /objects/k-0-1-2"];
    check(
        "data",
        forms(data, writes()),
        forms(["200", "201", "200"], kept.clone()),
    )
    .await;
    check("data", forms(data, writes()), bad_calls()).await;
    let repair = ["PUT /copies/k-0-1-2", "POST /sync", "PUT /replicas/k-0-1-2"];
    check(
        "repair",
        forms(repair, writes()),
        forms(["200", "201", "200"], kept),
    )
    .await;
    let written = [
        json!({"stored": true, "copies": 2}),
        json!({"result": "WRITTEN", "replicas": 2}),
        json!({"outcome": {"written": true, "replicas": 2}}),
    ];
    let front = ["PUT /keys/k-0-1-2", "POST /items", "PUT /store/k-0-1-2"];
    check(
        "front",
        forms(front, writes()),
        forms(["200", "201", "200"], written),
    )
    .await;
    let failed = [
        json!({"error": "no majority"}),
        json!({"code": "NO_MAJORITY"}),
        json!({"problem": {"kind": "no-majority"}}),
    ];
    check(
        "front",
        forms(front, writes()),
        forms(["503", "504", "503"], failed),
    )
    .await;
}

#[tokio::test]
async fn reads_pass_between_all_versions() {
    let missing = || {
        let bodies = [
            json!({"error": "no such key"}),
            json!({"code": "UNKNOWN_NAME"}),
            json!({"problem": {"kind": "missing"}}),
        ];
        forms(["404", "410", "404"], bodies)
    };
    for (service, lines) in [
        (
            "data",
            [
                "GET /records/k-0-1-2",
                "GET /rows?name=k-0-1-2",
                "GET /objects/k-0-1-2",
            ],
        ),
        (
            "front",
            [
                "GET /keys/k-0-1-2",
                "GET /items?name=k-0-1-2",
                "GET /store/k-0-1-2",
            ],
        ),
    ] {
        check(
            service,
            forms(lines, NO_BODY),
            forms(["200", "200", "200"], records()),
        )
        .await;
        check(service, forms(lines, NO_BODY), missing()).await;
    }
}

#[tokio::test]
async fn health_questions_pass_between_all_versions() {
    let lines = ["GET /health", "GET /status", "GET /ready"];
    let bodies = [
        json!({"healthy": true}),
        json!({"status": "UP"}),
        json!({"ready": true}),
    ];
    for service in ["data", "repair", "front"] {
        check(
            service,
            forms(lines, NO_BODY),
            forms(["200", "200", "200"], bodies.clone()),
        )
        .await;
    }
}
