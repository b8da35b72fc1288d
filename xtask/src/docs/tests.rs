//! The documentation is true: every block is run or says why not, and what is run does what the page says.

use super::page::{Page, Step};
use super::run::no_hosts;
use super::{CHECKED_ELSEWHERE, Run, commands, is_run, names, read};
use crate::workspace::Workspace;

fn workspace() -> Workspace {
    Workspace::find().expect("the workspace")
}

/// Every page that shows something to run.
fn pages(workspace: &Workspace) -> Vec<Page> {
    let names = names(workspace).expect("docs/ can be read");
    let names = names.iter().filter(|name| is_run(name));
    let pages = names.map(|name| read(workspace, name).expect("a page without findings"));
    pages.collect()
}

#[test]
fn every_block_is_checked_links_lead_somewhere_and_every_page_is_in_the_table_of_contents() {
    let findings = super::findings(&workspace()).expect("docs/ can be read");
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    let pages = pages(&workspace());
    let run = pages.iter().map(|page| page.steps.len()).sum::<usize>();
    assert!(
        run > 20,
        "only {run} blocks are run: the pages are not found"
    );
}

#[test]
fn what_is_said_to_be_checked_elsewhere_is() {
    let workspace = workspace();
    for (page, test) in CHECKED_ELSEWHERE {
        let text = std::fs::read_to_string(workspace.root().join(test)).expect(test);
        assert!(text.contains(page), "{test} does not read {page}");
    }
}

#[test]
fn heavy_the_pages_work_as_they_are_written() {
    let workspace = workspace();
    let scenarios = crate::scenarios::build(&workspace).expect("it builds");
    let upstart = scenarios.with_file_name("upstart");
    let mut findings = commands::findings(&workspace, &upstart).expect("the binary runs");
    // Side by side: pages mostly wait for nodes, and each has a place and ports of its own.
    std::thread::scope(|scope| {
        let runs: Vec<_> = pages(&workspace)
            .into_iter()
            .map(|page| scope.spawn(|| followed(&workspace, page)))
            .collect();
        findings.extend(
            runs.into_iter()
                .filter_map(|run| run.join().expect("no panic")),
        );
    });
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// What went otherwise than a page says, with everything that was printed.
fn followed(workspace: &Workspace, page: Page) -> Option<String> {
    if let Some(why) = no_hosts().filter(|_| page.has_hosts()) {
        println!("SKIPPED: {}: {why}", page.name);
        return None;
    }
    let run = Run::of(workspace, &page).expect("a place for the page");
    (!run.findings.is_empty()).then(|| format!("{}\n{}", run.findings.join("\n"), run.said))
}

#[test]
fn what_is_on_a_host_is_done_there() {
    if let Some(why) = no_hosts() {
        println!("SKIPPED: what_is_on_a_host_is_done_there: {why}");
        return;
    }
    let text = "<!-- run: hosts one=10.0.0.1 other=10.0.0.2 -->\n<!-- run: on one other -->\n```sh\necho \"$(hostname) $(hostname -I)\"\n```\n<!-- run: prints -->\n```\none 10.0.0.1 \nother 10.0.0.2 \n```\n<!-- run: on one -->\n```console\n$ (echo > /dev/tcp/10.0.0.2/9) 2>&1 | grep -o refused | sort -u\nrefused\n```\n<!-- run: setup\nrm -r /tmp/hosts\n-->\n";
    let page = parsed(text).expect("good marks");
    assert!(page.has_hosts());
    let run = Run::of(&workspace(), &page).expect("a place for the page");
    assert!(run.findings.is_empty(), "{:?}\n{}", run.findings, run.said);
}

fn parsed(text: &str) -> Result<Page, Vec<String>> {
    Page::parse("docs/page.md", text)
}

#[test]
fn marks_say_what_a_block_is() {
    let text = "\
<!-- run: setup
mkdir /tmp/a
-->
<!-- run: file /tmp/a/b.toml -->
```toml
x = 1
```
- In a list:

  ```console
  $ cat \\
  > /tmp/a/b.toml
  x = 1
  $ true
  ```
```sh
echo 1
```
<!-- run: prints -->
```
1
```
<!-- run: not, because it needs a machine of its own -->
```sh
reboot
```
```text
a drawing
```
";
    let page = parsed(text).expect("good marks");
    let exchange = |line, command: &str, output: &str| Step::Exchange {
        line,
        command: command.to_owned(),
        host: None,
        output: output.to_owned(),
    };
    let expected = [
        Step::Commands {
            line: 1,
            text: "mkdir /tmp/a\n".to_owned(),
            hosts: Vec::new(),
            is_build: false,
            prints: None,
        },
        Step::File {
            line: 5,
            path: "/tmp/a/b.toml".to_owned(),
            is_more: false,
            text: "x = 1\n".to_owned(),
        },
        exchange(11, "cat \\\n/tmp/a/b.toml", "x = 1\n"),
        exchange(14, "true", ""),
        Step::Commands {
            line: 16,
            text: "echo 1\n".to_owned(),
            hosts: Vec::new(),
            is_build: false,
            prints: Some("1\n".to_owned()),
        },
    ];
    assert_eq!(page.steps, expected);
}

#[test]
fn what_nobody_checks_is_found() {
    let bad = [
        ("```toml\nx = 1\n```\n", "nothing checks"),
        ("```bash\nls\n```\n", "write `sh`"),
        ("<!-- run: not -->\n```sh\nls\n```\n", "say why"),
        ("<!-- run: not, because -->\n```sh\nls\n```\n", "say why"),
        ("<!-- run: prints -->\n```\n1\n```\n", "belongs behind"),
        ("<!-- run: never -->\n```sh\nls\n```\n", "is no mark"),
        ("<!-- run: prints -->\ntext\n", "no block follows"),
        ("<!-- run: build -->", "no block follows"),
        ("<!-- run: file b.toml -->\n```toml\n```\n", "whole path"),
        ("```sh\nls\n", "has no end"),
        ("```console\nls\n```\n", "begins with `$ `"),
        ("<!-- run: on a b -->\n```console\n$ ls\n```\n", "one host"),
        ("<!-- run: on a -->\n```toml\nx = 1\n```\n", "use `sh`"),
    ];
    for (text, expected) in bad {
        let found = parsed(text).expect_err(text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn a_page_that_shows_something_else_is_found() {
    let text = "```sh\necho 1\n```\n<!-- run: prints -->\n```\n2\n```\n```console\n$ cat /tmp/a\nb\n$ echo c; false\nc\n```\n```sh\ntouch /tmp/left\n```\n";
    let page = parsed(text).expect("good marks");
    let run = Run::of(&workspace(), &page).expect("a place for the page");
    let expected = [
        "docs/page.md:1:",
        "docs/page.md:9:",
        "docs/page.md: leaves left",
    ];
    assert_eq!(run.findings.len(), 3, "{:?}", run.findings);
    for (finding, expected) in run.findings.iter().zip(expected) {
        assert!(finding.starts_with(expected), "{finding}");
    }
    let failing = parsed("```sh\nfalse\necho not reached\n```\n").expect("good marks");
    let run = Run::of(&workspace(), &failing).expect("a place for the page");
    assert_eq!(run.findings.len(), 1, "{:?}", run.findings);
    assert!(run.findings[0].contains("exit status: 1"));
}
