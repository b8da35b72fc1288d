//! The differential test itself, where node and the packages are there.

use super::*;
use crate::demo::jsonserver;
use crate::demo::place::repository;

#[test]
fn every_request_to_json_server_is_answered_equally_or_refused() {
    let example = repository().join("examples/3-json-server");
    let modules = match jsonserver::install(&example) {
        Ok(modules) => modules,
        Err(error) => {
            println!(
                "SKIPPED: every_request_to_json_server_is_answered_equally_or_refused: {error:#}"
            );
            return;
        }
    };
    let folder = std::env::temp_dir().join(format!("upstart-differential-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let report = run(&example, &modules, &folder).expect("both directions");
    let counts = report.counts();
    println!("past {:?}\nfuture {:?}", counts.past, counts.future);
    if std::env::var_os("UPSTART_WRITE_GENERATED").is_some() {
        write_readme(&example, &report).expect("written");
    }
    assert_eq!(report.shortcomings(), Vec::<String>::new());
    let text = std::fs::read_to_string(example.join("README.md")).expect("a README");
    assert_eq!(
        readme(&text, &report).expect("a place"),
        text,
        "the README's table is out of date: run this test with UPSTART_WRITE_GENERATED=1"
    );
    std::fs::remove_dir_all(&folder).expect("removed");
}
