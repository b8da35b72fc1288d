//! TLS with a real PostgreSQL, which takes nothing else from the net.

use super::super::Postgres;
use super::super::address::{self, Secrets};
use crate::udb::{Udb, UdbError, suite};
use harness::{DATABASE_NAME, GUEST, Postgres as Cluster};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Opens the database of a cluster, called by a name, with what its URL says of TLS.
async fn open(cluster: &Cluster, name: &str, tls: &str) -> Result<Postgres, UdbError> {
    let secrets = Secrets {
        password: Some(cluster.password().to_owned()),
        file: None,
    };
    let at = cluster.net_address();
    let user = if tls.contains("sslcert") {
        GUEST
    } else {
        "postgres"
    };
    let url = format!("postgres://{user}@{name}/upstart?hostaddr={at}&{tls}");
    Postgres::with(address::read(&url, &secrets)?).await
}

async fn told(cluster: &Cluster, name: &str, tls: &str) -> String {
    let opened = open(cluster, name, tls).await;
    opened.expect_err("refused").to_string()
}

#[tokio::test]
async fn a_database_is_spoken_with_over_tls_as_strictly_as_its_url_says() {
    let test = "a_database_is_spoken_with_over_tls_as_strictly_as_its_url_says";
    let Some(cluster) = Cluster::start_with_tls(test) else {
        return;
    };
    let root = cluster.root_certificate();
    let root = root.display();
    let full = format!("sslmode=verify-full&sslrootcert={root}");
    let by_authority = format!("sslmode=verify-ca&sslrootcert={root}");

    let udb = open(&cluster, DATABASE_NAME, &full).await.expect("opens");
    udb.commit(suite::commit(0, vec![suite::event(1, "first")]))
        .await
        .expect("commits");
    assert_eq!(udb.events(0, 10).await.expect("reads").len(), 1);
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'upstart' AND NOT ssl";
    assert_eq!(cluster.sql(plain), "0");
    drop(udb);

    // Another name: only who asks for the name minds.
    let said = told(&cluster, "other.example", &full).await;
    assert!(said.contains("not valid for name"), "{said}");
    for tls in [&by_authority, &full.replace("verify-full", "require")] {
        open(&cluster, "other.example", tls).await.expect("opens");
    }
    // Another authority: only who asks for one minds.
    let other = cluster.other_root_certificate();
    for mode in ["verify-full", "verify-ca", "require"] {
        let tls = format!("sslmode={mode}&sslrootcert={}", other.display());
        let said = told(&cluster, DATABASE_NAME, &tls).await;
        assert!(said.contains("UnknownIssuer"), "{mode}: {said}");
    }
    let said = told(&cluster, DATABASE_NAME, "sslmode=verify-full").await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    // Without a word TLS is spoken where it is offered, as PostgreSQL's own programs do.
    for tls in ["sslmode=require", "sslmode=prefer", ""] {
        open(&cluster, "other.example", tls).await.expect("opens");
    }
    let said = told(&cluster, DATABASE_NAME, "sslmode=disable").await;
    assert!(said.contains("no encryption"), "{said}");
}

#[tokio::test]
async fn a_password_is_proven_for_this_connection_alone() {
    let test = "a_password_is_proven_for_this_connection_alone";
    let Some(cluster) = Cluster::start_with_tls(test) else {
        return;
    };
    let bound = "sslmode=require&channel_binding=require";
    open(&cluster, DATABASE_NAME, bound).await.expect("opens");
}

/// A certificate that is its own root is trusted where the file has it, though it is no authority's.
#[tokio::test]
async fn a_certificate_that_is_its_own_root_is_trusted_by_name() {
    let test = "a_certificate_that_is_its_own_root_is_trusted_by_name";
    let Some(cluster) = Cluster::start_with_tls(test) else {
        return;
    };
    cluster.show_own_root();
    let own = format!(
        "sslmode=verify-full&sslrootcert={}",
        cluster.own_root_certificate().display()
    );
    open(&cluster, DATABASE_NAME, &own).await.expect("opens");
    let said = told(&cluster, "other.example", &own).await;
    assert!(said.contains("not valid for name"), "{said}");
    let by_root = format!(
        "sslmode=verify-ca&sslrootcert={}",
        cluster.root_certificate().display()
    );
    let said = told(&cluster, DATABASE_NAME, &by_root).await;
    assert!(said.contains("invalid peer certificate"), "{said}");
}

#[tokio::test]
async fn a_database_without_tls_is_refused_where_tls_is_asked_for() {
    let Some(cluster) =
        Cluster::start_with_tls("a_database_without_tls_is_refused_where_tls_is_asked_for")
    else {
        return;
    };
    cluster.end_tls();
    let said = told(&cluster, DATABASE_NAME, "sslmode=require").await;
    assert!(said.contains("does not support TLS"), "{said}");
}

#[tokio::test]
async fn a_server_shows_a_certificate_of_its_own_where_the_url_names_one() {
    let test = "a_server_shows_a_certificate_of_its_own_where_the_url_names_one";
    let Some(cluster) = Cluster::start_with_tls(test) else {
        return;
    };
    let [certificate, key] = cluster.guest();
    let shown = |certificate: &Path| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("sslmode=require&sslcert={certificate}&sslkey={key}")
    };
    let own = shown(&certificate);
    open(&cluster, DATABASE_NAME, &own).await.expect("opens");
    let unlike = shown(&cluster.other_root_certificate());
    let said = told(&cluster, DATABASE_NAME, &unlike).await;
    assert!(said.contains("TLS cannot be spoken"), "{said}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("opened");
    let said = told(&cluster, DATABASE_NAME, &own).await;
    assert!(said.contains("chmod 600"), "{said}");
}
