//! What passed, failed and was skipped, over all steps.

/// What a test prints when it cannot run here: `SKIPPED: name: why`.
const SKIP_MARK: &str = "SKIPPED: ";

/// The count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: usize,
    pub(super) failed: usize,
    skipped: usize,
    remarks: Vec<String>,
}

impl Tally {
    /// One more passed.
    pub(super) fn pass(&mut self) {
        self.passed += 1;
    }

    /// One more failed.
    pub(super) fn fail(&mut self, name: &str, why: &str) {
        self.failed += 1;
        self.remarks.push(format!("FAILED: {name}: {why}"));
    }

    /// One more skipped, said aloud.
    pub(super) fn skip(&mut self, name: &str, why: &str) {
        self.skipped += 1;
        self.remarks.push(format!("{SKIP_MARK}{name}: {why}"));
    }

    /// Adds what nextest's JUnit report counts. A test that passed and printed a skip mark counts as skipped.
    pub(super) fn add_junit(&mut self, report: &str) {
        for case in report.split("<testcase ").skip(1) {
            let case = case.split("</testcase>").next().unwrap_or(case);
            let name = case
                .split("name=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let mark = case
                .split(SKIP_MARK)
                .nth(1)
                .and_then(|rest| rest.lines().next());
            match mark {
                _ if case.contains("<failure") || case.contains("<error") => {
                    self.fail(name.unwrap_or("a test"), "see its output above");
                }
                Some(mark) => {
                    let (name, why) = mark
                        .split_once(": ")
                        .unwrap_or((name.unwrap_or("a test"), mark));
                    self.skip(name, why);
                }
                None => self.pass(),
            }
        }
    }

    /// Everything that is not a plain success, a line each.
    pub(super) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The final line.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn junit_reports_are_counted_with_their_skips() {
        let report = r#"<testsuite name="a" tests="3">
            <testcase name="one" classname="a"/>
            <testcase name="two" classname="a"><system-out>SKIPPED: two: no network namespace here
            </system-out></testcase>
            <testcase name="three" classname="a"><failure type="test failure">SKIPPED: no</failure></testcase>
        </testsuite>"#;
        let mut tally = Tally::default();
        tally.add_junit(report);
        assert_eq!(tally.summary(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(
            tally.remarks()[0],
            "SKIPPED: two: no network namespace here"
        );
    }
}
