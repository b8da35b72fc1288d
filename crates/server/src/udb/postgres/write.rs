//! What is written: one transaction per commit. A commit whose answer is lost is looked up before it is tried again.

use super::rows::{Rows, number};
use super::trouble::PostgresTrouble;
use super::{ANSWER_LIMIT, CommitMark, Postgres, connection, finished, schema};
use crate::udb::{ChangeSet, UdbError};
use deadpool_postgres::{Object, Transaction};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::Type;

/// How many commits are kept for servers that missed them. Who missed more reads everything.
pub(super) const COMMITS_KEPT: u64 = 1000;

/// How long another server's commit may hold the head. One that waits for a standby that has gone holds it as long as that is so.
pub(super) const LOCK_LIMIT: &str = "SET LOCAL lock_timeout = '4s'";

/// How long an answer that was lost is looked for: a failover takes some seconds, and all callers wait meanwhile.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two looks.
const AGAIN_PAUSE: Duration = Duration::from_millis(100);

/// What has become of a commit whose answer was lost.
#[derive(Debug, PartialEq, Eq)]
enum CommitFate {
    /// It has happened.
    Done,
    /// Another server's has happened in its place.
    Overtaken,
    /// It has not happened.
    Open,
}

/// Makes changes durable, all or none, and says which commit that was.
pub(super) async fn commit(udb: &Postgres, commit: &ChangeSet) -> Result<CommitMark, UdbError> {
    let known = udb.known();
    if known.generation != commit.expected {
        return Err(UdbError::Conflict);
    }
    let rows = Rows::of(commit)?;
    let mark = CommitMark {
        generation: commit.generation,
        mark: rand::random(),
    };
    let end = Instant::now() + UNKNOWN_LIMIT;
    // Without a connection nothing is sent, and there is nothing to look up.
    let client = connection(&udb.pool).await?;
    let mut trouble = match attempt(client, known, mark, commit.view, &rows).await {
        Err(trouble @ PostgresTrouble::Broken(_)) => trouble,
        done => return done.map(|()| mark).map_err(UdbError::from),
    };
    while Instant::now() < end {
        sleep(AGAIN_PAUSE).await;
        trouble = match fate(udb, mark).await {
            Ok(CommitFate::Done) => return Ok(mark),
            Ok(CommitFate::Overtaken) => return Err(UdbError::Conflict),
            Ok(CommitFate::Open) => match again(udb, known, mark, commit.view, &rows).await {
                Ok(()) => return Ok(mark),
                // The first attempt may have come through meanwhile.
                Err(trouble @ (PostgresTrouble::Broken(_) | PostgresTrouble::Conflict)) => trouble,
                Err(trouble) => return Err(trouble.into()),
            },
            Err(trouble) => trouble,
        };
    }
    Err(trouble.into())
}

/// Tries on another connection.
async fn again(
    udb: &Postgres,
    known: CommitMark,
    mark: CommitMark,
    view: u64,
    rows: &Rows,
) -> Result<(), PostgresTrouble> {
    let client = connection(&udb.pool).await?;
    attempt(client, known, mark, view, rows).await
}

async fn attempt(
    mut client: Object,
    known: CommitMark,
    mark: CommitMark,
    view: u64,
    rows: &Rows,
) -> Result<(), PostgresTrouble> {
    let done = timeout(ANSWER_LIMIT, write(&mut client, known, mark, view, rows)).await;
    finished(client, done)
}

async fn write(
    client: &mut Object,
    known: CommitMark,
    mark: CommitMark,
    view: u64,
    rows: &Rows,
) -> Result<(), PostgresTrouble> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_LIMIT).await?;
    let swapped = transaction
        .execute_typed(
            "UPDATE upstart.head SET generation = $1, mark = $2, view = $3,
                 last_node = GREATEST(last_node, $4), last_permit = GREATEST(last_permit, $5)
             WHERE schema = $6 AND generation = $7 AND mark = $8",
            &[
                (&number(mark.generation), Type::INT8),
                (&mark.mark, Type::INT8),
                (&number(view), Type::INT8),
                (&rows.last_node, Type::INT8),
                (&rows.last_permit, Type::INT8),
                (&schema::known(), Type::INT4),
                (&number(known.generation), Type::INT8),
                (&known.mark, Type::INT8),
            ],
        )
        .await?;
    if swapped == 0 {
        transaction.rollback().await?;
        return Err(PostgresTrouble::Conflict);
    }
    put_facts(&transaction, rows).await?;
    put_events(&transaction, rows).await?;
    forget_events(&transaction, rows).await?;
    put_keys(&transaction, rows).await?;
    put_commit(&transaction, mark, view, rows).await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn put_facts(to: &Transaction<'_>, rows: &Rows) -> Result<(), PostgresTrouble> {
    let (mut kinds, mut names, mut facts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut gone_kinds, mut gone_names) = (Vec::new(), Vec::new());
    for ((kind, name), fact) in &rows.facts {
        if let Some(fact) = fact {
            kinds.push(*kind);
            names.push(name.as_str());
            facts.push(fact.as_str());
        } else {
            gone_kinds.push(*kind);
            gone_names.push(name.as_str());
        }
    }
    if !kinds.is_empty() {
        to.execute_typed(
            "INSERT INTO upstart.facts (kind, name, fact) SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[])
             ON CONFLICT (kind, name) DO UPDATE SET fact = excluded.fact",
            &[
                (&kinds, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&facts, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    }
    if !gone_kinds.is_empty() {
        to.execute_typed(
            "DELETE FROM upstart.facts WHERE (kind, name) IN (SELECT * FROM unnest($1::TEXT[], $2::TEXT[]))",
            &[
                (&gone_kinds, Type::TEXT_ARRAY),
                (&gone_names, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn put_events(to: &Transaction<'_>, rows: &Rows) -> Result<(), PostgresTrouble> {
    if rows.events.is_empty() {
        return Ok(());
    }
    let (sequences, events): (Vec<i64>, Vec<&str>) = rows
        .events
        .iter()
        .map(|(sequence, event)| (*sequence, event.as_str()))
        .unzip();
    to.execute_typed(
        "INSERT INTO upstart.events (sequence, event) SELECT * FROM unnest($1::BIGINT[], $2::TEXT[])",
        &[
            (&sequences, Type::INT8_ARRAY),
            (&events, Type::TEXT_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

async fn forget_events(to: &Transaction<'_>, rows: &Rows) -> Result<(), PostgresTrouble> {
    if let Some(before) = rows.forget_events_before {
        let forget = "DELETE FROM upstart.events WHERE sequence < $1";
        to.execute_typed(forget, &[(&before, Type::INT8)]).await?;
    }
    Ok(())
}

pub(super) async fn put_keys(to: &Transaction<'_>, rows: &Rows) -> Result<(), PostgresTrouble> {
    if let Some(before) = rows.forget_keys_before {
        let forget = "DELETE FROM upstart.keys WHERE at_ms < $1";
        to.execute_typed(forget, &[(&before, Type::INT8)]).await?;
    }
    for (key, (at_ms, record)) in &rows.keys {
        to.execute_typed(
            "INSERT INTO upstart.keys (key, at_ms, record) VALUES ($1, $2, $3)",
            &[(key, Type::TEXT), (at_ms, Type::INT8), (record, Type::TEXT)],
        )
        .await?;
    }
    Ok(())
}

/// Writes down what the other servers missed, and tells those that listen. A notification is a lock on the whole instance:
/// where nobody waits for the commit there is none.
pub(super) async fn put_commit(
    to: &Transaction<'_>,
    mark: CommitMark,
    view: u64,
    rows: &Rows,
) -> Result<(), PostgresTrouble> {
    to.execute_typed(
        "INSERT INTO upstart.commits (generation, mark, view, changes) VALUES ($1, $2, $3, $4)",
        &[
            (&number(mark.generation), Type::INT8),
            (&mark.mark, Type::INT8),
            (&number(view), Type::INT8),
            (&rows.log, Type::TEXT),
        ],
    )
    .await?;
    let old = number(mark.generation.saturating_sub(COMMITS_KEPT));
    let forget = "DELETE FROM upstart.commits WHERE generation < $1";
    to.execute_typed(forget, &[(&old, Type::INT8)]).await?;
    if rows.is_news {
        to.batch_execute("NOTIFY upstart").await?;
    }
    Ok(())
}

/// What has become of a commit. The head is written, with what it says: so this waits for whoever commits, and, as every
/// commit, until a synchronous standby has everything before it, that commit too.
async fn fate(udb: &Postgres, mark: CommitMark) -> Result<CommitFate, PostgresTrouble> {
    let mut client = connection(&udb.pool).await?;
    let done = timeout(ANSWER_LIMIT, look_up(&mut client, mark)).await;
    finished(client, done)
}

async fn look_up(client: &mut Object, mark: CommitMark) -> Result<CommitFate, PostgresTrouble> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_LIMIT).await?;
    let same = "UPDATE upstart.head SET view = view RETURNING generation";
    let newest: i64 = transaction.query_typed_one(same, &[]).await?.try_get(0)?;
    let asked = "SELECT mark FROM upstart.commits WHERE generation = $1";
    let generation = number(mark.generation);
    let found = transaction
        .query_typed_opt(asked, &[(&generation, Type::INT8)])
        .await?;
    let found: Option<i64> = found.map(|row| row.try_get(0)).transpose()?;
    transaction.commit().await?;
    match found {
        Some(found) if found == mark.mark => Ok(CommitFate::Done),
        None if newest < generation => Ok(CommitFate::Open),
        Some(_) => Ok(CommitFate::Overtaken),
        None => Err(PostgresTrouble::Refused(UdbError::Failed(
            "whether a commit has happened is not known any more".to_owned(),
        ))),
    }
}
