//! `check` of bundles with components, and the process that compiles them.

use crate::upstart::{run, upstart};
use assemble::{DELEGATE, HANDLE, component, of_world};
use component::{CompileHelper, Compiler, Declaration};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const UPGRADE: &str = r#"
system = "store"
version = 2
from = 1

[class.storage.software]
command = ["true"]

[class.storage.service.data]
port = 7000
protocol = "http"
interface = "changed"
adapter = "adapters/guest.toml"

[class.storage.lifecycle]
probe = { tcp = "data" }
"#;

fn passing() -> Vec<u8> {
    doing(&format!("{DELEGATE} (i32.const 128)"))
}

/// A component whose `handle` is this.
fn doing(handle: &str) -> Vec<u8> {
    component(&format!(
        r#"(func (export "upstart:adapter/calls@0.1.0#init") (param i32 i32 i32 i32) (result i32) (unreachable))
        (func (export "upstart:adapter/calls@0.1.0#on-recover")
          (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable))
        {HANDLE} {handle})"#
    ))
}

fn bundle(folder: &Path, declaration: &str, component: Option<&[u8]>) {
    std::fs::create_dir_all(folder.join("adapters")).expect("a folder");
    std::fs::write(folder.join("upgrade.toml"), UPGRADE).expect("written");
    std::fs::write(folder.join("adapters/guest.toml"), declaration).expect("written");
    if let Some(component) = component {
        std::fs::write(folder.join("adapters/guest.wasm"), component).expect("written");
    }
}

#[test]
fn a_component_is_checked_as_nodes_do() {
    let sound = "component = \"guest.wasm\"\n";
    let foreign = wat::parse_str(r#"(component (import "wasi:sockets/network@0.2.0" (instance)))"#);
    let foreign = foreign.expect("a component");
    let module = wat::parse_str("(module)").expect("a module");
    for (declaration, component, code, said) in [
        (sound, Some(passing().as_slice()), 0, "is sound"),
        (
            sound,
            None,
            1,
            "adapters/guest.toml:1: component: there is no file `adapters/guest.wasm` in the bundle; put the component beside this file",
        ),
        (
            sound,
            Some(foreign.as_slice()),
            1,
            "it imports `wasi:sockets/network@0.2.0`, which an adapter is not given; build it for a world of `upstart:adapter`",
        ),
        (
            sound,
            Some(module.as_slice()),
            1,
            "`wasm-tools component new` makes one of it",
        ),
        (
            sound,
            Some(b"\x00asm".as_slice()),
            1,
            "adapters/guest.toml:1: component: ",
        ),
        (
            "component = \"guest.wasm\"\n[[operation]]\ncall = \"*\"\n[[operation]]\ncall = \"HSET\"\n",
            Some(passing().as_slice()),
            1,
            "adapters/guest.toml:5: call: no call of http is of this form; write a method and a path: call = \"GET /items/{id}\"",
        ),
        (
            "component = \"guest.wasm\"\nlimit = 1\n",
            Some(passing().as_slice()),
            1,
            "adapters/guest.toml:2: limit: unknown key `limit`; did you mean `limits`?",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        bundle(folder.path(), declaration, component);
        let answer = run(upstart().arg("check").arg(folder.path())).expect(code);
        assert!(
            answer.stdout().contains(said),
            "{said} in {}",
            answer.stdout()
        );
    }
}

/// A component of sessions: version 2's messages have six bytes in front, and small letters.
const TRANSLATOR: &str = include_str!("../end_to_end/software/translator.wat");

/// A session in which both sides speak; the bytes in front are b2 02 00 00 00 00.
const SCRIPT: &str = r#"
description = "A question and its answer"
direction = "past"

[[event]]
caller = "Get a"
sends = [{ next_base64 = "sgIAAAAAZ2V0IGE=" }]

[[event]]
next_base64 = "sgIAAAAAdmFsdWU="
sends = [{ caller = "Value" }]
"#;

#[test]
fn sessions_are_tested_by_scripts() {
    let folder = tempfile::tempdir().expect("a folder");
    let declared = folder.path().join("bus.toml");
    std::fs::write(&declared, "component = \"bus.wasm\"\n").expect("written");
    let component = of_world(TRANSLATOR, "sessions-adapter");
    std::fs::write(folder.path().join("bus.wasm"), component).expect("written");
    let scripts = folder.path().join("bus.conversations");
    std::fs::create_dir(&scripts).expect("a folder");
    let file = scripts.join("a.toml");
    let test = |code: i32, more: &[&str]| {
        let mut command = upstart();
        let command = command.args(["adapter", "test"]).arg(&declared).args(more);
        run(command).expect(code).stdout()
    };
    for (script, code, said) in [
        (SCRIPT.to_owned(), 0, "a.toml: A question and its answer"),
        (
            SCRIPT.replace("\"Value\"", "\"value\""),
            1,
            "[event[1]] what follows from it\n          sends[0]\n            - to caller: value\n            + to caller: Value\n",
        ),
        (
            SCRIPT.replace("sends = [{ caller = \"Value\" }]", "closes = true"),
            1,
            "          closes\n            - true\n            + (nothing)\n",
        ),
        // The component traps where a message has no signature.
        (
            SCRIPT.replace("next_base64 = \"sgIAAAAAdmFsdWU=\"", "next = \"short\""),
            1,
            "the adapter failed: ",
        ),
        (
            SCRIPT.replace("caller = \"Get a\"", "coller = \"Get a\""),
            1,
            "a.toml:6: event[0].coller: unknown key `coller`; did you mean `caller`?",
        ),
        (
            "direction = \"past\"\n[caller.sends]\nmessage = \"a\"\n[caller.gets]\nmessage = \"a\"\n".to_owned(),
            1,
            "it is a call, and the adapter serves sessions",
        ),
    ] {
        std::fs::write(&file, &script).expect("written");
        let told = test(code, &[]);
        assert!(told.contains(said), "{said} in {told}");
    }
    let wrong = SCRIPT.replace("\"Value\"", "\"value\"");
    std::fs::write(&file, wrong).expect("written");
    test(0, &["--update"]);
    let updated = std::fs::read_to_string(&file).expect("readable");
    assert!(updated.contains("{ caller = \"Value\" }"), "{updated}");
    test(0, &[]);
}

#[test]
fn only_a_component_of_calls_can_follow_calls() {
    let lens = "[[operation]]\nsame = \"GET /items\"\n";
    for (declaration, code, said) in [
        ("component = \"guest.wasm\"\n", 0, "is sound"),
        (
            lens,
            1,
            "a lens remembers nothing of calls, so that it cannot follow them; where `dispatch` is \"observed\" it needs a component",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        bundle(folder.path(), declaration, Some(&passing()));
        let upgrade = UPGRADE.replace("adapter =", "dispatch = \"observed\"\nadapter =");
        std::fs::write(folder.path().join("upgrade.toml"), upgrade).expect("written");
        let answer = run(upstart().arg("check").arg(folder.path())).expect(code);
        assert!(
            answer.stdout().contains(said),
            "{said} in {}",
            answer.stdout()
        );
    }
}

#[test]
fn what_is_declared_fits_the_protocol() {
    for (protocol, call, code, said) in [
        ("resp", "HSET", 0, "is sound"),
        ("lines", "*", 0, "is sound"),
        (
            "resp",
            "GET /items",
            1,
            "write what a command begins with: call = \"HSET\"",
        ),
        ("netstring", "HSET", 1, "only `call = \"*\"` is known here"),
        (
            "resp",
            "CONFIG GET all",
            1,
            "is neither a method and a path, as in \"GET /items/{id}\", nor a command, as in \"HSET\" or \"CONFIG GET\"",
        ),
        (
            "raw",
            "*",
            1,
            "a component of calls does not understand raw",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let declared = format!("component = \"guest.wasm\"\n[[operation]]\ncall = \"{call}\"\n");
        bundle(folder.path(), &declared, Some(&passing()));
        let upgrade = UPGRADE.replace("\"http\"", &format!("\"{protocol}\""));
        std::fs::write(folder.path().join("upgrade.toml"), upgrade).expect("written");
        let answer = run(upstart().arg("check").arg(folder.path())).expect(code);
        assert!(
            answer.stdout().contains(said),
            "{said} in {}",
            answer.stdout()
        );
    }
}

#[test]
fn what_was_compiled_is_kept_while_it_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("compiled");
    let helper = CompileHelper {
        upstart_binary: env!("CARGO_BIN_EXE_upstart").into(),
    };
    let compiler = Compiler::new(helper, &kept);
    let limits = Declaration::parse("a.toml", "component = \"a.wasm\"").expect("sound");
    let compile = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).expect("written");
        let program = compiler.program(name, &file, limits.limits());
        program.unwrap_or_else(|error| panic!("{error}"));
    };
    let files = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&kept).expect("a folder").flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let long_ago = SystemTime::now() - Duration::from_secs(40 * 24 * 3600);
    let age = |file: &Path| {
        let file = std::fs::File::open(file).expect("there");
        file.set_modified(long_ago).expect("ours");
    };
    compile("first.wasm", &passing());
    let first = files();
    assert_eq!(first.len(), 1);
    age(&first[0]);
    // It is used, and nothing is compiled.
    compile("first.wasm", &passing());
    assert_eq!(files(), first);
    let stale = kept.join("stale.cwasm");
    std::fs::write(&stale, "of another engine").expect("written");
    age(&stale);
    compile("second.wasm", &doing("(unreachable)"));
    assert!(first[0].exists() && !stale.exists(), "{:?}", files());
    assert_eq!(files().len(), 2);
}

#[test]
fn the_process_that_compiles_says_what_is_wrong_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("guest.wasm"), folder.path().join("out"));
    std::fs::write(&from, b"no component").expect("written");
    let answer = run(upstart().arg("compile-adapter").args([&from, &to])).expect(3);
    assert!(!answer.stderr().trim().is_empty());
    assert!(!to.exists());
    std::fs::write(&from, passing()).expect("written");
    run(upstart().arg("compile-adapter").args([&from, &to])).expect(0);
    assert!(to.metadata().expect("compiled").len() > 1000);
}

#[test]
fn conversations_are_played_through_the_component_of_a_project() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path();
    let test = |code| run(upstart().args(["adapter", "test"]).arg(project)).expect(code);
    let answer = test(1);
    assert!(
        answer.stderr().contains("has no adapter"),
        "{}",
        answer.stderr()
    );
    let declaration = "component = \"guest.wasm\"\n";
    std::fs::write(project.join("guest.adapter.toml"), declaration).expect("written");
    let answer = test(1);
    assert!(
        answer.stderr().contains("build it first"),
        "{}",
        answer.stderr()
    );
    std::fs::write(project.join("guest.wasm"), passing()).expect("written");
    let conversations = project.join("guest.adapter.conversations");
    std::fs::create_dir(&conversations).expect("a folder");
    let past = include_str!("../../templates/adapter/common/past.toml");
    std::fs::write(conversations.join("past.toml"), past).expect("written");
    // Its first function traps: that is told, and what the caller did not get.
    let answer = test(1);
    for said in [
        "FAILED",
        "the adapter failed",
        "unreachable",
        "0 conversations as they should be, 1 not",
    ] {
        assert!(
            answer.stdout().contains(said),
            "{said} in {}",
            answer.stdout()
        );
    }
    // What it did there is nothing that it shall do from now on.
    run(upstart().args(["adapter", "test", "--update"]).arg(project)).expect(1);
    let kept = std::fs::read_to_string(conversations.join("past.toml")).expect("there");
    assert_eq!(kept, past);
}
