//! What is read: everything at the start, the history by pages.

use super::failed;
use crate::udb::{
    EVENTS_LOOKED_THROUGH, EventSelection, HeldPermit, KeyRecord, ServerLife, Stored, UdbError,
};
use model::api::{Event, IdentityFact, InvitationFact};
use model::ids::{NodeId, PermitId, Revision, Version};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};
use serde::de::DeserializeOwned;

/// What the names of the repository's texts begin with; a digest follows.
const TEXT: &str = "repository/";

/// The name of a text of the repository.
pub(super) fn name_of_text(sha256: &str) -> String {
    format!("{TEXT}{sha256}")
}

/// A text of the repository, if it is kept here.
pub(super) fn kept_text(connection: &Connection, sha256: &str) -> Result<Option<String>, UdbError> {
    text(connection, &name_of_text(sha256))
}

/// Everything, from one consistent moment.
pub(super) fn load(connection: &mut Connection) -> Result<Stored, UdbError> {
    let transaction = connection.transaction().map_err(failed)?;
    let mut stored = Stored {
        generation: number(&transaction, "generation")?,
        view: number(&transaction, "view")?,
        retiring_through: version(number(&transaction, "retiring_through")?),
        retired_through: version(number(&transaction, "retired_through")?),
        last_node: NodeId(u32::try_from(number(&transaction, "last_node")?).unwrap_or(u32::MAX)),
        last_permit: PermitId(number(&transaction, "last_permit")?),
        ..Stored::default()
    };
    stored.system = text(&transaction, "system")?;
    stored.paused = text(&transaction, "paused")?;
    stored.labels = text(&transaction, "labels")?;
    stored.once = text(&transaction, "once")?.unwrap_or_default();
    stored.stopped = text(&transaction, "stopped")?.unwrap_or_default();
    stored.last_event = max_event(&transaction)?;
    load_upgrades(&transaction, &mut stored)?;
    load_nodes(&transaction, &mut stored)?;
    load_lives(&transaction, &mut stored)?;
    load_identities(&transaction, &mut stored)?;
    load_webhooks(&transaction, &mut stored)?;
    stored.keys = rows(
        &transaction,
        "SELECT key, fingerprint, reply, at_ms FROM keys ORDER BY at_ms, key",
        |row| {
            Ok(KeyRecord {
                key: row.get(0)?,
                fingerprint: row.get(1)?,
                reply: json(row, 2)?,
                at_ms: row.get(3)?,
            })
        },
    )?;
    Ok(stored)
}

fn load_upgrades(transaction: &Transaction<'_>, stored: &mut Stored) -> Result<(), UdbError> {
    stored.upgrades = rows(
        transaction,
        "SELECT version, revision, summary FROM upgrades",
        |row| {
            let number = (Version(row.get(0)?), Revision(row.get(1)?));
            Ok((number, json(row, 2)?))
        },
    )?
    .into_iter()
    .collect();
    stored.texts = rows(
        transaction,
        &format!(
            "SELECT substr(name, {}) FROM texts WHERE name GLOB '{TEXT}*'",
            TEXT.len() + 1
        ),
        |row| row.get(0),
    )?
    .into_iter()
    .collect();
    stored.withdrawn = rows(transaction, "SELECT version FROM withdrawn", |row| {
        Ok(Version(row.get(0)?))
    })?
    .into_iter()
    .collect();
    stored.public = rows(transaction, "SELECT service, version FROM public", |row| {
        Ok((row.get(0)?, Version(row.get(1)?)))
    })?
    .into_iter()
    .collect();
    stored.approvals = rows(
        transaction,
        "SELECT approval FROM approvals ORDER BY place",
        |row| json(row, 0),
    )?;
    Ok(())
}

fn load_nodes(transaction: &Transaction<'_>, stored: &mut Stored) -> Result<(), UdbError> {
    stored.nodes = rows(transaction, "SELECT node, fact FROM nodes", |row| {
        Ok((NodeId(row.get(0)?), json(row, 1)?))
    })?
    .into_iter()
    .collect();
    stored.forgotten = rows(transaction, "SELECT node, name FROM forgotten", |row| {
        Ok((NodeId(row.get(0)?), row.get(1)?))
    })?
    .into_iter()
    .collect();
    stored.permits = rows(
        transaction,
        "SELECT permit, fact, expires_at_ms FROM permits",
        |row| {
            let held = HeldPermit {
                fact: json(row, 1)?,
                expires_at_ms: row.get(2)?,
            };
            Ok((PermitId(row.get(0)?), held))
        },
    )?
    .into_iter()
    .collect();
    Ok(())
}

fn load_identities(transaction: &Transaction<'_>, stored: &mut Stored) -> Result<(), UdbError> {
    let query = "SELECT fact FROM identities";
    let identities: Vec<IdentityFact> = rows(transaction, query, |row| json(row, 0))?;
    let by_name = |fact: IdentityFact| (fact.principal.clone(), fact);
    stored.identities = identities.into_iter().map(by_name).collect();
    let query = "SELECT fact FROM invitations";
    let invitations: Vec<InvitationFact> = rows(transaction, query, |row| json(row, 0))?;
    let by_digest = |fact: InvitationFact| (fact.digest.clone(), fact);
    stored.invitations = invitations.into_iter().map(by_digest).collect();
    Ok(())
}

fn load_webhooks(transaction: &Transaction<'_>, stored: &mut Stored) -> Result<(), UdbError> {
    let named = |row: &Row<'_>| Ok((row.get(0)?, json(row, 1)?));
    let webhooks = rows(transaction, "SELECT name, fact FROM webhooks", named)?;
    stored.webhooks = webhooks.into_iter().collect();
    let named = |row: &Row<'_>| Ok((row.get(0)?, json(row, 1)?));
    let places = rows(transaction, "SELECT name, fact FROM webhook_places", named)?;
    stored.webhook_places = places.into_iter().collect();
    Ok(())
}

fn load_lives(transaction: &Transaction<'_>, stored: &mut Stored) -> Result<(), UdbError> {
    stored.lives = rows(
        transaction,
        "SELECT number, epoch, life, began_at, lost FROM lives ORDER BY number",
        |row| {
            Ok(ServerLife {
                number: row.get(0)?,
                epoch: row.get(1)?,
                life: row.get(2)?,
                began_at: row.get(3)?,
                lost: row.get(4)?,
            })
        },
    )?;
    Ok(())
}

/// Entries of the history after a sequence number, oldest first.
pub(super) fn events(
    connection: &mut Connection,
    after: u64,
    limit: u32,
) -> Result<Vec<Event>, UdbError> {
    let query = "SELECT sequence, at_ms, author, node, kind, version, message, proven FROM events
         WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    read_events(connection, query, after, limit)
}

pub(super) fn events_before(
    connection: &mut Connection,
    before: u64,
    limit: u32,
) -> Result<Vec<Event>, UdbError> {
    let query = "SELECT sequence, at_ms, author, node, kind, version, message, proven FROM events
         WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2";
    read_events(connection, query, before, limit)
}

/// Looks through a part of the history.
pub(super) fn events_selected(
    connection: &mut Connection,
    selection: &EventSelection,
    before: u64,
    limit: u32,
) -> Result<Vec<Event>, UdbError> {
    let query = "SELECT sequence, at_ms, author, node, kind, version, message, proven FROM events
         WHERE sequence < ?1 AND sequence >= ?2 AND (?3 IS NULL OR node = ?3)
             AND substr(kind, 1, length(?4)) = ?4 AND (?5 IS NULL OR version = ?5)
         ORDER BY sequence DESC LIMIT ?6";
    let mut statement = connection.prepare_cached(query).map_err(failed)?;
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let version = selection.version.map(|version| version.0);
    let wanted = (
        whole(before),
        whole(before.saturating_sub(EVENTS_LOOKED_THROUGH)),
        &selection.node,
        &selection.kind,
        version,
        limit,
    );
    let found = statement.query_map(wanted, event).map_err(failed)?;
    found.collect::<Result<_, _>>().map_err(failed)
}

/// An entry of the history.
fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        sequence: row.get(0)?,
        at_ms: row.get(1)?,
        author: row.get(2)?,
        node: row.get(3)?,
        kind: row.get(4)?,
        version: row.get::<_, Option<u32>>(5)?.map(Version),
        message: row.get(6)?,
        proven: row.get(7)?,
    })
}

fn read_events(
    connection: &mut Connection,
    query: &str,
    cursor: u64,
    limit: u32,
) -> Result<Vec<Event>, UdbError> {
    let mut statement = connection.prepare_cached(query).map_err(failed)?;
    // SQLite's numbers end at i64, and so does the history.
    let cursor = i64::try_from(cursor).unwrap_or(i64::MAX);
    let found = statement.query_map((cursor, limit), event);
    let found = found.map_err(failed)?;
    found.collect::<Result<_, _>>().map_err(failed)
}

/// A counter; zero before it was ever written.
pub(super) fn number(connection: &Connection, name: &str) -> Result<u64, UdbError> {
    connection
        .query_row("SELECT value FROM numbers WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
        .map(Option::unwrap_or_default)
        .map_err(failed)
}

fn max_event(connection: &Connection) -> Result<u64, UdbError> {
    connection
        .query_row("SELECT COALESCE(MAX(sequence), 0) FROM events", [], |row| {
            row.get(0)
        })
        .map_err(failed)
}

fn text<T: DeserializeOwned>(connection: &Connection, name: &str) -> Result<Option<T>, UdbError> {
    connection
        .query_row("SELECT value FROM texts WHERE name = ?1", [name], |row| {
            json(row, 0)
        })
        .optional()
        .map_err(failed)
}

fn version(number: u64) -> Version {
    Version(u32::try_from(number).unwrap_or(u32::MAX))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

fn rows<T>(
    connection: &Connection,
    query: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, UdbError> {
    let mut statement = connection.prepare(query).map_err(failed)?;
    let found = statement.query_map([], read).map_err(failed)?;
    found.collect::<Result<_, _>>().map_err(failed)
}
