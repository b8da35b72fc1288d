//! Components as adapters: what they are given, what they are limited to, and what becomes of their calls.

mod guests;
mod hostile;
mod observed;
mod stage;
mod state;

use assemble::{DELEGATE, component};
use call::{Calls, Chain, Conflicts, Direction};
use component::Stores;
use component::{ChainPlace, ComponentError, ComponentStep, Declaration, Program};
use conversation::{Conversation, Part, Played};
use guests::{foreign, handling};
use lens::Lens;
use stage::{Stage, declaration, step};
use std::path::Path;
use std::sync::Arc;

/// Hands every call on as it is.
pub(crate) fn passing() -> Vec<u8> {
    handling(&format!("{DELEGATE} (i32.const 128)"))
}

#[tokio::test]
async fn a_call_passes_a_component_both_ways() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = Stage::new(&passing(), "", folder.path());
    let answer = stage.ask("POST", "/items/7?a=%20b", "hello").await;
    assert_eq!(answer.expect("an answer"), (200, "hello".to_owned()));
    assert_eq!(
        stage
            .software
            .calls
            .load(std::sync::atomic::Ordering::SeqCst),
        1
    );
}

#[tokio::test]
async fn a_chain_mixes_lenses_and_components() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = Arc::new(Stores::new(folder.path()));
    let lens = "[[operation]]\nsame = \"POST /items\"\nrequest = [{ old = \"body.a\", new = \"body.b\" }]\n[[operation.response]]\nstatus = 200\nrules = [{ old = \"body.a\", new = \"body.b\" }]\n";
    let lens = Arc::new(Lens::parse("a.toml", lens).unwrap_or_else(|error| panic!("{error}")));
    for component_first in [true, false] {
        let mut steps = vec![
            step(&passing(), "", &stores, Direction::Past),
            lens.clone().adapter(Direction::Past),
        ];
        if !component_first {
            steps.reverse();
        }
        let stage = Stage {
            chain: Chain::of(Direction::Past, steps, &Conflicts::default()),
            software: stage::Software::default(),
            stores: stores.clone(),
        };
        let answer = stage.ask("POST", "/items", r#"{"a":1}"#).await;
        let (status, body) = answer.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((status, body.as_str()), (200, r#"{"a":1}"#));
        let refused = stage.ask("GET", "/other", "").await;
        assert!(
            matches!(refused, Err(call::Failure::Refused(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn more_calls_than_declared_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let twice = handling(&format!("{DELEGATE} {DELEGATE} (i32.const 128)"));
    let stage = Stage::new(&twice, "", folder.path());
    let refused = stage.ask("POST", "/items", "x").await;
    let Err(call::Failure::Refused(refusal)) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        refusal.reason.contains("more calls than"),
        "{}",
        refusal.reason
    );
    let rest = "[[operation]]\ncall = \"POST /items\"\ndelegates = 2\n";
    let stage = Stage::new(&twice, rest, folder.path().join("b").as_path());
    assert_eq!(stage.ask("POST", "/items", "x").await.expect("both").0, 200);
}

#[test]
fn what_is_no_adapter_is_said_with_what_to_do() {
    let limits = declaration("").limits();
    let complaint = |bytes: &[u8]| match Program::compile("guest.wasm", bytes, limits) {
        Err(error @ ComponentError::Unfit { .. }) => format!("{error}; {}", error.hint()),
        other => panic!("{other:?}"),
    };
    let foreign = complaint(&foreign());
    assert!(
        foreign.contains("it imports `wasi:sockets/network@0.2.0`")
            && foreign.contains("wasm32-wasip2"),
        "{foreign}"
    );
    let nothing = complaint(&wat::parse_str("(component)").expect("a component"));
    assert!(
        nothing.contains("does not export `upstart:adapter/calls`"),
        "{nothing}"
    );
    complaint(&wat::parse_str("(module)").expect("a module"));
    let mut small = limits;
    small.memory_bytes = 1024;
    let error = Program::compile("guest.wasm", &passing(), small).expect_err("no instance");
    let told = format!("{error}; {}", error.hint());
    assert!(
        told.contains("no instance of it could be made") && told.contains("memory_mib"),
        "{told}"
    );
    complaint(b"nothing at all");
}

#[test]
fn declarations_are_proved() {
    let wrong = [
        ("", "`component` is missing"),
        ("component = \"../a.wasm\"", "not a path inside the bundle"),
        ("component = \"a\"\nlimit = 1", "did you mean `limits`?"),
        (
            "component = \"a\"\n[limits]\ntime_ms = 0",
            "a:3: limits.time_ms: 0 is not from 1 to 60000",
        ),
        (
            "component = \"a\"\n[limits]\ntime = 1",
            "unknown key `time`",
        ),
        (
            "component = \"a\"\n[[operation]]\nname = \"x\"",
            "`call` is missing",
        ),
        (
            "component = \"a\"\n[[operation]]\ncall = \"get /\"",
            "is not a method and a path",
        ),
        (
            "component = \"a\"\n[[operation]]\ncall = \"GET /\"\nconflict_key = \"nme\"",
            "`nme` is not known",
        ),
        (
            "component = \"a\"\n[[operation]]\ncall = \"GET /\"\nconflict_key = \"path\"\nconflicts = false",
            "has no key",
        ),
        (
            "component = \"a\"\n[[operation]]\ncall = \"GET /{a}\"\n[[operation]]\ncall = \"GET /{b}\"",
            "never reached",
        ),
    ];
    for (text, expected) in wrong {
        let error = Declaration::parse("a", text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let declared = Declaration::parse("adapters/a.toml", "component = \"a.wasm\"").expect("sound");
    assert_eq!(declared.component(), "adapters/a.wasm");
    assert!(Declaration::is_one("component = \"a.wasm\"") && !Declaration::is_one("pass = []"));
}

#[tokio::test]
async fn what_a_component_makes_must_be_http() {
    let folder = tempfile::tempdir().expect("a folder");
    // A reply of status 7.
    let odd = handling(
        "(i32.store (i32.const 128) (i32.const 0)) (i32.store (i32.const 132) (i32.const 0))
         (i32.store (i32.const 136) (i32.const 7)) (i32.const 128)",
    );
    let stage = Stage::new(&odd, "", folder.path());
    let fault = stage.fault("GET", "/", "").await;
    assert!(fault.contains("a status 7"), "{fault}");
    // A module without anything of the contract's imports is a component of it too.
    let small = component(
        "(func (export \"upstart:adapter/calls@0.1.0#init\") (param i32 i32 i32 i32) (result i32) unreachable)
         (func (export \"upstart:adapter/calls@0.1.0#on-recover\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)
         (func (export \"upstart:adapter/calls@0.1.0#handle\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable)",
    );
    let stage = Stage::new(&small, "", folder.path().join("b").as_path());
    let fault = stage.fault("GET", "/", "").await;
    assert!(fault.contains("unreachable"), "{fault}");
}

/// More calls at a time than instances may run, each through two adapters: a call that has the first and waits for the second
/// must not keep others from theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_through_chains_do_not_wait_for_each_other_in_a_circle() {
    const AT_A_TIME: usize = 600;
    let folder = tempfile::tempdir().expect("a folder");
    let rest = "[[operation]]\ncall = \"* /{id}\"\nconflicts = false\n";
    let component = passing();
    let stores = Arc::new(Stores::new(folder.path()));
    let passing = || step(&component, rest, &stores, Direction::Past);
    let steps = vec![passing(), Arc::new(stage::Pause), passing()];
    let chain = Chain::of(Direction::Past, steps, &Conflicts::default());
    let chain = Arc::new(chain);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..AT_A_TIME {
        let chain = chain.clone();
        calls.spawn(async move {
            let mut software = stage::Software::default();
            let target = format!("/{number}");
            let answer = chain.call(stage::call("POST", &target, "x"), &mut software);
            answer
                .await?
                .into_http()
                .map(|answer| answer.head.status.as_u16())
        });
    }
    let answers = tokio::time::timeout(std::time::Duration::from_secs(60), calls.join_all());
    for answer in answers.await.expect("answers in time") {
        assert_eq!(answer.expect("an answer"), 200);
    }
}

#[tokio::test]
async fn conversations_of_every_protocol_play_through_a_component() {
    let declared = declaration("[[operation]]\ncall = \"*\"\nconflicts = false\n");
    let program = Program::compile("guest.wasm", &passing(), declared.limits());
    let program = program.unwrap_or_else(|error| panic!("{error}"));
    let conversation = |sends: &str, gets: &str, answers: &str, ends: &str| {
        let text = format!(
            "direction = \"past\"\n[caller.sends]\n{sends}\n[[next]]\n[next.gets]\n{gets}\n[next.answers]\n{answers}\n[caller.gets]\n{ends}\n"
        );
        Conversation::parse("a.toml", &text).unwrap_or_else(|error| panic!("{error}"))
    };
    let command = r#"command = ["HGET", "item:7", "colour"]"#;
    let value = r#"value = "$3\r\nred\r\n""#;
    let binary = r#"command_base64 = ["R0VU", "/wA="]"#;
    let message = r#"message = "colour of 7""#;
    for (same, other, differs) in [
        (
            conversation(command, command, value, value),
            conversation(command, binary, value, "value = \"+red\\r\\n\""),
            [
                "next[0].gets command: expected GET \u{fffd}\0, found HGET item:7 colour",
                "caller.gets value: expected +red\r\n, found $3\r\nred\r\n",
            ],
        ),
        (
            conversation(binary, binary, value, value),
            conversation(binary, command, value, "value_base64 = \"Kw==\""),
            [
                "next[0].gets command: expected HGET item:7 colour, found GET \u{fffd}\0",
                "caller.gets value: expected +, found $3\r\nred\r\n",
            ],
        ),
        (
            conversation(message, message, "message = \"red\"", "message = \"red\""),
            conversation(
                message,
                "message_base64 = \"/wA=\"",
                "message = \"red\"",
                "message = \"blue\"",
            ),
            [
                "next[0].gets message: expected (2 bytes), found colour of 7",
                "caller.gets message: expected blue, found red",
            ],
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let played = play(&declared, &program, folder.path(), &same).await;
        assert_eq!(played.differences, [], "{}", same.title());
        assert_eq!(played.failure, None);
        let written = played.found.to_toml();
        let again = Conversation::parse("b.toml", &written);
        let again = again.unwrap_or_else(|error| panic!("{error} in {written}"));
        assert_eq!(again.differences(&same), [], "{written}");
        assert_eq!(again.to_toml(), written);
        let played = play(&declared, &program, folder.path(), &other).await;
        let told: Vec<String> = played.differences.iter().map(ToString::to_string).collect();
        assert_eq!(told, differs);
    }
}

/// Plays a conversation through a component that begins anew.
async fn play(
    declaration: &Arc<Declaration>,
    program: &Arc<Program>,
    folder: &Path,
    conversation: &Conversation,
) -> Played {
    let adapter = |part: Part| -> Arc<dyn Calls> {
        Arc::new(ComponentStep::new(
            declaration.clone(),
            program.clone(),
            Arc::new(Stores::new(folder)),
            ChainPlace::between(part.direction, part.caller_version, part.next_version),
        ))
    };
    conversation.play(adapter).await
}

#[test]
fn a_conversation_is_of_one_protocol() {
    for (text, said) in [
        (
            "direction = \"past\"\n[caller.sends]\ncommand = [\"GET\"]\n[[next]]\n[next.gets]\nmessage = \"a\"\n[next.answers]\nvalue = \"+\"\n[caller.gets]\nvalue = \"+\"\n",
            "a.toml:5: next[0].gets: it is of another protocol than what the caller sends",
        ),
        (
            "direction = \"past\"\n[caller.sends]\ncommand = []\n[caller.gets]\nvalue = \"+\"\n",
            "a command has words",
        ),
        (
            "direction = \"past\"\n[caller.sends]\nmessage = \"a\"\n[caller.gets]\nstatus = 200\n",
            "unknown key `status`",
        ),
        (
            "direction = \"past\"\n[caller.sends]\nmessage = \"a\"\n[caller.gets]\n",
            "`message` is missing",
        ),
    ] {
        let error = Conversation::parse("a.toml", text)
            .expect_err(said)
            .to_string();
        assert!(error.contains(said), "{error}");
    }
}
