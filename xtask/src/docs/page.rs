//! A page as the steps that it shows, and what is wrong with its marks.

/// Languages of blocks that are commands.
const SHELL: [&str; 4] = ["sh", "bash", "shell", "console"];

/// Languages of blocks that could be wrong without anybody noticing; blocks of other languages are drawings and tables.
const CHECKED: [&str; 8] = ["toml", "json", "python", "py", "ini", "yaml", "js", "http"];

/// How a mark begins; it stands on a line of its own before its block.
const MARK: &str = "<!-- run: ";

/// What a block is to the run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// Commands that build Upstart: done by the surroundings, except where everything is done literally.
    Build,
    /// What the block before printed at its end.
    Prints,
    /// A file that the reader writes, or more of one that is there.
    File { path: String, is_more: bool },
    /// Commands on these hosts, one after the other.
    On(Vec<String>),
    /// Not run, for a reason.
    Not,
}

/// One thing that a reader of the page does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Commands, and what they print at the end.
    Commands {
        /// The line of the page at which they begin.
        line: usize,
        /// The commands.
        text: String,
        /// On which of the page's hosts; on this one where there is none.
        hosts: Vec<String>,
        /// Whether they build Upstart.
        is_build: bool,
        /// The end of what they print.
        prints: Option<String>,
    },
    /// A command at a prompt and everything that it answers.
    Exchange {
        /// Its line of the page.
        line: usize,
        /// The command.
        command: String,
        /// On which of the page's hosts.
        host: Option<String>,
        /// Its output, both streams.
        output: String,
    },
    /// A file.
    File {
        /// Its line of the page.
        line: usize,
        /// Where it goes, as the page says it.
        path: String,
        /// Whether it is added to what is there.
        is_more: bool,
        /// What is in it.
        text: String,
    },
}

/// A page of the documentation.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) name: String,
    /// What its reader does, in order.
    pub(crate) steps: Vec<Step>,
}

/// A fenced block, or the commands of a setup.
struct Block<'a> {
    line: usize,
    language: &'a str,
    text: String,
    mark: Option<(usize, &'a str)>,
}

impl Page {
    /// Reads the page's steps.
    ///
    /// # Errors
    /// With `file:line: what` for each block that is neither run, nor checked, nor marked with a reason.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Vec<String>> {
        let mut page = Self {
            name: name.to_owned(),
            steps: Vec::new(),
        };
        let mut findings = Vec::new();
        let blocks = blocks(text).unwrap_or_else(|(line, what)| {
            findings.push(format!("{name}:{line}: {what}"));
            Vec::new()
        });
        for block in blocks {
            let line = block.line;
            if let Err(what) = page.add(block) {
                findings.push(format!("{name}:{line}: {what}"));
            }
        }
        if findings.is_empty() {
            Ok(page)
        } else {
            Err(findings)
        }
    }

    fn add(&mut self, block: Block<'_>) -> Result<(), String> {
        let mark = block.mark.map(|(_, text)| mark(text)).transpose()?;
        match (mark, block.language) {
            (Some(Mark::Not), _) => {}
            (Some(Mark::File { path, is_more }), _) => self.steps.push(Step::File {
                line: block.line,
                path,
                is_more,
                text: block.text,
            }),
            (Some(Mark::Prints), _) => return self.expect(block.text),
            (mark, "sh") => self.steps.push(Step::Commands {
                line: block.line,
                text: block.text,
                is_build: mark == Some(Mark::Build),
                hosts: match mark {
                    Some(Mark::On(hosts)) => hosts,
                    _ => Vec::new(),
                },
                prints: None,
            }),
            (None, "console") => self.steps.extend(exchanges(block.line, None, &block.text)?),
            (Some(Mark::On(hosts)), "console") => match hosts.as_slice() {
                [host] => self
                    .steps
                    .extend(exchanges(block.line, Some(host), &block.text)?),
                _ => return Err("a block of `console` is on one host".to_owned()),
            },
            (Some(Mark::On(_)), other) => {
                return Err(format!(
                    "a block of `{other}` cannot be on a host; use `sh`"
                ));
            }
            (Some(Mark::Build), other) => {
                return Err(format!("a block of `{other}` cannot be a build; use `sh`"));
            }
            (None, language) if SHELL.contains(&language) => {
                return Err(format!("write `sh` or `console` instead of `{language}`"));
            }
            (None, language) if CHECKED.contains(&language) && !self.is_checked_elsewhere() => {
                return Err(format!(
                    "nothing checks this block of `{language}`; mark it `{MARK}file PATH -->`, `{MARK}prints -->` or `{MARK}not, because REASON -->`"
                ));
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn expect(&mut self, text: String) -> Result<(), String> {
        match self.steps.last_mut() {
            Some(Step::Commands { prints, .. }) if prints.is_none() => {
                *prints = Some(text);
                Ok(())
            }
            _ => Err("`prints` belongs behind a block of `sh`".to_owned()),
        }
    }

    /// Whether it is on hosts of its own, which only root can make.
    pub(crate) fn has_hosts(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Commands { hosts, .. } => !hosts.is_empty(),
            Step::Exchange { host, .. } => host.is_some(),
            Step::File { .. } => false,
        })
    }

    fn is_checked_elsewhere(&self) -> bool {
        super::CHECKED_ELSEWHERE
            .iter()
            .any(|(page, _)| *page == self.name)
    }
}

/// Reads a mark's words.
fn mark(text: &str) -> Result<Mark, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (word, rest) {
        ("build", "") => Ok(Mark::Build),
        ("prints", "") => Ok(Mark::Prints),
        ("on", hosts) if !hosts.is_empty() => {
            Ok(Mark::On(hosts.split(' ').map(str::to_owned).collect()))
        }
        ("file" | "more", path) if path.starts_with('/') => Ok(Mark::File {
            path: path.to_owned(),
            is_more: word == "more",
        }),
        ("file" | "more", _) => Err("a file's mark has the whole path, from `/tmp/` on".to_owned()),
        ("not,", reason) if reason.starts_with("because ") && reason.len() > 20 => Ok(Mark::Not),
        ("not," | "not", _) => Err("say why: `not, because REASON`".to_owned()),
        _ => Err(format!(
            "`{text}` is no mark; there are `build`, `prints`, `file PATH`, `more PATH`, `on HOST...`, `not, because REASON`, `setup` and `hosts NAME=ADDRESS...`"
        )),
    }
}

/// The hosts that a page is on: a mark without a block.
fn made_hosts(line: &str) -> Option<&str> {
    let hosts = line.strip_prefix(MARK)?.strip_prefix("hosts ")?;
    hosts.strip_suffix(" -->")
}

/// The page's blocks and setups, in order; on failure the line and what is wrong there.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, (usize, String)> {
    let mut found = Vec::new();
    let mut mark: Option<(usize, &str)> = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let (number, trimmed) = (index + 1, line.trim_start());
        let indent = line.len() - trimmed.len();
        if let Some(language) = trimmed.strip_prefix("```") {
            let text = until(&mut lines, "```", indent);
            found.push(Block {
                line: number,
                language,
                text: text.ok_or((number, "the block has no end".to_owned()))?,
                mark: mark.take(),
            });
        } else if let Some((line, mark)) = mark.filter(|_| !trimmed.is_empty()) {
            return Err((line, format!("no block follows the mark `{mark}`")));
        } else if trimmed == format!("{MARK}setup") {
            let text = until(&mut lines, "-->", 0);
            found.push(Block {
                line: number,
                language: "sh",
                text: text.ok_or((number, "the setup has no end".to_owned()))?,
                mark: None,
            });
        } else if let Some(hosts) = made_hosts(trimmed) {
            found.push(Block {
                line: number,
                language: "sh",
                text: format!("make_hosts {hosts}\n"),
                mark: None,
            });
        } else if let Some(rest) = trimmed.strip_prefix(MARK) {
            let text = rest.strip_suffix(" -->");
            mark = Some((
                number,
                text.ok_or((number, "a mark is one line and ends with ` -->`".to_owned()))?,
            ));
        } else if trimmed.starts_with("~~~") {
            return Err((number, "fence blocks with ```".to_owned()));
        }
    }
    match mark {
        Some((line, mark)) => Err((line, format!("no block follows the mark `{mark}`"))),
        None => Ok(found),
    }
}

/// The lines up to one that ends them, without so much indentation.
fn until<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    end: &str,
    indent: usize,
) -> Option<String> {
    let mut text = String::new();
    for (_, line) in lines {
        if line.trim() == end {
            return Some(text);
        }
        let blank = line.len() - line.trim_start().len();
        text.push_str(&line[indent.min(blank)..]);
        text.push('\n');
    }
    None
}

/// A block of `console`: commands behind `$ ` (going on behind `> `), each followed by its output.
fn exchanges(line: usize, host: Option<&String>, text: &str) -> Result<Vec<Step>, String> {
    let mut found: Vec<Step> = Vec::new();
    for (index, content) in text.lines().enumerate() {
        if let Some(command) = content.strip_prefix("$ ") {
            found.push(Step::Exchange {
                line: line + 1 + index,
                command: command.to_owned(),
                host: host.cloned(),
                output: String::new(),
            });
            continue;
        }
        let Some(Step::Exchange {
            command, output, ..
        }) = found.last_mut()
        else {
            return Err("a block of `console` begins with `$ ` and a command".to_owned());
        };
        match content.strip_prefix("> ").filter(|_| output.is_empty()) {
            Some(more) => *command += &format!("\n{more}"),
            None => *output += &format!("{content}\n"),
        }
    }
    Ok(found)
}
