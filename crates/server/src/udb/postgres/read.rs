//! What is read: everything at the start, then what others have committed; the history by pages.

use super::rows::number;
use super::trouble::PostgresTrouble;
use super::{CommitMark, schema};
use crate::udb::{
    Change, EVENTS_LOOKED_THROUGH, EventSelection, HeldPermit, KeyRecord, LoggedCommit,
    MissedCommits, Stored, UdbError,
};
use deadpool_postgres::{Object, Transaction};
use model::api::{Event, IdentityFact, InvitationFact, NodeFact, UpgradeSummary};
use model::ids::{NodeId, PermitId, Version};
use serde::de::DeserializeOwned;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row};

/// The database's time in milliseconds since the Unix epoch.
pub(super) const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT";

/// The row on which everybody commits.
pub(super) struct CommitHead {
    pub(super) mark: CommitMark,
    view: u64,
    last_node: i64,
    last_permit: i64,
    pub(super) now_ms: i64,
}

/// What others have done.
pub(super) struct FoundCommits {
    pub(super) missed: MissedCommits,
    /// The newest of the commits that were found.
    pub(super) newest: Option<CommitMark>,
    pub(super) now_ms: i64,
}

/// Reads the head, and refuses that of a newer program.
pub(super) async fn head(client: &Client) -> Result<CommitHead, PostgresTrouble> {
    let query = format!(
        "SELECT schema, generation, mark, view, last_node, last_permit, {NOW_MS} FROM upstart.head"
    );
    let row = client.query_typed(&query, &[]).await?;
    let row = row.first().ok_or_else(|| damaged("it has no head"))?;
    schema::check(row.try_get(0)?)?;
    Ok(CommitHead {
        mark: CommitMark {
            generation: unsigned(row, 1)?,
            mark: row.try_get(2)?,
        },
        view: unsigned(row, 3)?,
        last_node: row.try_get(4)?,
        last_permit: row.try_get(5)?,
        now_ms: row.try_get(6)?,
    })
}

/// Everything, from one consistent moment.
pub(super) async fn load(client: &mut Object) -> Result<(Stored, CommitHead), PostgresTrouble> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let loaded = load_in(&transaction).await?;
    transaction.commit().await?;
    Ok(loaded)
}

/// Everything, as a transaction sees it.
pub(super) async fn load_in(
    transaction: &Transaction<'_>,
) -> Result<(Stored, CommitHead), PostgresTrouble> {
    let head = head(transaction.client()).await?;
    let mut stored = Stored {
        generation: head.mark.generation,
        view: head.view,
        last_node: NodeId(u32::try_from(head.last_node).unwrap_or(u32::MAX)),
        last_permit: PermitId(u64::try_from(head.last_permit).unwrap_or(0)),
        ..Stored::default()
    };
    // Texts are read when one is needed.
    let facts = "SELECT kind, name, CASE kind WHEN 'text' THEN '' ELSE fact END FROM upstart.facts ORDER BY kind, name";
    for row in transaction.query_typed(facts, &[]).await? {
        take_fact(&mut stored, &row)?;
    }
    let last = "SELECT COALESCE(MAX(sequence), 0) FROM upstart.events";
    stored.last_event = unsigned(&transaction.query_typed_one(last, &[]).await?, 0)?;
    let keys = "SELECT record FROM upstart.keys ORDER BY at_ms, key";
    for row in transaction.query_typed(keys, &[]).await? {
        stored.keys.push(json::<KeyRecord>(&row, 0)?);
    }
    Ok((stored, head))
}

fn take_fact(stored: &mut Stored, row: &Row) -> Result<(), PostgresTrouble> {
    let (kind, name): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    match kind {
        "setting" => take_setting(stored, name, row)?,
        "upgrade" => {
            let summary: UpgradeSummary = json(row, 2)?;
            let number = (summary.version, summary.revision);
            stored.upgrades.insert(number, summary);
        }
        "text" => {
            stored.texts.insert(name.to_owned());
        }
        "withdrawn" => {
            stored.withdrawn.insert(json(row, 2)?);
        }
        "public" => {
            stored.public.insert(name.to_owned(), json(row, 2)?);
        }
        "approval" => stored.approvals.push(json(row, 2)?),
        "node" => {
            let fact: NodeFact = json(row, 2)?;
            stored.nodes.insert(fact.node, fact);
        }
        "life" => stored.lives.push(json(row, 2)?),
        "identity" => {
            let fact: IdentityFact = json(row, 2)?;
            stored.identities.insert(fact.principal.clone(), fact);
        }
        "invitation" => {
            let fact: InvitationFact = json(row, 2)?;
            stored.invitations.insert(fact.digest.clone(), fact);
        }
        "webhook" => {
            stored.webhooks.insert(name.to_owned(), json(row, 2)?);
        }
        "webhook_place" => {
            stored.webhook_places.insert(name.to_owned(), json(row, 2)?);
        }
        "forgotten" => {
            let node = name
                .parse::<u32>()
                .map_err(|error| damaged(&error.to_string()))?;
            stored.forgotten.insert(NodeId(node), json(row, 2)?);
        }
        "permit" => {
            let held: HeldPermit = json(row, 2)?;
            stored.permits.insert(held.fact.permit, held);
        }
        other => return Err(damaged(&format!("it has facts of a kind `{other}`"))),
    }
    Ok(())
}

fn take_setting(stored: &mut Stored, name: &str, row: &Row) -> Result<(), PostgresTrouble> {
    match name {
        "system" => stored.system = Some(json(row, 2)?),
        "paused" => stored.paused = Some(json(row, 2)?),
        "labels" => stored.labels = Some(json(row, 2)?),
        "once" => stored.once = json(row, 2)?,
        "stopped" => stored.stopped = json(row, 2)?,
        "retiring_through" => stored.retiring_through = json::<Version>(row, 2)?,
        "retired_through" => stored.retired_through = json::<Version>(row, 2)?,
        other => return Err(damaged(&format!("it has a setting `{other}`"))),
    }
    Ok(())
}

/// What has been committed since this commit. A commit in whose place another stands, after a promotion, is none to go on from.
pub(super) async fn since(
    client: &Object,
    known: CommitMark,
) -> Result<FoundCommits, PostgresTrouble> {
    let head = head(client).await?;
    let found = |missed, newest| FoundCommits {
        missed,
        newest,
        now_ms: head.now_ms,
    };
    if head.mark == known {
        return Ok(found(MissedCommits::Nothing, None));
    }
    let rows = client
        .query_typed(
            "SELECT generation, mark, view, changes FROM upstart.commits WHERE generation >= $1 ORDER BY generation",
            &[(&number(known.generation), Type::INT8)],
        )
        .await?;
    let mut marks = rows.iter().map(mark);
    if marks.next().transpose()? != Some(known) {
        return Ok(found(MissedCommits::Everything, None));
    }
    let newest = marks.last().transpose()?;
    let commits: Option<Vec<LoggedCommit>> = rows[1..].iter().map(logged).collect();
    Ok(match commits {
        Some(commits) => found(MissedCommits::Commits(commits), newest),
        None => found(MissedCommits::Everything, None),
    })
}

fn mark(row: &Row) -> Result<CommitMark, PostgresTrouble> {
    Ok(CommitMark {
        generation: unsigned(row, 0)?,
        mark: row.try_get(1)?,
    })
}

/// A commit with its changes, where they were written down and this program knows them.
fn logged(row: &Row) -> Option<LoggedCommit> {
    let changes: Option<&str> = row.try_get(3).ok()?;
    let changes: Vec<Change> = serde_json::from_str(changes?).ok()?;
    Some(LoggedCommit {
        generation: unsigned(row, 0).ok()?,
        view: unsigned(row, 2).ok()?,
        changes,
    })
}

/// Entries of the history after a sequence number, oldest first.
pub(super) async fn events(
    client: &Client,
    after: u64,
    limit: u32,
) -> Result<Vec<Event>, PostgresTrouble> {
    let query = "SELECT event FROM upstart.events WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    read_events(client, query, after, limit).await
}

pub(super) async fn events_before(
    client: &Client,
    before: u64,
    limit: u32,
) -> Result<Vec<Event>, PostgresTrouble> {
    let query =
        "SELECT event FROM upstart.events WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2";
    read_events(client, query, before, limit).await
}

/// Looks through a part of the history, by the words that stand in an entry as it is written: the quotes in a message are escaped there.
pub(super) async fn events_selected(
    client: &Client,
    selection: &EventSelection,
    before: u64,
    limit: u32,
) -> Result<Vec<Event>, PostgresTrouble> {
    let query = "SELECT event FROM upstart.events
         WHERE sequence < $1 AND sequence >= $2
             AND strpos(event, $3) > 0 AND strpos(event, $4) > 0 AND strpos(event, $5) > 0
         ORDER BY sequence DESC LIMIT $6";
    let begin = number(before.saturating_sub(EVENTS_LOOKED_THROUGH));
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let node = selection.node.as_deref();
    let node = node.map_or_else(String::new, |node| format!("\"node\":{}", quoted(node)));
    let kind = format!("\"kind\":{}", quoted(&selection.kind));
    let version = selection.version;
    let version = version.map_or_else(String::new, |at| format!("\"version\":{at},"));
    let wanted = [
        (&number(before) as &(dyn ToSql + Sync), Type::INT8),
        (&begin, Type::INT8),
        (&node, Type::TEXT),
        // What follows is open: the kind only begins so.
        (&kind.trim_end_matches('"'), Type::TEXT),
        (&version, Type::TEXT),
        (&i64::from(limit), Type::INT8),
    ];
    let rows = client.query_typed(query, &wanted).await?;
    rows.iter().map(|row| json(row, 0)).collect()
}

async fn read_events(
    client: &Client,
    query: &str,
    cursor: u64,
    limit: u32,
) -> Result<Vec<Event>, PostgresTrouble> {
    let limits = [
        (&number(cursor) as &(dyn ToSql + Sync), Type::INT8),
        (&i64::from(limit), Type::INT8),
    ];
    let rows = client.query_typed(query, &limits).await?;
    rows.iter().map(|row| json(row, 0)).collect()
}

/// A text of the repository, if it is kept here.
pub(super) async fn kept_text(
    client: &Client,
    sha256: &str,
) -> Result<Option<String>, PostgresTrouble> {
    let query = "SELECT fact FROM upstart.facts WHERE kind = 'text' AND name = $1";
    let rows = client.query_typed(query, &[(&sha256, Type::TEXT)]).await?;
    rows.first().map(|row| json(row, 0)).transpose()
}

/// Takes a lock that ends with the transaction, if nobody has it.
pub(super) async fn try_lock(client: &Client, lock: i64) -> Result<bool, PostgresTrouble> {
    let query = "SELECT pg_try_advisory_xact_lock($1)";
    let rows = client.query_typed(query, &[(&lock, Type::INT8)]).await?;
    let row = rows.first().ok_or_else(|| damaged("it gives no lock"))?;
    Ok(row.try_get(0)?)
}

fn unsigned(row: &Row, column: usize) -> Result<u64, PostgresTrouble> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| damaged("it has a number below zero"))
}

fn json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, PostgresTrouble> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))
}

fn damaged(why: &str) -> PostgresTrouble {
    PostgresTrouble::Refused(UdbError::Failed(format!(
        "the upgrade database in PostgreSQL is not as Upstart left it: {why}"
    )))
}
