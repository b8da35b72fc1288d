//! Adapters in four languages: each project that `upstart adapter new` makes builds by its own script, passes its own tests, and is a
//! component of the contract.

mod project;

use project::{Project, Tools};

/// What every component gives.
const EXPORT: &str = "export upstart:adapter/calls@0.1.0;";

/// Makes the project, builds it, tests it, and looks at the component; skipped where one of the programs that it needs is not there.
fn makes_builds_and_tests(language: &str, needs: &[&[&str]]) {
    let tools = Tools::find();
    for program in [&[&["wasm-tools", "--version"][..]], needs].concat() {
        if !tools.succeeds(program) {
            println!(
                "SKIPPED: {language}: `{}` does not work here",
                program.join(" ")
            );
            return;
        }
    }
    let project = Project::make(&tools, language);
    project.run(&["sh", "build.sh"]);
    project.run(&["sh", "test.sh"]);
    let played = project.run(&["upstart", "adapter", "test"]);
    assert!(
        played.contains("2 conversations as they should be, 0 not"),
        "{played}"
    );
    let contract = project.run(&["wasm-tools", "component", "wit", &project.component()]);
    assert!(contract.contains(EXPORT), "{contract}");
}

#[test]
fn an_adapter_in_rust_is_built_and_passes_its_tests() {
    let target = "test -d \"$(rustc --print target-libdir --target wasm32-wasip2)\"";
    makes_builds_and_tests("rust", &[&["sh", "-c", target]]);
}

#[test]
fn an_adapter_in_c_is_built_and_passes_its_tests() {
    let needs: [&[&str]; 3] = [
        &["wit-bindgen", "--version"],
        &["clang-19", "--version"],
        &["wasm-ld-19", "--version"],
    ];
    makes_builds_and_tests("c", &needs);
}

#[test]
fn an_adapter_in_javascript_is_built_and_passes_its_tests() {
    makes_builds_and_tests(
        "javascript",
        &[&["npm", "view", "componentize-qjs", "version"]],
    );
}

#[test]
fn an_adapter_in_python_is_built_and_passes_its_tests() {
    makes_builds_and_tests("python", &[&["componentize-py", "--version"]]);
}
