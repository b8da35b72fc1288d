//! The tables, and how older databases become newer ones.
//!
//! The head knows the schema, and every commit looks at it: a server of an older program commits nothing any more once a newer
//! one has brought the schema up to date.

use super::trouble::PostgresTrouble;
use crate::udb::UdbError;
use deadpool_postgres::Object;
use tokio_postgres::Transaction;

/// One script per step; the head's `schema` counts those that it has seen. Never change a script that was released.
pub(super) const STEPS: &[&str] = &["
    CREATE SCHEMA upstart;
    CREATE TABLE upstart.head (
        one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
        schema INTEGER NOT NULL,
        generation BIGINT NOT NULL,
        mark BIGINT NOT NULL,
        view BIGINT NOT NULL,
        last_node BIGINT NOT NULL,
        last_permit BIGINT NOT NULL
    );
    CREATE TABLE upstart.commits (
        generation BIGINT PRIMARY KEY,
        mark BIGINT NOT NULL,
        view BIGINT NOT NULL,
        changes TEXT
    );
    CREATE TABLE upstart.facts (
        kind TEXT COLLATE \"C\" NOT NULL,
        name TEXT COLLATE \"C\" NOT NULL,
        fact TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ) WITH (fillfactor = 60);
    CREATE TABLE upstart.events (sequence BIGINT PRIMARY KEY, event TEXT NOT NULL);
    CREATE TABLE upstart.keys (key TEXT COLLATE \"C\" PRIMARY KEY, at_ms BIGINT NOT NULL, record TEXT NOT NULL);
    CREATE INDEX keys_by_age ON upstart.keys (at_ms);
    INSERT INTO upstart.head (schema, generation, mark, view, last_node, last_permit) VALUES (0, 0, 0, 0, 0, 0);
    INSERT INTO upstart.commits (generation, mark, view, changes) VALUES (0, 0, 0, '[]');
", "
    -- Facts of two more kinds, 'identity' and 'invitation', which an older program must not overlook.
    SELECT 1;
", "
    -- Commits may say of many nodes at once that they were heard, which an older program does not understand.
    SELECT 1;
", "
    -- Facts of two more kinds, 'webhook' and 'webhook_place', which an older program must not overlook.
    SELECT 1;
"];

/// The lock under which the schema is changed.
const SCHEMA_LOCK: i64 = super::SWEEP_LOCK + 1;

/// The schema that this program knows.
pub(super) fn known() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

/// Refuses a schema of a newer program.
pub(super) fn check(found: i32) -> Result<(), PostgresTrouble> {
    let number = |schema: i32| u32::try_from(schema).unwrap_or(0);
    if found <= known() {
        return Ok(());
    }
    Err(PostgresTrouble::Refused(UdbError::Newer {
        found: number(found),
        known: number(known()),
    }))
}

/// Brings the schema up to date, in one transaction; of several servers that start, one does it.
pub(super) async fn migrate(client: &mut Object) -> Result<(), PostgresTrouble> {
    let transaction = client.transaction().await?;
    let lock = format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})");
    transaction.batch_execute(&lock).await?;
    let found = found(&transaction).await?;
    check(found)?;
    for (step, script) in STEPS
        .iter()
        .enumerate()
        .skip(usize::try_from(found).unwrap_or(0))
    {
        transaction.batch_execute(script).await?;
        let counted = format!("UPDATE upstart.head SET schema = {}", step + 1);
        transaction.batch_execute(&counted).await?;
    }
    Ok(transaction.commit().await?)
}

/// The schema that is there; zero where there is none.
async fn found(transaction: &Transaction<'_>) -> Result<i32, PostgresTrouble> {
    let there = "SELECT to_regclass('upstart.head') IS NOT NULL";
    let there: bool = transaction.query_typed_one(there, &[]).await?.try_get(0)?;
    if !there {
        return Ok(0);
    }
    let schema = "SELECT schema FROM upstart.head";
    Ok(transaction.query_typed_one(schema, &[]).await?.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::STEPS;
    use model::manifest::Digest;

    /// The steps that databases somewhere have seen.
    const LANDED: &[&str] = &[
        "fb3dc69a0b3e98be41b8391bd8c2515d89959259de58090f0a4f615eaad64582",
        "f6fb6d8dd5c7fc45975db5a00445dd7661b78d6523a6439d559b2015304a813a",
        "3d6066f3762b692ca4b1331020cd0f3a3d8e53afb5f0561e07079df3405f32e1",
        "b47c748f8a9f3f77fd73c978182704982aa2f9bfca29c55e6abc70abbed3e11f",
    ];

    #[test]
    fn no_step_that_has_landed_is_changed() {
        let steps = STEPS
            .iter()
            .map(|step| Digest::of(step.as_bytes()).to_string());
        let steps: Vec<String> = steps.collect();
        assert_eq!(
            steps, LANDED,
            "add a step, and its digest, in the place of changing one"
        );
    }
}
