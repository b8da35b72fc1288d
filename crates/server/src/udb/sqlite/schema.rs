//! The tables, and how older databases become newer ones.

use super::failed;
use crate::udb::UdbError;
use rusqlite::Connection;

/// One script per step; a database's `user_version` counts those it has seen. Never change a script that was released.
const STEPS: &[&str] = &["
    CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE texts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE upgrades (
        version INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        summary TEXT NOT NULL,
        PRIMARY KEY (version, revision)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE withdrawn (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE public (service TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE approvals (place INTEGER PRIMARY KEY, approval TEXT NOT NULL) STRICT;
    CREATE TABLE nodes (node INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, fact TEXT NOT NULL) STRICT;
    CREATE TABLE permits (permit INTEGER PRIMARY KEY, fact TEXT NOT NULL, expires_at_ms INTEGER) STRICT;
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        author TEXT NOT NULL,
        node TEXT,
        kind TEXT NOT NULL,
        version INTEGER,
        message TEXT NOT NULL
    ) STRICT;
    CREATE TABLE keys (
        key TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        reply TEXT NOT NULL,
        at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX keys_by_age ON keys (at_ms);
", "
    CREATE TABLE lives (
        number INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        life INTEGER NOT NULL,
        began_at INTEGER NOT NULL,
        lost INTEGER
    ) STRICT;
    CREATE TABLE forgotten (
        node INTEGER PRIMARY KEY,
        name TEXT NOT NULL
    ) STRICT;
    -- What was forgotten before was not noted by name.
    INSERT INTO forgotten (node, name)
        WITH RECURSIVE given (node) AS (
            SELECT 1 WHERE EXISTS (SELECT 1 FROM numbers WHERE name = 'last_node' AND value > 0)
            UNION ALL
            SELECT node + 1 FROM given WHERE node < (SELECT value FROM numbers WHERE name = 'last_node')
        )
        SELECT node, '' FROM given WHERE node NOT IN (SELECT node FROM nodes);
", "
    CREATE TABLE identities (principal TEXT PRIMARY KEY, fact TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE invitations (digest TEXT PRIMARY KEY, fact TEXT NOT NULL) STRICT, WITHOUT ROWID;
", "
    CREATE TABLE webhooks (name TEXT PRIMARY KEY, fact TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE webhook_places (name TEXT PRIMARY KEY, fact TEXT NOT NULL) STRICT, WITHOUT ROWID;
    ALTER TABLE events ADD COLUMN proven TEXT;
"];

/// The schema that is there; refuses that of a newer program.
pub(super) fn check(connection: &Connection) -> Result<u32, UdbError> {
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    let found: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    if found > known {
        return Err(UdbError::Newer { found, known });
    }
    Ok(found)
}

/// Brings the schema up to date, a transaction per step.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), UdbError> {
    let found = check(connection)?;
    for (step, script) in STEPS.iter().enumerate().skip(found as usize) {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(script).map_err(failed)?;
        transaction
            .pragma_update(None, "user_version", step + 1)
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::STEPS;
    use model::manifest::Digest;

    /// The steps that databases somewhere have seen.
    const LANDED: &[&str] = &[
        "234c2177cf9443a7b7bb97ae67d98f99e440196d82df51835a8d7e55ad179752",
        "ffd927314a6002fdb9c4f306829483826080db9092172ba69a00e5156c4e4fb6",
        "f46971b2236ce03c8e999ad3bb23a90caed455b7628269d271844c8a488356ee",
        "9e67d82909c6830613e1fdb292779c621079f92a9dc9e60d60db70015f852726",
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
