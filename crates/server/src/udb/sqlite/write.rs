//! What is written: one transaction per commit.

use super::{failed, read};
use crate::udb::{
    Change, ChangeSet, FORGOTTEN_KEPT, HeldPermit, KeyRecord, LIVES_KEPT, ServerLife, UdbError,
    WebhookChange,
};
use model::api::{Event, NodeFact};
use model::ids::NodeId;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::Serialize;

/// Makes changes durable, all or none.
pub(super) fn commit(connection: &mut Connection, commit: &ChangeSet) -> Result<(), UdbError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    if read::number(&transaction, "generation")? != commit.expected {
        return Err(UdbError::Conflict);
    }
    set_number(&transaction, "generation", commit.generation)?;
    set_number(&transaction, "view", commit.view)?;
    for change in &commit.changes {
        apply(&transaction, change)?;
    }
    transaction.commit().map_err(failed)
}

fn apply(to: &Transaction<'_>, change: &Change) -> Result<(), UdbError> {
    match change {
        Change::System { name, id } => set_text(to, "system", Some(&(name, id))),
        Change::Life(life) => put_life(to, life),
        Change::Publish { summary, .. } => run(
            to,
            "INSERT INTO upgrades (version, revision, summary) VALUES (?1, ?2, ?3)",
            params![summary.version.0, summary.revision.0, text(summary)?],
        ),
        Change::Text(kept) => set_text(to, &read::name_of_text(&kept.sha256), Some(&kept.text)),
        Change::Withdraw(version) => run(
            to,
            "INSERT INTO withdrawn (version) VALUES (?1)",
            [version.0],
        ),
        Change::Public(service, Some(version)) => run(
            to,
            "INSERT OR REPLACE INTO public (service, version) VALUES (?1, ?2)",
            params![service, version.0],
        ),
        Change::Public(service, None) => {
            run(to, "DELETE FROM public WHERE service = ?1", [service])
        }
        Change::Pause(pause) => set_text(to, "paused", pause.as_ref()),
        Change::Once(once) => set_text(to, "once", Some(once)),
        Change::Stopped(stopped) => set_text(to, "stopped", Some(stopped)),
        Change::Labels(labels) => set_text(to, "labels", labels.as_ref()),
        Change::Approve(approval) => run(
            to,
            "INSERT INTO approvals (approval) VALUES (?1)",
            [text(approval)?],
        ),
        Change::Node(fact) | Change::NodeQuietly(fact) => put_node(to, fact),
        Change::NodeHeard(_)
        | Change::Heard(_)
        | Change::Queue(_)
        | Change::Unqueue(_)
        | Change::Role(..) => Ok(()),
        Change::Forget(node, name) => forget(to, *node, name),
        Change::Permit(held) => put_permit(to, held),
        Change::EndPermit(permit) => run(to, "DELETE FROM permits WHERE permit = ?1", [permit.0]),
        Change::Retiring(version) => set_number(to, "retiring_through", u64::from(version.0)),
        Change::Retired(version) => set_number(to, "retired_through", u64::from(version.0)),
        Change::Identity(fact) => run(
            to,
            "INSERT OR REPLACE INTO identities (principal, fact) VALUES (?1, ?2)",
            params![fact.principal.to_string(), text(fact.as_ref())?],
        ),
        Change::Invitation(fact) => run(
            to,
            "INSERT OR REPLACE INTO invitations (digest, fact) VALUES (?1, ?2)",
            params![fact.digest, text(fact.as_ref())?],
        ),
        Change::EndInvitation(digest) => {
            run(to, "DELETE FROM invitations WHERE digest = ?1", [digest])
        }
        Change::Webhook(change) => put_webhook(to, change),
        Change::Event(event) => put_event(to, event),
        Change::Key(record) => put_key(to, record),
        Change::ForgetEventsBefore(sequence) => {
            run(to, "DELETE FROM events WHERE sequence < ?1", [sequence])
        }
        Change::ForgetKeysBefore(at_ms) => run(to, "DELETE FROM keys WHERE at_ms < ?1", [at_ms]),
    }
}

fn put_webhook(to: &Transaction<'_>, change: &WebhookChange) -> Result<(), UdbError> {
    match change {
        WebhookChange::Set(webhook) => run(
            to,
            "INSERT OR REPLACE INTO webhooks (name, fact) VALUES (?1, ?2)",
            params![webhook.name, text(webhook.as_ref())?],
        ),
        WebhookChange::End(name) => {
            run(to, "DELETE FROM webhook_places WHERE name = ?1", [name])?;
            run(to, "DELETE FROM webhooks WHERE name = ?1", [name])
        }
        WebhookChange::Place(place) => run(
            to,
            "INSERT OR REPLACE INTO webhook_places (name, fact) VALUES (?1, ?2)",
            params![place.name, text(place)?],
        ),
    }
}

fn put_node(to: &Transaction<'_>, fact: &NodeFact) -> Result<(), UdbError> {
    run(to, "DELETE FROM forgotten WHERE node = ?1", [fact.node.0])?;
    raise_number(to, "last_node", u64::from(fact.node.0))?;
    run(
        to,
        "INSERT INTO nodes (node, name, fact) VALUES (?1, ?2, ?3)
         ON CONFLICT (node) DO UPDATE SET name = excluded.name, fact = excluded.fact",
        params![fact.node.0, fact.name, text(fact)?],
    )
}

fn put_life(to: &Transaction<'_>, life: &ServerLife) -> Result<(), UdbError> {
    run(
        to,
        "INSERT INTO lives (number, epoch, life, began_at, lost) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![life.number, life.epoch, life.life, life.began_at, life.lost],
    )?;
    let kept = life.number.saturating_sub(LIVES_KEPT);
    run(to, "DELETE FROM lives WHERE number <= ?1", [kept])
}

fn forget(to: &Transaction<'_>, node: NodeId, name: &str) -> Result<(), UdbError> {
    run(
        to,
        "INSERT OR REPLACE INTO forgotten (node, name) VALUES (?1, ?2)",
        params![node.0, name],
    )?;
    let kept = node.0.saturating_sub(FORGOTTEN_KEPT);
    run(to, "DELETE FROM forgotten WHERE node <= ?1", [kept])?;
    run(to, "DELETE FROM nodes WHERE node = ?1", [node.0])
}

fn put_permit(to: &Transaction<'_>, held: &HeldPermit) -> Result<(), UdbError> {
    raise_number(to, "last_permit", held.fact.permit.0)?;
    run(
        to,
        "INSERT OR REPLACE INTO permits (permit, fact, expires_at_ms) VALUES (?1, ?2, ?3)",
        params![held.fact.permit.0, text(&held.fact)?, held.expires_at_ms],
    )
}

fn put_event(to: &Transaction<'_>, event: &Event) -> Result<(), UdbError> {
    run(
        to,
        "INSERT INTO events (sequence, at_ms, author, node, kind, version, message, proven)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            event.sequence,
            event.at_ms,
            event.author,
            event.node,
            event.kind,
            event.version.map(|version| version.0),
            event.message,
            event.proven
        ],
    )
}

fn put_key(to: &Transaction<'_>, record: &KeyRecord) -> Result<(), UdbError> {
    run(
        to,
        "INSERT INTO keys (key, fingerprint, reply, at_ms) VALUES (?1, ?2, ?3, ?4)",
        params![
            record.key,
            record.fingerprint,
            text(&record.reply)?,
            record.at_ms
        ],
    )
}

fn set_number(to: &Transaction<'_>, name: &str, value: u64) -> Result<(), UdbError> {
    run(
        to,
        "INSERT OR REPLACE INTO numbers (name, value) VALUES (?1, ?2)",
        params![name, value],
    )
}

/// Counters of numbers ever given never fall: a forgotten node's number is not given again.
fn raise_number(to: &Transaction<'_>, name: &str, value: u64) -> Result<(), UdbError> {
    run(
        to,
        "INSERT INTO numbers (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = MAX(value, excluded.value)",
        params![name, value],
    )
}

fn set_text<T: Serialize>(
    to: &Transaction<'_>,
    name: &str,
    value: Option<&T>,
) -> Result<(), UdbError> {
    match value {
        Some(value) => run(
            to,
            "INSERT OR REPLACE INTO texts (name, value) VALUES (?1, ?2)",
            params![name, text(value)?],
        ),
        None => run(to, "DELETE FROM texts WHERE name = ?1", [name]),
    }
}

fn run(to: &Transaction<'_>, query: &str, values: impl rusqlite::Params) -> Result<(), UdbError> {
    let mut statement = to.prepare_cached(query).map_err(failed)?;
    statement.execute(values).map(|_| ()).map_err(failed)
}

fn text<T: Serialize>(value: &T) -> Result<String, UdbError> {
    serde_json::to_string(value).map_err(|error| UdbError::Failed(error.to_string()))
}
