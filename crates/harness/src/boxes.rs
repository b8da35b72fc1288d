//! The software of most tests: boxes of numbers, in three versions that do not understand each other.

use super::bundle::Bundle;
use std::fmt::Write as _;

/// The Python program of every version; the dialect that it speaks is an argument.
const PROGRAM: &str = include_str!("../software/box.py");

/// Carries the state from one dialect's form to the next one's.
const TRANSFORM: &str = include_str!("../software/transform.py");

/// What the upgrades to 2 and 3 translate by.
const LENSES: [&str; 2] = [
    include_str!("../software/lens2.toml"),
    include_str!("../software/lens3.toml"),
];

/// Where each version answers that it is healthy.
const PROBES: [&str; 3] = ["/ready", "/health", "/alive"];

/// An upgrade of the boxes; every part has a default that does.
#[derive(Clone, Debug)]
pub struct Boxes {
    version: u32,
    from: u32,
    dialect: u32,
    changed: bool,
    port: String,
    before: Vec<String>,
    arguments: Vec<String>,
    transform_arguments: Vec<String>,
    schedule: Option<String>,
    probe: Option<String>,
    settings: String,
    more: String,
}

impl Boxes {
    /// The upgrade to this version from the one before; from version 2 on the interface and the state change.
    pub fn version(version: u32) -> Self {
        Self {
            version,
            from: version - 1,
            dialect: version,
            changed: version > 1,
            port: "vars.port".to_owned(),
            before: Vec::new(),
            arguments: Vec::new(),
            transform_arguments: Vec::new(),
            schedule: None,
            probe: None,
            settings: String::new(),
            more: String::new(),
        }
    }

    /// Starts from an older version than the one before.
    pub fn from(mut self, from: u32) -> Self {
        self.from = from;
        self
    }

    /// Speaks this dialect instead of that of its number; the version that it starts from speaks the one before.
    pub fn dialect(mut self, dialect: u32) -> Self {
        self.dialect = dialect;
        self
    }

    /// Goes on with the dialect of the version that it starts from: the interface is the same.
    pub fn same(mut self, dialect: u32) -> Self {
        self.dialect = dialect;
        self.changed = false;
        self
    }

    /// Listens there (CEL).
    pub fn port(mut self, expression: &str) -> Self {
        expression.clone_into(&mut self.port);
        self
    }

    /// The software is started by this program.
    pub fn behind(mut self, program: &[&str]) -> Self {
        self.before = program.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The software gets these arguments too.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|text| (*text).to_owned()));
        self
    }

    /// The transform gets this argument too: `fail=WHY`, `sleep_ms=N`, `fill=MEBIBYTES`, `print=BYTE`, `environment=`.
    pub fn transform_argument(mut self, argument: &str) -> Self {
        self.transform_arguments.push(argument.to_owned());
        self
    }

    /// Upgrades by this schedule (the contents of the table).
    pub fn schedule(mut self, schedule: &str) -> Self {
        self.schedule = Some(schedule.to_owned());
        self
    }

    /// The probe's whole table instead of the usual one.
    pub fn probe(mut self, probe: &str) -> Self {
        self.probe = Some(probe.to_owned());
        self
    }

    /// A line of `[settings]`.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// More tables.
    pub fn and(mut self, more: &str) -> Self {
        self.more.push_str(more);
        self.more.push('\n');
        self
    }

    /// The bundle.
    pub fn bundle(&self) -> Bundle {
        let dialect = self.dialect;
        let bundle = Bundle::new(self.upgrade()).file("software/box.py", PROGRAM);
        if !self.changed {
            return bundle;
        }
        let lens = LENSES[usize::try_from(dialect).expect("small") - 2];
        bundle
            .file("lens.toml", lens)
            .file("transform.py", TRANSFORM)
    }

    fn upgrade(&self) -> String {
        let Self {
            version, dialect, ..
        } = self;
        let mut text = format!("system = \"boxes\"\nversion = {version}\n");
        if *version > 1 {
            writeln!(text, "from = {}", self.from).expect("written");
        }
        if !self.settings.is_empty() {
            write!(text, "\n[settings]\n{}", self.settings).expect("written");
        }
        if let Some(schedule) = &self.schedule {
            write!(text, "\n[class.box]\nschedule = {{ {schedule} }}\n").expect("written");
        }
        let arguments = quoted(&self.arguments);
        let before: String = (self.before.iter())
            .map(|word| format!("\"{word}\", "))
            .collect();
        write!(
            text,
            r#"
[class.box.software]
path = "software"
command = [{before}"python3", "${{software}}/box.py", "--dialect", "{dialect}", "--port", "${{ports.data}}", "--state", "${{state}}"{arguments}]

[class.box.service.data]
port = "{}"
protocol = "http"
connections = "stateless"
"#,
            self.port
        )
        .expect("written");
        if self.changed {
            let old = dialect - 1;
            let arguments = quoted(&self.transform_arguments);
            write!(
                text,
                r#"interface = "changed"
adapter = "lens.toml"

[class.box.state]
transform = {{ command = ["python3", "${{bundle}}/transform.py", "{old}", "{dialect}"{arguments}], timeout_ms = 20000 }}
"#
            )
            .expect("written");
        } else if *version > 1 {
            text.push_str("interface = \"same\"\n");
        }
        let path = PROBES[usize::try_from(*dialect).expect("small") - 1];
        let usual =
            format!("http = \"{path}\", service = \"data\", interval_ms = 50, timeout_ms = 15000");
        let probe = self.probe.as_ref().unwrap_or(&usual);
        write!(
            text,
            "\n[class.box.lifecycle]\nprobe = {{ {probe} }}\n{}",
            self.more
        )
        .expect("written");
        text
    }
}

fn quoted(arguments: &[String]) -> String {
    arguments
        .iter()
        .map(|argument| format!(", \"{argument}\""))
        .collect()
}
