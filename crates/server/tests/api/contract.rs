//! The OpenAPI document is what the server does: schemathesis, which knows nothing but the document, asks it at every route, and compares.

use crate::support::{Site, TOKEN};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has schemathesis; where there is none, says that the test is skipped.
fn python(test: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python/bin/python");
    let python = std::env::var_os("UPSTART_TEST_PYTHON").map_or(own, PathBuf::from);
    let asked = Command::new(&python)
        .args(["-c", "import schemathesis.cli"])
        .output();
    if asked.is_ok_and(|asked| asked.status.success()) {
        return Some(python);
    }
    println!(
        "SKIPPED: {test}: schemathesis is not installed; `cargo xtask test --install-only` does it"
    );
    None
}

/// The same requests each time. What never ends is left out: the stream has tests of its own.
const OPTIONS: [&str; 13] = [
    "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    "--exclude-path=/v1/events/stream",
    "--phases=examples,coverage,fuzzing",
    "--max-examples=5",
    "--seed=1",
    "--generation-deterministic",
    "--no-shrink",
    "--suppress-health-check=all",
    "--continue-on-failure",
    "--request-timeout=20",
    "--warnings=off",
    "--no-color",
    "--workers=1",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_does_what_the_document_says() {
    let Some(python) = python("every_route_does_what_the_document_says") else {
        return;
    };
    let site = Site::new();
    let server = site.start().await;
    server.populate(&["a", "b"]).await;
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/contract");
    let mut command = Command::new(python);
    command
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("{}/v1/openapi.json", server.url))
        .args(OPTIONS)
        .arg(format!("--header=Authorization: Bearer {TOKEN}"))
        .current_dir(site.data.path())
        .env("PYTHONPATH", hooks)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "hooks");
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = running.await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    // It has asked, and not merely found nothing to do.
    assert!(said.contains("No issues found"), "{said}");
    server.stop().await;
}
