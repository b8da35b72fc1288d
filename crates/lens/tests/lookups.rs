//! Look-up calls: what they ask, what they give, and what keeps other calls out meanwhile.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use call::{
    Answer, Body, Call, CallContext, Chain, Conflicts, Delegate, Direction, Failure, HttpAnswer,
    HttpCall, Pending, RefusalKind,
};
use declaration::DeclarationError;
use lens::Lens;
use support::{LIMITS, lens};
use tokio::sync::Notify;

const DELETE: &str = r#"
[[operation]]
same = "DELETE /items/{id}"
lookup = { item = { old = "GET /items/{id}" } }
conflict_key = "path.id"

[[operation.response]]
status = 200
only = "future"
rules = [{ old = "body", lossy = true }, { new = "body", echo = "lookup.item.body" }]

[[operation.response]]
status = 200
only = "past"
rules = [{ old = "body", value = {} }, { new = "body", lossy = true }]

[[operation]]
same = "PUT /items/{id}"
conflict_key = "path.id"

[[operation]]
same = "GET /items/{id}"
"#;

fn call(method: &str, target: &str) -> Call {
    let request = http::Request::builder().method(method).uri(target);
    let request = request
        .header("authorization", "me")
        .header("if-none-match", "\"1\"");
    let (mut head, ()) = request.body(()).expect("valid").into_parts();
    head.extensions.insert(Own);
    Call::Http(HttpCall {
        head,
        body: Body::Empty,
        context: CallContext::new(LIMITS),
    })
}

fn answer(status: u16, body: &str) -> Answer {
    let response = http::Response::builder().status(status);
    let response = response.header("content-type", "application/json");
    let (head, ()) = response.body(()).expect("valid").into_parts();
    let body = Body::Bytes(body.to_owned().into());
    HttpAnswer { head, body }.into()
}

fn text(answer: Answer) -> String {
    match answer.into_http().expect("HTTP").body {
        Body::Json(json) => json.to_string(),
        Body::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

/// Marks a caller's own call: look-ups want whole answers, whatever the caller has of them.
#[derive(Clone)]
struct Own;

/// One thing in it; waits in every call until it may go on.
#[derive(Default)]
struct Store {
    deleted: AtomicBool,
    asked: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    holds: AtomicBool,
    go_on: Notify,
}

struct Way<'s>(&'s Store);

impl Delegate for Way<'_> {
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let call = call.into_http()?;
            let asked = format!("{} {}", call.head.method, call.head.uri.path());
            assert_eq!(call.head.headers["authorization"], "me", "{asked}");
            let is_conditional = call.head.headers.contains_key("if-none-match");
            assert_eq!(
                is_conditional,
                call.head.extensions.get::<Own>().is_some(),
                "{asked}"
            );
            self.0.asked.lock().expect("no panics").push(asked);
            self.0.under_way.fetch_add(1, Ordering::SeqCst);
            while self.0.holds.load(Ordering::SeqCst) {
                self.0.go_on.notified().await;
            }
            self.0.under_way.fetch_sub(1, Ordering::SeqCst);
            let is_there = !self.0.deleted.load(Ordering::SeqCst);
            Ok(match (call.head.method.as_str(), is_there) {
                ("GET", true) => answer(200, r#"{"id":1.50,"z":0,"a":1}"#),
                ("DELETE", true) => {
                    self.0.deleted.store(true, Ordering::SeqCst);
                    answer(200, "{}")
                }
                (_, true) => answer(200, "{}"),
                (_, false) => answer(404, "{}"),
            })
        })
    }
}

fn chain(lens: &Arc<Lens>, conflicts: &Conflicts) -> Chain {
    lens::chain_within(vec![(lens.clone(), Direction::Future)], conflicts)
}

#[tokio::test]
async fn a_deleted_thing_is_answered_as_it_was_found() {
    let chain = chain(&lens(DELETE), &Conflicts::default());
    let store = Store::default();
    let mut way = Way(&store);
    let answered = chain.call(call("DELETE", "/items/1"), &mut way).await;
    let answered = answered.expect("an answer");
    assert_eq!(
        text(answered),
        r#"{"id":1.50,"z":0,"a":1}"#,
        "exactly as it was"
    );
    let asked = store.asked.lock().expect("no panics").clone();
    assert_eq!(asked, ["GET /items/1", "DELETE /items/1"]);
    // What was not found by the look-up cannot be answered, whatever the write says.
    let refused = chain
        .call(call("DELETE", "/items/1"), &mut Way(&store))
        .await;
    let Err(Failure::Refused(refusal)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.kind, RefusalKind::Response);
}

#[tokio::test]
async fn the_past_adapter_needs_no_look_up() {
    let lens = vec![(lens(DELETE), Direction::Past)];
    let chain = lens::chain(lens);
    let store = Store::default();
    let mut way = Way(&store);
    let answered = chain.call(call("DELETE", "/items/1"), &mut way).await;
    assert_eq!(text(answered.expect("an answer")), "{}");
    assert_eq!(store.asked.lock().expect("no panics").len(), 1);
}

async fn reached(store: &Store, calls: usize) -> bool {
    for _ in 0..100 {
        if store.under_way.load(Ordering::SeqCst) == calls {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn calls_with_the_same_key_run_one_at_a_time_and_others_do_not_wait() {
    let lens = lens(DELETE);
    let conflicts = Conflicts::default();
    // Two chains of one service, as callers of two connections have them.
    let chains = [chain(&lens, &conflicts), chain(&lens, &conflicts)];
    let store = Store::default();
    store.holds.store(true, Ordering::SeqCst);
    let mut ways = [(); 5].map(|()| Way(&store));
    let [a, b, c, d, e] = &mut ways;
    let work = async {
        tokio::join!(
            chains[0].call(call("DELETE", "/items/1"), a),
            chains[1].call(call("DELETE", "/items/1"), b),
            chains[1].call(call("PUT", "/items/1"), c),
            chains[1].call(call("PUT", "/items/2"), d),
            chains[0].call(call("GET", "/items/1"), e),
        )
    };
    let release = async {
        assert!(
            reached(&store, 3).await,
            "one of the key, one of another, one read"
        );
        assert!(!reached(&store, 4).await, "nobody else comes in between");
        store.holds.store(false, Ordering::SeqCst);
        store.go_on.notify_waiters();
    };
    let (answers, ()) = tokio::join!(work, release);
    let asked = store.asked.lock().expect("no panics").clone();
    let of_key: Vec<&String> = asked
        .iter()
        .filter(|asked| !asked.contains("GET /items/1"))
        .collect();
    assert_eq!(asked.len(), 7, "{of_key:?}");
    let first = asked.iter().position(|asked| asked == "DELETE /items/1");
    let put = asked.iter().position(|asked| asked == "PUT /items/1");
    assert!(first < put, "the look-up and its call are one: {asked:?}");
    assert!(answers.0.is_ok() && answers.2.is_ok() && answers.3.is_ok());
}

fn error(text: &str) -> DeclarationError {
    Lens::parse("x.toml", text).expect_err("refused")
}

#[test]
fn a_write_that_depends_on_a_look_up_is_refused_by_the_check() {
    let operation = |request: &str| {
        format!(
            "[[operation]]\nsame = 'PUT /items/{{id}}'\nlookup = {{ item = 'GET /items/{{id}}' }}\n\
             request = [{request}]\n"
        )
    };
    let condition = "when = { old = 'lookup.item.status == 200' }";
    let refuse = format!("{{ refuse = {{ status = 409, reason = 'there' }}, {condition} }}");
    let found = error(&operation(&refuse));
    assert!(
        found
            .message
            .contains("the past adapter's write would depend"),
        "{found}"
    );
    let computed =
        "{ old = 'body.a', new = 'body.a', to_new = 'lookup.item.body.a', to_old = 'value' }";
    error(&operation(computed));
    let conditional =
        "{ to_new = { 'header.if-match' = 'lookup.item.header.etag' }, to_old = 'drop' }";
    Lens::parse("x.toml", &operation(conditional)).expect("the protocol's own condition");
    // A read may be refused by what was read.
    let read = operation(&refuse).replace("same = 'PUT", "same = 'GET");
    Lens::parse("x.toml", &read).expect("a read changes nothing");
    let writes = "[[operation]]\nsame = 'GET /a'\nlookup = { b = 'POST /b' }";
    assert!(error(writes).message.contains("changes nothing"));
    let unknown = "[[operation]]\nsame = 'GET /a'\n[[operation.response]]\nstatus = 200\n\
                   rules = [{ old = 'body', echo = 'lookup.b.body' }]";
    assert!(error(unknown).message.contains("no look-up `b`"));
}

#[tokio::test]
async fn an_operation_makes_no_more_calls_than_it_declares() {
    struct Greedy;
    impl call::Calls for Greedy {
        fn handle<'a>(
            &'a self,
            _: Call,
            mut next: call::Next<'a>,
        ) -> Pending<'a, Result<Answer, Failure>> {
            Box::pin(async move {
                next.allow(1);
                next.delegate(call("GET", "/items/1")).await?;
                next.delegate(call("GET", "/items/1")).await
            })
        }
    }
    let store = Store::default();
    let chain = Chain::of(
        Direction::Past,
        vec![Arc::new(Greedy)],
        &Conflicts::default(),
    );
    let refused = chain.call(call("GET", "/items/1"), &mut Way(&store)).await;
    assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    assert_eq!(store.asked.lock().expect("no panics").len(), 1);
}
