//! Several servers over one PostgreSQL database: any of them may end at any moment.

use crate::harness::{Boxes, Caller, Node, NodeOptions, Postgres, System, until_ok};
use model::ids::Version;

/// How often a server is killed during the upgrade at least.
const KILLS_MIN: usize = 6;

#[test]
fn an_upgrade_ends_though_its_servers_are_killed_in_turn() {
    let test = "an_upgrade_ends_though_its_servers_are_killed_in_turn";
    let Some(postgres) = Postgres::start(test) else {
        return;
    };
    let mut system = System::start_over(&postgres.url());
    system.publish(&Boxes::version(1).bundle());
    let nodes = started(&system, &["a", "b", "c"]);
    for (number, node) in (1..).zip(&nodes) {
        let mut caller = system.member(system.port(number), 1).expect("connected");
        caller.put("apples", i64::from(number)).expect("stored");
        system.until_settled(node, 1);
    }
    let slow = Boxes::version(2)
        .transform_argument("sleep_ms=1500")
        .schedule("max_unavailable = 1");
    system.publish(&slow.bundle());
    let mut kills = 0;
    until_ok("all to be upgraded", || {
        let behind = behind(&system);
        if behind == 0 {
            return Ok(());
        }
        kill_one(&mut system, kills);
        kills += 1;
        Err(format!("{behind} are behind after {kills} kills"))
    });
    assert!(kills >= KILLS_MIN, "only {kills} kills");
    for (number, node) in (1..).zip(&nodes) {
        system.until_settled(node, 2);
        let mut caller = system.member(system.port(number), 2).expect("connected");
        let kept = caller.get("apples").expect("answers");
        assert_eq!(kept, Some(i64::from(number)));
        assert_eq!(system.events_of(node, "permit.confirmed").len(), 1);
        assert_eq!(system.events_of(node, "node.unreachable"), []);
    }
    never_two_permits(&system);
}

fn started(system: &System, names: &[&str]) -> Vec<Node> {
    let nodes: Vec<Node> = (1..)
        .zip(names)
        .map(|(number, name)| system.node(NodeOptions::new(name, system.port(number))))
        .collect();
    for node in &nodes {
        system.until_settled(node, 1);
    }
    nodes
}

fn behind(system: &System) -> usize {
    let view = system.view();
    let nodes = view.nodes.iter();
    nodes
        .filter(|node| node.report.status.version < Version(2))
        .count()
}

/// Kills one of the servers, sees that the other answers, and starts it again.
fn kill_one(system: &mut System, turn: usize) {
    let is_first = turn.is_multiple_of(2);
    let victim = |system: &mut System| {
        if is_first {
            system.server.kill();
        } else {
            system.others[0].kill();
        }
    };
    victim(system);
    let answered = system.view();
    assert_eq!(answered.nodes.len(), 3);
    if is_first {
        system.server.resume();
    } else {
        system.others[0].resume();
    }
}

/// Reads the history: at no moment did two nodes hold a permit.
fn never_two_permits(system: &System) {
    let mut held = 0;
    for event in system.events() {
        match event.kind.as_str() {
            "permit.acquired" => held += 1,
            "permit.ended" | "permit.expired" => held -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&held), "{held} at once: {event:?}");
    }
}

/// Which server a caller asks makes no difference; a database that is away is told, and nobody needs to be started again.
#[test]
fn servers_whose_database_ends_refuse_for_a_while_and_go_on() {
    let test = "servers_whose_database_ends_refuse_for_a_while_and_go_on";
    let Some(mut postgres) = Postgres::start(test) else {
        return;
    };
    let system = System::start_over(&postgres.url());
    system.publish(&Boxes::version(1).bundle());
    let nodes = started(&system, &["a"]);
    postgres.kill();
    let refused = system.try_ask(system.client.resume());
    let refused = refused.expect_err("nothing can be stored").to_string();
    assert!(refused.contains("PostgreSQL cannot be used"), "{refused}");
    assert!(system.view().trouble.is_some(), "the status tells it");
    let mut caller = Caller::labelled(system.port(1), system.view().system_id, 1).expect("serves");
    caller.put("apples", 1).expect("nodes go on");
    postgres.resume();
    until_ok("the servers to store again", || {
        system.try_ask(system.client.resume()).map(drop)
    });
    until_ok("no trouble", || match system.view().trouble {
        None => Ok(()),
        Some(trouble) => Err(trouble),
    });
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&nodes[0], 2);
}
