//! What operators do from the page: each has a page of its own that says what it means, which command does the same, and asks.

use crate::user::{PageUser, form_token};
use crate::words::encoded;
use maud::{Markup, html};
use model::visible::is_order;

/// The longest reason that fits the field; the server has the last word.
const REASON_CHARACTERS_MAX: u32 = 500;

/// What the page of an action says besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionAbout {
    /// How things stand.
    pub notes: Vec<String>,
    /// What somebody has to agree to; nothing where the button is enough.
    pub consent: Option<String>,
    /// The classes for which it may be done one by one.
    pub classes: Vec<String>,
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageAction {
    /// No node begins an upgrade any more.
    Pause,
    /// A pause ends.
    Resume,
    /// A version is approved, for a class or for all.
    Approve {
        /// Which version.
        version: u32,
        /// For which class; for all when absent.
        class: Option<String>,
        /// For which node.
        node: Option<String>,
    },
    /// A blocked node tries again.
    Retry {
        /// Its name.
        node: String,
    },
    /// A node is forgotten.
    Forget {
        /// Its name.
        node: String,
    },
    /// A permit is taken away.
    BreakPermit {
        /// Its number.
        permit: u64,
    },
    /// A service's public version is moved.
    Public {
        /// The service (`class/service`); all of them when absent.
        service: Option<String>,
        /// To which version.
        version: u32,
    },
    /// Every version up to one is retired.
    Retire {
        /// Up to which.
        version: u32,
    },
}

impl PageAction {
    /// Its name in paths.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Approve { .. } => "approve",
            Self::Retry { .. } => "retry",
            Self::Forget { .. } => "forget",
            Self::BreakPermit { .. } => "break-permit",
            Self::Public { .. } => "public",
            Self::Retire { .. } => "retire",
        }
    }

    /// What is said after it was done, by its name; nothing for what is none.
    #[must_use]
    pub fn done(name: &str) -> Option<&'static str> {
        Some(match name {
            "pause" => "The system is paused: no node begins an upgrade; those under way finish.",
            "resume" => "The system goes on.",
            "approve" => "The version is approved.",
            "retry" => {
                "The node is told to try again, as soon as it asks. The others of its class may go on, too: one of them may be first."
            }
            "forget" => "The node is forgotten: it holds nothing up any more.",
            "break-permit" => "The permit is taken away; its number is refused from now on.",
            "public" => "The public version is moved.",
            "retire" => "The versions are being retired, as soon as every node has acknowledged.",
            _ => return None,
        })
    }

    fn title(&self) -> String {
        match self {
            Self::Pause => "Pause the system".to_owned(),
            Self::Resume => "End the pause".to_owned(),
            Self::Approve {
                version,
                class,
                node,
            } => match node.as_ref().or(class.as_ref()) {
                Some(whom) => format!("Approve version {version} for {whom}"),
                None => format!("Approve version {version}"),
            },
            Self::Retry { node } => format!("Have {node} try again"),
            Self::Forget { node } => format!("Forget {node}"),
            Self::BreakPermit { permit } => format!("Break permit {permit}"),
            Self::Public { version, service } => match service {
                Some(service) => format!("Move the public version of {service} to {version}"),
                None => format!("Move all public versions to {version}"),
            },
            Self::Retire { version } => format!("Retire versions up to {version}"),
        }
    }

    fn meaning(&self) -> &'static str {
        match self {
            Self::Pause => "No node begins an upgrade from now on. Upgrades under way finish.",
            Self::Resume => "Nodes begin upgrades again, as their schedules let them.",
            Self::Approve { .. } => {
                "Nodes whose schedule waits for a person\u{2019}s approval may go there, as far as nothing else holds them. An approval cannot be taken back; a pause keeps whoever has not begun from beginning."
            }
            Self::Retry { .. } => {
                "The node tries the upgrade again that has failed there. If it fails again, the node goes back again. While it is blocked, no other node of its class begins; from now on they may, and one of them may go before it."
            }
            Self::Forget { .. } => {
                "For a node that will never come back. It holds up no upgrade and no retirement any more, and its key is revoked. If it still runs, it resets whoever calls it."
            }
            Self::BreakPermit { .. } => {
                "For a node that is lost while it holds its permission to be unavailable: another node of its group may go. If the node comes back, it goes no further without a new permit."
            }
            Self::Public { .. } => {
                "Callers without a label are served at this version from now on."
            }
            Self::Retire { .. } => {
                "Nodes reset callers of these versions, and delete their adapters and old state. That cannot be undone. The server refuses it while somebody still needs them."
            }
        }
    }

    /// What somebody would type.
    #[must_use]
    pub fn command(&self) -> String {
        match self {
            Self::Pause => "upstart pause 'REASON'".to_owned(),
            Self::Resume => "upstart resume".to_owned(),
            Self::Approve {
                version,
                class,
                node,
            } => match (class, node) {
                (_, Some(node)) => format!("upstart approve {version} --node {}", word(node)),
                (Some(class), None) => format!("upstart approve {version} --class {}", word(class)),
                (None, None) => format!("upstart approve {version}"),
            },
            Self::Retry { node } => format!("upstart retry {}", word(node)),
            Self::Forget { node } => format!("upstart forget {}", word(node)),
            Self::BreakPermit { permit } => format!("upstart permit break {permit}"),
            Self::Public { service, version } => match service {
                Some(service) => format!("upstart public {version} --service {}", word(service)),
                None => format!("upstart public {version}"),
            },
            Self::Retire { version } => format!("upstart retire {version}"),
        }
    }

    /// What its form carries.
    fn values(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Pause | Self::Resume => Vec::new(),
            Self::Approve {
                version,
                class,
                node,
            } => {
                let class = class.iter().map(|class| ("class", class.clone()));
                let node = node.iter().map(|node| ("node", node.clone()));
                let version = [("version", version.to_string())];
                class.chain(node).chain(version).collect()
            }
            Self::Retry { node } | Self::Forget { node } => vec![("node", node.clone())],
            Self::BreakPermit { permit } => vec![("permit", permit.to_string())],
            Self::Public { service, version } => {
                let service = service.iter().map(|service| ("service", service.clone()));
                service.chain([("version", version.to_string())]).collect()
            }
            Self::Retire { version } => vec![("version", version.to_string())],
        }
    }

    fn is_grave(&self) -> bool {
        matches!(
            self,
            Self::Forget { .. } | Self::BreakPermit { .. } | Self::Retire { .. }
        )
    }
}

/// A name as one word of a shell, whatever is in it: people copy these lines.
fn word(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        return name.to_owned();
    }
    if name.chars().any(is_order) {
        // What nobody sees is written so that bash and zsh read it as what it is.
        return format!("$'{}'", name.chars().map(quoted).collect::<String>());
    }
    format!("'{}'", name.replace('\'', r"'\''"))
}

fn quoted(letter: char) -> String {
    match u32::from(letter) {
        _ if matches!(letter, '\'' | '\\') => format!("\\{letter}"),
        number if is_order(letter) => format!("\\U{number:08x}"),
        _ => letter.to_string(),
    }
}

/// What leads to the page of an action.
pub(crate) fn button(action: &str, values: &[(&str, &str)], what: &str) -> Markup {
    let query: Vec<String> = (values.iter())
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let query = query.join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    html! { a .button href={ "/act/" (action) (mark) (query) } { (what) } }
}

/// The page that asks whether something is to be done: its title, and what stands below.
#[must_use]
pub fn confirmation(action: &PageAction, about: &ActionAbout, user: &PageUser) -> (String, Markup) {
    let content = html! {
        p { (action.meaning()) }
        @for note in &about.notes { p .banner .warn { (note) } }
        form method="post" action={ "/act/" (action.name()) } .stack {
            (form_token(user))
            @for (name, value) in action.values() {
                input type="hidden" name=(name) value=(value);
            }
            @if matches!(action, PageAction::Pause) {
                label for="reason" { "Why, for those who find the system paused" }
                input #reason type="text" name="reason" required maxlength=(REASON_CHARACTERS_MAX) autocomplete="off";
            }
            @if about.classes.len() > 1 {
                label for="class" { "For" }
                select #class name="class" {
                    option value="" { "every class" }
                    @for class in &about.classes { option value=(class) { "class " (class) } }
                }
            }
            @if let Some(consent) = &about.consent {
                label .consent {
                    input type="checkbox" name="consent" value="yes" required;
                    " " (consent)
                }
            }
            p .buttons {
                button type="submit" .grave[action.is_grave()] { (action.title()) }
                " "
                a href="/" { "Do nothing" }
            }
        }
        p .hint { "The same on the command line: " code { (action.command()) } }
        p .hint { "The history will say that it was " b { (user.name) } "." }
    };
    (action.title(), content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::Role;

    #[test]
    fn a_name_is_one_word_of_a_shell() {
        assert_eq!(word("storage-1"), "storage-1");
        assert_eq!(word("$(reboot)"), "'$(reboot)'");
        assert_eq!(word("a'b;c"), r"'a'\''b;c'");
        assert_eq!(word("--all"), "'--all'");
        assert_eq!(word("z\u{200b}w'"), r"$'z\U0000200bw\''");
    }

    #[test]
    fn every_action_asks_says_its_command_and_what_was_done() {
        let node = "\"><script>".to_owned();
        let user = PageUser {
            name: "ann".to_owned(),
            role: Role::Operator,
            form_token: "secret".to_owned(),
        };
        let actions = [
            PageAction::Pause,
            PageAction::Resume,
            PageAction::Approve {
                version: 2,
                class: Some(node.clone()),
                node: None,
            },
            PageAction::Approve {
                version: 2,
                class: None,
                node: Some(node.clone()),
            },
            PageAction::Retry { node: node.clone() },
            PageAction::Forget { node: node.clone() },
            PageAction::BreakPermit { permit: 7 },
            PageAction::Public {
                service: Some(node.clone()),
                version: 2,
            },
            PageAction::Retire { version: 1 },
        ];
        for action in actions {
            assert!(PageAction::done(action.name()).is_some(), "{action:?}");
            let about = ActionAbout {
                notes: vec![node.clone()],
                consent: Some(node.clone()),
                classes: vec![node.clone(), node.clone()],
            };
            let (_, page) = confirmation(&action, &about, &user);
            let page = page.into_string();
            assert!(page.contains("value=\"secret\""), "{page}");
            assert!(page.contains("<code>upstart "), "{page}");
            assert!(page.contains("method=\"post\""), "{page}");
            assert!(!page.contains("<script"), "{page}");
        }
        assert_eq!(PageAction::done("<script>"), None);
    }
}
