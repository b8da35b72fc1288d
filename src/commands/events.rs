//! `upstart events`: the append-only history, and what is added to it.

use crate::connection::{connect, explain, wait_for};
use crate::failure::{CommandEnd, CommandOutcome};
use crate::globals::Globals;
use crate::output::{self, note, within};
use clap::{Args, ValueEnum};
use client::Client;
use model::api::Event;
use std::collections::VecDeque;

/// Arguments of `upstart events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Go on printing what happens
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin after this event
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    pub(crate) after: u64,
    /// Begin with the oldest event that is kept, or go on from the newest, which prints what happens from now on
    #[arg(long, value_enum, conflicts_with_all = ["after", "last"])]
    pub(crate) from: Option<EventsBegin>,
    /// Only the last events, so many that are wanted
    #[arg(long, value_name = "N", conflicts_with = "after")]
    pub(crate) last: Option<u32>,
    /// Only events of this node
    #[arg(long)]
    pub(crate) node: Option<String>,
    /// Only this kind, or kinds that begin so (`node.`)
    #[arg(long)]
    pub(crate) kind: Option<String>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventsBegin {
    /// With the oldest event
    Oldest,
    /// After the newest
    Newest,
}

impl EventsArgs {
    /// Whether to go on printing: after the newest event there is nothing else.
    fn follows(&self) -> bool {
        self.follow || self.from == Some(EventsBegin::Newest)
    }
}

/// `upstart events`.
pub(crate) fn run(globals: &Globals, arguments: &EventsArgs) -> CommandOutcome {
    let client = connect(globals)?;
    wait_for(print_all(&client, globals, arguments))?;
    Ok(CommandEnd::Yes)
}

/// Prints page after page; one JSON object a line for programs.
async fn print_all(
    client: &Client,
    globals: &Globals,
    arguments: &EventsArgs,
) -> anyhow::Result<()> {
    let node = match &arguments.node {
        Some(node) => Some(known(client, node).await?),
        None => None,
    };
    let mut after = arguments.after.to_string();
    if let Some(count) = arguments.last {
        let (events, newest) = last(client, count, node.as_ref(), arguments).await?;
        events.iter().try_for_each(|event| print(event, globals))?;
        if !arguments.follows() || output::reader_has_gone() {
            return Ok(());
        }
        after = newest.to_string();
    }
    if arguments.from == Some(EventsBegin::Newest) {
        after = end(client).await?.to_string();
    }
    loop {
        let wait = arguments.follows().then_some(client::WAIT_MAX);
        let page = match client.events(Some(&after), None, wait).await {
            Err(error) if arguments.follows() && error.status() == Some(410) => {
                after = end(client).await?.to_string();
                note(&format!(
                    "the server's history was set back; it goes on after event {after}"
                ));
                continue;
            }
            page => page.map_err(explain)?,
        };
        for event in page
            .items
            .iter()
            .filter(|event| is_wanted(event, node.as_ref(), arguments))
        {
            print(event, globals)?;
        }
        let is_end = (page.items.is_empty() && !arguments.follows()) || output::reader_has_gone();
        match page.next {
            Some(next) if !is_end => after = next,
            _ => return Ok(()),
        }
    }
}

fn print(event: &Event, globals: &Globals) -> anyhow::Result<()> {
    if globals.json {
        output::json(event)?;
    } else {
        output::line(sentence(event))?;
    }
    Ok(())
}

/// The number of the newest there is.
async fn end(client: &Client) -> anyhow::Result<u64> {
    let page = client.events_before(None, Some(1)).await;
    let page = page.map_err(explain)?;
    Ok(page.items.first().map_or(0, |event| event.sequence))
}

/// The last so many that are wanted, oldest first, and the number of the newest there is.
async fn last(
    client: &Client,
    count: u32,
    node: Option<&String>,
    arguments: &EventsArgs,
) -> anyhow::Result<(VecDeque<Event>, u64)> {
    let (mut found, mut newest, mut before) = (VecDeque::new(), 0, None);
    loop {
        let page = client.events_before(before.as_deref(), None).await;
        let page = page.map_err(explain)?;
        newest = newest.max(page.items.first().map_or(0, |event| event.sequence));
        for event in page.items {
            if found.len() >= count as usize {
                return Ok((found, newest));
            }
            if is_wanted(&event, node, arguments) {
                found.push_front(event);
            }
        }
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok((found, newest)),
        }
    }
}

/// The node's name, if there is such a node or was one: of one that was forgotten the history still tells.
async fn known(client: &Client, node: &str) -> anyhow::Result<String> {
    let unknown = match client.node(node).await {
        Ok(fact) => return Ok(fact.name),
        Err(error) if matches!(error.status(), Some(404 | 410)) => error,
        Err(error) => return Err(explain(error)),
    };
    let mut after = None;
    loop {
        let page = client.events(after.as_deref(), None, None).await;
        let page = page.map_err(explain)?;
        if page
            .items
            .iter()
            .any(|event| event.node.as_deref() == Some(node))
        {
            return Ok(node.to_owned());
        }
        match page.next {
            Some(next) if !page.items.is_empty() => after = Some(next),
            _ => return Err(explain(unknown)),
        }
    }
}

fn is_wanted(event: &Event, node: Option<&String>, arguments: &EventsArgs) -> bool {
    let node = node.is_none_or(|node| event.node.as_ref() == Some(node));
    let kind = arguments
        .kind
        .as_ref()
        .is_none_or(|kind| event.kind.starts_with(kind.as_str()));
    node && kind
}

/// One event as one line.
pub(crate) fn sentence(event: &Event) -> String {
    let time = clock(event.at_ms);
    let version = event
        .version
        .map_or_else(String::new, |version| format!(" [{version}]"));
    let (author, kind) = (within(&event.author), within(&event.kind));
    format!("{time} {author} {kind}{version} {}", within(&event.message))
}

/// A time as UTC, `2026-01-31T12:00:00Z`.
pub(crate) fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970-01-01 as year, month, day (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn times_read_as_utc() {
        assert_eq!(clock(0), "1970-01-01T00:00:00Z");
        assert_eq!(clock(951_782_399_000), "2000-02-28T23:59:59Z");
        assert_eq!(clock(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(clock(1_795_423_500_000), "2026-11-23T08:45:00Z");
    }
}
