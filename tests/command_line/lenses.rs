//! `lens test`, `lens explain` and `schema`: what people and programs are told, and the exit codes.

use crate::upstart::{run, upstart};
use std::path::{Path, PathBuf};

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(path)
}

#[test]
fn the_examples_conversations_pass_for_bundles_and_for_one_lens() {
    for (path, number) in [
        ("0-greeting/v2", 6),
        ("1-store/v2", 29),
        ("1-store/v3/lenses/data.toml", 11),
    ] {
        let answer = run(upstart().args(["lens", "test"]).arg(example(path))).expect(0);
        let last = format!("{number} conversations as they should be, 0 not");
        assert_eq!(answer.stdout().lines().last(), Some(last.as_str()));
    }
    let answer = run(upstart()
        .args(["lens", "test", "--json"])
        .arg(example("1-store/v2")))
    .expect(0);
    let json = answer.json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["adapters"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["adapters"][0]["conversations"][0]["result"], "ok");
}

#[test]
fn a_difference_is_a_negative_answer_that_shows_both_and_can_be_kept() {
    let folder = tempfile::tempdir().expect("a directory");
    let text = std::fs::read_to_string(example("0-greeting/v2/lens.conversations/hello-past.toml"))
        .expect("there");
    let file = folder.path().join("hello.toml");
    std::fs::write(&file, text.replace("\"count\": 3", "\"count\": 4")).expect("written");
    let test = |more: &[&str]| {
        let mut command = upstart();
        command
            .args(["lens", "test"])
            .args(more)
            .arg(example("0-greeting/v2/lens.toml"));
        run(command.arg("--conversations").arg(folder.path()))
    };
    let told = test(&[]).expect(1).stdout();
    for part in [
        "FAILED",
        "[caller.gets] what the caller gets",
        "body.count",
        "- 4",
        "+ 3",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let json = test(&["--json"]).expect(1).json();
    let difference = &json["adapters"][0]["conversations"][0]["differences"][0];
    assert_eq!(
        (&difference["place"], &difference["expected"]),
        (&"body.count".into(), &"4".into())
    );
    test(&["--update"]).expect(0);
    test(&[]).expect(0);

    std::fs::write(&file, "direction = 'sideways'").expect("written");
    let told = test(&[]).expect(1).stdout();
    assert!(
        told.contains("hello.toml:1: direction: `sideways` is not one of"),
        "{told}"
    );
}

#[test]
fn nothing_tested_is_no_success_and_wrong_places_are_errors() {
    let folder = tempfile::tempdir().expect("a directory");
    let lens = folder.path().join("alone.toml");
    std::fs::write(&lens, "[[operation]]\nsame = 'GET /x'\n").expect("written");
    let told = run(upstart().args(["lens", "test"]).arg(&lens))
        .expect(1)
        .stdout();
    assert!(told.contains("nothing was tested"), "{told}");
    run(upstart()
        .args(["lens", "test"])
        .arg(folder.path().join("none.toml")))
    .expect_advice(2);
    std::fs::write(&lens, "[[operation]]\nsme = 'GET /x'\n").expect("written");
    let told = run(upstart().args(["lens", "test"]).arg(&lens))
        .expect_advice(1)
        .stderr();
    assert!(
        told.contains("alone.toml:2: operation[0].sme") && told.contains("`same`"),
        "{told}"
    );
    run(upstart()
        .args(["lens", "test", "--conversations", "x"])
        .arg(example("1-store/v2")))
    .expect_advice(2);
}

#[test]
fn a_call_is_explained_there_and_back_and_a_refusal_is_a_negative_answer() {
    let lens = example("0-greeting/v2/lens.toml");
    let explain = |more: &[&str]| {
        let mut command = upstart();
        run(command.args(["lens", "explain"]).arg(&lens).args(more))
    };
    let call = [
        "POST",
        "/hello",
        "--direction",
        "past",
        "-d",
        "{\"name\": \"Ada\"}",
    ];
    let answer = [
        "--answer-status",
        "200",
        "--answer-body",
        "{\"text\": \"Hi\", \"times\": 1}",
    ];
    let told = explain(&[&call[..], &answer[..]].concat())
        .expect(0)
        .stdout();
    for part in [
        "lens.toml:7: operation POST /hello matches",
        "lens.toml:10: { old = \"body.name\", new = \"path.name\" }",
        "moved     body.name \"Ada\" -> path.name \"Ada\"",
        "POST /greetings/Ada",
        "lens.toml:12: response 200 matches",
        "moved     body.times 1 -> body.count 1",
        "{\"greeting\": \"Hi\", \"count\": 1}",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let told = explain(&call).expect(0).stdout();
    assert!(
        told.contains("--answer-status") && !told.contains("The caller gets"),
        "{told}"
    );
    let told = explain(&["GET", "/nothing", "--direction", "old"])
        .expect(1)
        .stdout();
    assert!(
        told.contains("no operation matches") && told.contains("refused (unmatched) with 404"),
        "{told}"
    );
    let json = explain(&["GET", "/nothing", "--direction", "old", "--json"])
        .expect(1)
        .json();
    assert_eq!(json["lenses"][0]["refused"]["kind"], "unmatched");
    let conversation = example("0-greeting/v2/lens.conversations/hello-future.toml");
    let conversation = conversation.to_str().expect("UTF-8");
    let told = explain(&["--conversation", conversation])
        .expect(0)
        .stdout();
    assert!(
        told.contains("future (new to old)") && told.contains("The caller gets"),
        "{told}"
    );
    explain(&["GET", "nothing", "--direction", "past"]).expect_advice(2);
    explain(&["GET", "/x"]).expect(2);
}

#[test]
fn a_chain_is_explained_lens_by_lens() {
    let mut command = upstart();
    command
        .args(["lens", "explain"])
        .arg(example("1-store/v2/lenses/data.toml"));
    command
        .arg("--then")
        .arg(example("1-store/v3/lenses/data.toml"));
    command.args(["GET", "/records/k", "--direction", "past", "--json"]);
    let json = run(&mut command).expect(0).json();
    assert_eq!(json["lenses"][0]["next_gets"]["line"], "GET /rows?name=k");
    assert_eq!(json["lenses"][1]["next_gets"]["line"], "GET /objects/k");
}

#[test]
fn schemas_are_printed_as_they_are_in_the_repository() {
    for name in ["upgrade", "lens", "conversation"] {
        let printed = run(upstart().args(["schema", name])).expect(0).stdout();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.json"));
        assert_eq!(printed, std::fs::read_to_string(path).expect("there"));
    }
}
