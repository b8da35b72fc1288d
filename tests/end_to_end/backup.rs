//! The server's database is saved while it works, and restored, or moved to PostgreSQL.

use crate::harness::{Boxes, NodeOptions, Postgres, System, until, upstart};
use model::ids::Version;
use std::path::Path;
use std::process::Output;

fn database(action: &str, copy: &Path, data: &Path) -> Output {
    let mut command = upstart();
    command.args(["database", action]).arg(copy);
    let output = command.arg("--data").arg(data).output();
    output.expect("it runs")
}

#[test]
fn a_backup_is_taken_while_the_server_works_and_restored_when_it_has_ended() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_settled(&node, 1);
    let copy = system.folder().join("copy");
    let data = system.server.data().to_owned();
    let saved = database("backup", &copy, &data);
    assert!(saved.status.success(), "{saved:?}");
    system.ask(system.client.resume());
    let second = Boxes::version(2).schedule("approval = true").bundle();
    system.publish(&second);
    system.until_staged(&node, 2);
    let refused = database("restore", &copy, &data);
    assert!(!refused.status.success(), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("another server uses the data directory"),
        "{told}"
    );
    system.server.kill();
    let restored = database("restore", &copy, &data);
    assert!(restored.status.success(), "{restored:?}");
    system.server.resume();
    let view = system.view();
    assert_eq!(view.upgrades.len(), 1, "{:?}", view.upgrades);
    system.publish(&second);
    until("the server to find that it was set back", || {
        system.view().paused.map(drop)
    });
    system.ask(system.client.resume());
    system.approve(2, None);
    let fact = system.until_settled(&node, 2);
    assert_eq!(fact.report.status.version, Version(2));
}

#[test]
fn a_database_is_moved_to_postgresql_by_a_command_once_its_server_has_ended() {
    let test = "a_database_is_moved_to_postgresql_by_a_command_once_its_server_has_ended";
    let Some(postgres) = Postgres::start(test) else {
        return;
    };
    let mut system = System::with(&Boxes::version(1).bundle());
    let data = system.server.data().to_owned();
    let moved = |data: &Path| {
        let mut command = upstart();
        command.args(["database", "move", "--to", &postgres.url()]);
        let output = command.arg("--data").arg(data).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = moved(&data);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("another server uses the data directory"),
        "{said}"
    );
    assert!(said.contains("end that server first"), "{said}");
    system.server.kill();
    let (code, said) = moved(&data);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("PostgreSQL has it all: 1 revisions, 0 nodes"),
        "{said}"
    );
    let found = postgres.sql("SELECT count(*) FROM upstart.facts WHERE kind = 'upgrade'");
    assert_eq!(found, "1");
    std::fs::rename(data.join("udb.moved"), data.join("udb.sqlite")).expect("kept");
    let (code, said) = moved(&data);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the database is not empty"), "{said}");
    assert!(said.contains("nothing is changed"), "{said}");
}
