//! `upstart labels`: whether labels are signed, and changing that.

use super::operate::done;
use crate::connection::{connect, explain, wait_for};
use crate::failure::CommandOutcome;
use crate::globals::Globals;
use clap::{Args, Subcommand};
use model::api::{LabelMode, LabelsAction, LabelsRequest, LabelsView};
use std::fmt::Write;

/// How many nodes are named at most; programs get them all.
const NAMED_MAX: usize = 10;

/// Arguments of `upstart labels`.
#[derive(Debug, Args)]
pub(crate) struct LabelsArgs {
    /// What to do; without it, what is done is shown.
    #[command(subcommand)]
    pub(crate) command: Option<LabelsCommand>,
}

/// What can be done about labels.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum LabelsCommand {
    /// Have callers sign their labels; none is refused, and those that would be are counted
    Sign,
    /// Have labels refused that are not signed; only when every node signs
    Demand,
    /// Have labels signed no longer
    Off,
    /// Replace the key; the old one ends when every node has the new one
    Rotate,
}

impl LabelsCommand {
    fn action(self) -> LabelsAction {
        match self {
            Self::Sign => LabelsAction::Sign,
            Self::Demand => LabelsAction::Demand,
            Self::Off => LabelsAction::Off,
            Self::Rotate => LabelsAction::Rotate,
        }
    }
}

/// `upstart labels`.
pub(crate) fn run(globals: &Globals, arguments: &LabelsArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let view = wait_for(async {
        match arguments.command {
            None => client.labels().await.map_err(explain),
            Some(command) => {
                let action = command.action();
                let request = LabelsRequest { action };
                client.change_labels(&request).await.map_err(explain)
            }
        }
    })?;
    done(globals, &view, &shown(&view))
}

fn shown(view: &LabelsView) -> String {
    let mut text = match (view.mode, view.signing) {
        (LabelMode::Off, None) => return "Labels are not signed.".to_owned(),
        (LabelMode::Off, Some(_)) => "Labels are being signed no longer.".to_owned(),
        (LabelMode::Sign, _) => "Labels are signed, and none is refused.".to_owned(),
        (LabelMode::Demand, _) => {
            "Labels are signed, and those that are not are refused.".to_owned()
        }
    };
    let mut say = |line: String| {
        // Writing to a text does not fail.
        let _ = write!(text, "\n{line}");
    };
    match (&view.generations[..], view.signing) {
        ([_], Some(signing)) => say(format!("Key: {signing}.")),
        ([old, new], Some(signing)) if signing == *old => {
            say(format!("Key: {old}; {new} follows when every node has it."))
        }
        ([old, _], Some(signing)) => say(format!(
            "Key: {signing}; {old} ends when every node signs with {signing}."
        )),
        _ => {}
    }
    match view.awaited.len() {
        0 => say("Every node does so.".to_owned()),
        count => say(format!(
            "Not acknowledged yet by {count}: {}.",
            named(&view.awaited)
        )),
    }
    for clock in view.clocks.iter().take(NAMED_MAX) {
        let (seconds, how) = (
            clock.seconds.unsigned_abs(),
            if clock.seconds > 0 {
                "ahead of"
            } else {
                "behind"
            },
        );
        say(format!(
            "The clock of {} is {seconds} s {how} the server's; signed labels need it right.",
            clock.node
        ));
    }
    text
}

fn named(names: &[String]) -> String {
    let mut text = names[..names.len().min(NAMED_MAX)].join(", ");
    if names.len() > NAMED_MAX {
        let _ = write!(text, " and {} more", names.len() - NAMED_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_is_named_and_which_key_follows() {
        let mut view = LabelsView {
            mode: LabelMode::Demand,
            signing: Some(1),
            generations: vec![1, 2],
            awaited: vec!["a".to_owned(), "b".to_owned()],
            clocks: Vec::new(),
        };
        let text = shown(&view);
        assert!(text.contains("Key: 1; 2 follows"), "{text}");
        assert!(text.contains("by 2: a, b."), "{text}");
        view.signing = Some(2);
        view.awaited.clear();
        let text = shown(&view);
        assert!(text.contains("Key: 2; 1 ends"), "{text}");
        assert!(text.contains("Every node does so."), "{text}");
        assert_eq!(shown(&LabelsView::default()), "Labels are not signed.");
    }
}
