//! Watching on a terminal: versions, a bar for the whole system, one row a node, the latest events.

use super::{ASK_EVERY, Goal, Scene, rows};
use crate::commands::events;
use crate::failure::{CommandEnd, CommandOutcome};
use crate::{describe, output};
use client::Client;
use ratatui::Frame;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The rows that the event list takes.
const EVENT_ROWS: u16 = 8;

/// How many of the last versions the heading names.
const VERSIONS_SHOWN: usize = 4;

/// The numbers of the signals that end it.
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Draws until `q`, Ctrl-C, or the goal. The terminal is put back however this ends.
pub(super) fn run(client: &Client, goal: &Goal) -> CommandOutcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut scene = Scene::default();
    // The first answer comes before the screen is taken: an error stays readable.
    runtime.block_on(scene.refresh(client, goal))?;
    let mut terminate = {
        let _entered = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let mut terminal = ratatui::try_init()?;
    let mut first_row = 0;
    let ended = loop {
        if let Err(error) = terminal.draw(|frame| draw(frame, &scene, first_row)) {
            break Err(error.into());
        }
        if let Some(outcome) = goal.reached(&scene.view) {
            break outcome;
        }
        if runtime.block_on(is_told_to_end(&mut terminate)) {
            break Ok(CommandEnd::Signal(SIGTERM));
        }
        match pressed(ASK_EVERY) {
            Ok(Some(key)) if is_interrupt(key) => break Ok(CommandEnd::Signal(SIGINT)),
            Ok(Some(key)) if is_quit(key) => break Ok(goal.given_up()),
            Ok(Some(key)) => first_row = scrolled(first_row, key, scene.view.nodes.len()),
            Ok(None) => {
                if let Err(error) = runtime.block_on(scene.refresh(client, goal)) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error.into()),
        }
    };
    ratatui::restore();
    ended
}

/// The key pressed within this time.
fn pressed(within: Duration) -> std::io::Result<Option<KeyEvent>> {
    if !event::poll(within)? {
        return Ok(None);
    }
    let key = event::read()?.as_key_event();
    Ok(key.filter(|key| key.kind == KeyEventKind::Press))
}

fn is_quit(key: KeyEvent) -> bool {
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

/// Ctrl-C, which is a key like others while the terminal is ours.
fn is_interrupt(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

/// Whether the process was asked to end since this was asked last.
async fn is_told_to_end(terminate: &mut Signal) -> bool {
    tokio::select! {
        biased;
        told = terminate.recv() => told.is_some(),
        () = tokio::task::yield_now() => false,
    }
}

fn scrolled(first_row: usize, key: KeyEvent, nodes: usize) -> usize {
    let last = nodes.saturating_sub(1);
    match key.code {
        KeyCode::Down | KeyCode::Char('j') => (first_row + 1).min(last),
        KeyCode::Up | KeyCode::Char('k') => first_row.saturating_sub(1),
        KeyCode::PageDown => (first_row + 10).min(last),
        KeyCode::PageUp => first_row.saturating_sub(10),
        _ => first_row,
    }
}

fn draw(frame: &mut Frame<'_>, scene: &Scene, first_row: usize) {
    let [head, gauge, nodes, events] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(EVENT_ROWS),
    ])
    .areas(frame.area());
    frame.render_widget(heading(scene), head);
    draw_share(frame, scene, gauge);
    draw_nodes(frame, scene, first_row, nodes);
    draw_events(frame, scene, events);
}

fn heading(scene: &Scene) -> Paragraph<'static> {
    let view = &scene.view;
    // Of a long history only the last few are of interest here: `upstart status` lists all.
    let versions = view.upgrades.iter().rev().take(VERSIONS_SHOWN).rev();
    let versions: Vec<String> = versions
        .map(|upgrade| format!("{} {}", upgrade.version, describe::upgrade(view, upgrade)))
        .collect();
    let first = Line::styled(
        format!(
            "(q quits)  {}  versions: {}",
            output::visible(&view.system),
            versions.join(", ")
        ),
        Style::new().add_modifier(Modifier::BOLD),
    );
    let second = match (&scene.trouble, &view.paused) {
        (Some(trouble), _) => Line::styled(trouble.clone(), Color::Red),
        (None, Some(pause)) => {
            let text = format!("paused by {}: {}", pause.author, pause.reason);
            Line::styled(text, Color::Yellow)
        }
        (None, None) => {
            let public: Vec<String> = view
                .public
                .iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect();
            Line::raw(format!("public: {}", public.join(", ")))
        }
    };
    Paragraph::new(vec![first, second])
}

fn draw_share(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    let (done, all) = scene.share();
    let newest = describe::newest(&scene.view).map_or_else(String::new, |newest| {
        describe::place(newest.version, newest.revision)
    });
    let ratio = if all == 0 {
        0.0
    } else {
        done as f64 / all as f64
    };
    let gauge = Gauge::default()
        .ratio(ratio)
        .label(format!("{done} of {all} nodes at version {newest}"))
        .gauge_style(Style::new().fg(Color::Green));
    frame.render_widget(gauge, area);
}

fn draw_nodes(frame: &mut Frame<'_>, scene: &Scene, first_row: usize, area: Rect) {
    let now = describe::now_ms();
    let nodes = &scene.view.nodes;
    let highest = describe::highest(nodes.iter());
    let mut lines = vec![rows::header(area.width)];
    for node in nodes.iter().skip(first_row) {
        if lines.len() > usize::from(area.height) {
            break;
        }
        lines.extend(rows::node_lines(node, now, highest, area.width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_events(frame: &mut Frame<'_>, scene: &Scene, area: Rect) {
    let rows = usize::from(area.height.saturating_sub(1));
    let skipped = scene.events.len().saturating_sub(rows);
    let lines: Vec<Line<'_>> = scene.events[skipped..]
        .iter()
        .map(|event| Line::raw(events::sentence(event)))
        .collect();
    let block = Block::new()
        .borders(ratatui::widgets::Borders::TOP)
        .title("events");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::{NodeFact, Phase, SystemView, UpgradeSummary};
    use model::ids::{NodeId, Revision, Version};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn scene() -> Scene {
        let mut node: NodeFact = serde_json::from_value(serde_json::json!({
            "node": 1, "name": "storage-1", "class": "storage", "attributes": {}, "host": "h",
            "data_directory": "/d", "seen_at_ms": 0, "reachable": true, "settled_at_ms": 0, "retry": 0,
            "report": { "status": serde_json::to_value(model::api::NodeStatus::default()).expect("JSON"),
                "endpoints": [], "connections": {}, "counters": {}, "retired_acknowledged": 0,
                "retry_acknowledged": 0 },
        }))
        .expect("a node");
        node.node = NodeId(1);
        let status = &mut node.report.status;
        status.version = Version(1);
        status.target = Some(Version(2));
        status.phase = Phase::Transforming;
        status.progress = Some(model::api::Progress {
            what: "snapshot".to_owned(),
            done: 1,
            total: Some(2),
            unit: "files".to_owned(),
        });
        let upgrade = UpgradeSummary {
            version: Version(2),
            from: Version(1),
            revision: Revision(1),
            manifest_sha256: String::new(),
            description: String::new(),
            withdrawn: false,
            published_at_ms: 0,
            author: String::new(),
        };
        let view = SystemView {
            system: "store".to_owned(),
            nodes: vec![node],
            upgrades: vec![upgrade],
            ..SystemView::default()
        };
        Scene {
            view,
            ..Scene::default()
        }
    }

    #[test]
    fn the_screen_shows_node_target_phase_and_progress() {
        let mut terminal = Terminal::new(TestBackend::new(120, 20)).expect("a terminal");
        terminal
            .draw(|frame| draw(frame, &scene(), 0))
            .expect("drawn");
        let cells = terminal.backend().buffer().content();
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        for part in [
            "store",
            "storage-1",
            "1 -> 2",
            "transforming",
            "█████░░░░░",
            "0 of 1 nodes",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_narrow_screen_shows_what_matters_whole() {
        let mut terminal = Terminal::new(TestBackend::new(48, 12)).expect("a terminal");
        terminal
            .draw(|frame| draw(frame, &scene(), 0))
            .expect("drawn");
        let cells = terminal.backend().buffer().content();
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        for part in ["storage-1", "1 -> 2", "transforming"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    /// What somebody watches for: why a node waits, and until when.
    #[test]
    fn at_eighty_columns_a_wait_is_told_whole() {
        let mut scene = scene();
        let status = &mut scene.view.nodes[0].report.status;
        status.phase = Phase::Staged;
        status.progress = None;
        let reason =
            "waits for the soak time: storage settled at version 2 less than 10 minutes ago";
        status.reason = Some(reason.to_owned());
        status.until_ms = Some(describe::now_ms() + 600_000);
        let mut terminal = Terminal::new(TestBackend::new(80, 20)).expect("a terminal");
        terminal
            .draw(|frame| draw(frame, &scene, 0))
            .expect("drawn");
        let cells = terminal.backend().buffer().content();
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        for part in ["(q quits)", "class", "10 minutes", "for at least"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn scrolling_stays_within_the_nodes() {
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        assert_eq!(scrolled(0, key(KeyCode::Up), 3), 0);
        assert_eq!(scrolled(2, key(KeyCode::Down), 3), 2);
        assert_eq!(scrolled(0, key(KeyCode::PageDown), 3), 2);
    }
}
