//! What another database holds, taken over into this one, which is empty: in one transaction, and read back before that ends. So it is here
//! wholly or not at all.

use super::rows::{Rows, number};
use super::trouble::PostgresTrouble;
use super::write::{LOCK_LIMIT, put_commit, put_events, put_facts, put_keys};
use super::{CommitMark, Postgres, connection, finished, read, schema};
use crate::udb::{Change, ChangeSet, KeptText, Stored, TakenOver, Udb, UdbError, WebhookChange};
use deadpool_postgres::{Object, Transaction};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::Type;

/// How long it may take: nobody serves meanwhile, and a history of millions of entries is written and read in less.
const FILL_LIMIT: Duration = Duration::from_secs(3_600);

/// How many entries of the history, or texts, are in memory at once.
const AT_ONCE: u32 = 1_000;

/// Takes over everything that another database holds.
pub(super) async fn fill(udb: &Postgres, from: &dyn Udb) -> Result<TakenOver, UdbError> {
    let mut client = connection(&udb.pool).await?;
    let filled = timeout(FILL_LIMIT, take_over(&mut client, from)).await;
    Ok(finished(client, filled)?)
}

async fn take_over(client: &mut Object, from: &dyn Udb) -> Result<TakenOver, PostgresTrouble> {
    let stored = from.load().await.map_err(PostgresTrouble::Refused)?;
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK_LIMIT).await?;
    check_empty(&transaction).await?;
    put_state(&transaction, &stored).await?;
    put_texts(&transaction, from, &stored).await?;
    let entries = put_history(&transaction, from).await?;
    put_head(&transaction, &stored).await?;
    compare(&transaction, from, &stored).await?;
    transaction.commit().await?;
    Ok(TakenOver {
        revisions: stored.upgrades.len(),
        nodes: stored.nodes.len(),
        identities: stored.identities.len(),
        entries,
    })
}

/// Takes the head, on which every server commits, and sees that none ever has.
async fn check_empty(to: &Transaction<'_>) -> Result<(), PostgresTrouble> {
    let taken = "SELECT schema, generation FROM upstart.head FOR UPDATE";
    let head = to.query_typed_one(taken, &[]).await?;
    schema::check(head.try_get(0)?)?;
    let held =
        "SELECT (SELECT count(*) FROM upstart.facts) + (SELECT count(*) FROM upstart.events)";
    let held: i64 = to.query_typed_one(held, &[]).await?.try_get(0)?;
    let commits: i64 = head.try_get(1)?;
    if commits == 0 && held == 0 {
        return Ok(());
    }
    Err(PostgresTrouble::Refused(UdbError::Taken { commits }))
}

async fn put_state(to: &Transaction<'_>, stored: &Stored) -> Result<(), PostgresTrouble> {
    let mut rows = rows(stored.generation, state(stored))?;
    for summary in stored.upgrades.values() {
        rows.upgrade(summary)?;
    }
    put_facts(to, &rows).await?;
    put_keys(to, &rows).await
}

/// The state as the changes that lead to it, without the upgrades.
fn state(stored: &Stored) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some((name, id)) = stored.system.clone() {
        changes.push(Change::System { name, id });
    }
    changes.extend(stored.lives.iter().cloned().map(Change::Life));
    changes.extend(stored.withdrawn.iter().copied().map(Change::Withdraw));
    let public = stored.public.iter();
    changes
        .extend(public.map(|(service, version)| Change::Public(service.clone(), Some(*version))));
    changes.extend(
        stored
            .paused
            .clone()
            .map(|pause| Change::Pause(Some(pause))),
    );
    changes.push(Change::Labels(stored.labels.clone()));
    changes.push(Change::Once(stored.once.clone()));
    changes.push(Change::Stopped(stored.stopped.clone()));
    changes.extend(stored.approvals.iter().cloned().map(Change::Approve));
    let forgotten = stored.forgotten.iter();
    changes.extend(forgotten.map(|(node, name)| Change::Forget(*node, name.clone())));
    let nodes = stored.nodes.values().cloned();
    changes.extend(nodes.map(|fact| Change::Node(fact.into())));
    changes.extend(stored.permits.values().cloned().map(Change::Permit));
    changes.push(Change::Retiring(stored.retiring_through));
    changes.push(Change::Retired(stored.retired_through));
    let identities = stored.identities.values().cloned();
    changes.extend(identities.map(|fact| Change::Identity(fact.into())));
    let invitations = stored.invitations.values().cloned();
    changes.extend(invitations.map(|fact| Change::Invitation(fact.into())));
    let webhooks = stored.webhooks.values().cloned();
    changes.extend(webhooks.map(|webhook| Change::Webhook(WebhookChange::Set(webhook.into()))));
    let places = stored.webhook_places.values().cloned();
    changes.extend(places.map(|place| Change::Webhook(WebhookChange::Place(place))));
    changes.extend(stored.keys.iter().cloned().map(Change::Key));
    changes
}

/// Changes as rows, of which no other server is told.
fn rows(generation: u64, changes: Vec<Change>) -> Result<Rows, PostgresTrouble> {
    let mut rows = Rows::of(&ChangeSet {
        generation,
        changes,
        ..ChangeSet::default()
    })?;
    rows.log = None;
    Ok(rows)
}

async fn put_texts(
    to: &Transaction<'_>,
    from: &dyn Udb,
    stored: &Stored,
) -> Result<(), PostgresTrouble> {
    for sha256 in &stored.texts {
        let text = from.text(sha256).await.map_err(PostgresTrouble::Refused)?;
        let text = text.ok_or_else(|| differs(&format!("the text {sha256}")))?;
        let kept = KeptText {
            sha256: sha256.clone(),
            text,
        };
        put_facts(to, &rows(0, vec![Change::Text(kept)])?).await?;
    }
    Ok(())
}

async fn put_history(to: &Transaction<'_>, from: &dyn Udb) -> Result<u64, PostgresTrouble> {
    let (mut after, mut entries) = (0, 0);
    loop {
        let page = from.events(after, AT_ONCE).await;
        let page = page.map_err(PostgresTrouble::Refused)?;
        let Some(last) = page.last() else {
            return Ok(entries);
        };
        after = last.sequence;
        entries += u64::try_from(page.len()).unwrap_or(u64::MAX);
        let page = page.into_iter().map(Change::Event).collect();
        put_events(to, &rows(0, page)?).await?;
    }
}

/// The numbers go on where they were: agents compare them with what they have seen.
async fn put_head(to: &Transaction<'_>, stored: &Stored) -> Result<(), PostgresTrouble> {
    let mark = CommitMark {
        generation: stored.generation,
        mark: rand::random(),
    };
    to.execute_typed(
        "UPDATE upstart.head SET generation = $1, mark = $2, view = $3, last_node = $4, last_permit = $5",
        &[
            (&number(mark.generation), Type::INT8),
            (&mark.mark, Type::INT8),
            (&number(stored.view), Type::INT8),
            (&i64::from(stored.last_node.0), Type::INT8),
            (&number(stored.last_permit.0), Type::INT8),
        ],
    )
    .await?;
    // Where no commit ever was, there is one already.
    if mark.generation > 0 {
        put_commit(to, mark, stored.view, &rows(mark.generation, Vec::new())?).await?;
    }
    Ok(())
}

/// Reads everything back, and compares it with what it was made of.
async fn compare(
    to: &Transaction<'_>,
    from: &dyn Udb,
    stored: &Stored,
) -> Result<(), PostgresTrouble> {
    let (found, _) = read::load_in(to).await?;
    if found != *stored {
        return Err(differs("the state"));
    }
    for sha256 in &stored.texts {
        let text = from.text(sha256).await.map_err(PostgresTrouble::Refused)?;
        if read::kept_text(to.client(), sha256).await? != text {
            return Err(differs(&format!("the text {sha256}")));
        }
    }
    let mut after = 0;
    loop {
        let page = from.events(after, AT_ONCE).await;
        let page = page.map_err(PostgresTrouble::Refused)?;
        if read::events(to.client(), after, AT_ONCE).await? != page {
            return Err(differs("the history"));
        }
        match page.last() {
            Some(last) => after = last.sequence,
            None => return Ok(()),
        }
    }
}

fn differs(what: &str) -> PostgresTrouble {
    PostgresTrouble::Refused(UdbError::Failed(format!(
        "{what} was not read back as it was written; nothing is changed"
    )))
}

#[cfg(test)]
mod tests;
