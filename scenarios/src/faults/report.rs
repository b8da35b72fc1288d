//! What came of the faults: a table for people, a line for programs.

use super::Recovery;
use super::load::Verdict;
use serde::Serialize;
use std::fmt::Write;

/// How one fault ended.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    fault: String,
    /// All serve again.
    recovered: bool,
    /// What somebody had to do for it, as a message said.
    command: Option<String>,
    calls: u64,
    broken: u64,
    lost: u64,
    wrong: u64,
    seconds: f64,
    /// What did not come to pass, and what was wrong.
    remarks: Vec<String>,
}

impl Row {
    /// The system came out of it.
    pub(super) fn ended(fault: String, how: &Recovery, verdict: Verdict, seconds: f64) -> Self {
        let command = match how {
            Recovery::ByItself => None,
            Recovery::After(command) => Some((*command).to_owned()),
        };
        Self {
            fault,
            recovered: true,
            command,
            calls: verdict.calls,
            broken: verdict.broken,
            lost: verdict.lost,
            wrong: verdict.wrong,
            seconds,
            remarks: verdict.remarks,
        }
    }

    /// It did not, for this reason.
    pub(super) fn stuck(fault: String, why: String, seconds: f64) -> Self {
        Self {
            fault,
            recovered: false,
            command: None,
            calls: 0,
            broken: 0,
            lost: 0,
            wrong: 0,
            seconds,
            remarks: vec![why],
        }
    }

    fn passed(&self) -> bool {
        self.recovered && self.lost == 0 && self.wrong == 0
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let how = match (&self.command, self.recovered) {
            (_, false) => "STUCK".to_owned(),
            (_, true) if !self.passed() => {
                format!("LOST {} WRONG {}", self.lost, self.wrong)
            }
            (None, true) => "went on by itself".to_owned(),
            (Some(command), true) => format!("went on after: {command}"),
        };
        let mut line = format!(
            "{:<58} {how} ({} calls, {} broken, {:.0} s)",
            self.fault, self.calls, self.broken, self.seconds
        );
        if !self.passed() {
            for remark in &self.remarks {
                let _ = write!(line, "\n      {}", remark.replace('\n', "\n      "));
            }
        }
        line
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Report {
    /// In the order in which they ended.
    pub(super) rows: Vec<Row>,
    /// How long they took together.
    pub(super) seconds: u64,
}

#[derive(Serialize)]
struct Figures<'a> {
    faults: usize,
    recovered: usize,
    lost: u64,
    wrong: u64,
    stuck: usize,
    seconds: u64,
    rows: &'a [Row],
}

impl Report {
    fn figures(&self) -> Figures<'_> {
        let recovered = self.rows.iter().filter(|row| row.recovered).count();
        Figures {
            faults: self.rows.len(),
            recovered,
            lost: self.rows.iter().map(|row| row.lost).sum(),
            wrong: self.rows.iter().map(|row| row.wrong).sum(),
            stuck: self.rows.len() - recovered,
            seconds: self.seconds,
            rows: &self.rows,
        }
    }

    /// Every fault ended well.
    pub(super) fn passed(&self) -> bool {
        self.rows.iter().all(Row::passed)
    }

    /// What failed, and the figures, for people.
    pub(super) fn table(&self) -> String {
        let figures = self.figures();
        let mut text = String::new();
        for row in self.rows.iter().filter(|row| !row.passed()) {
            let _ = writeln!(text, "{}", row.line());
        }
        let _ = writeln!(
            text,
            "{} faults: {} recovered, {} stuck, {} writes lost, {} answers wrong, {} s",
            figures.faults,
            figures.recovered,
            figures.stuck,
            figures.lost,
            figures.wrong,
            figures.seconds
        );
        text
    }

    /// One line for programs.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(&self.figures())?)
    }
}
