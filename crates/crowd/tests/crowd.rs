//! A crowd before a real server: what it measures is what the server sees.

use crowd::{CrowdFigures, CrowdSays};
use harness::{Bundle, System};
use model::ids::Version;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

const NODES: u32 = 40;

struct CrowdProcess {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl CrowdProcess {
    fn start(system: &System) -> Self {
        let url = system.server.url();
        let mut child = Command::new(env!("CARGO_BIN_EXE_crowd"))
            .args(["--server", url.trim_start_matches("https://")])
            .arg("--token-file")
            .arg(system.server.data().join("token"))
            .args(["--nodes", &NODES.to_string(), "--group-nodes", "5"])
            .args([
                "--report-ms",
                "1000",
                "--away-ms",
                "100",
                "--query-ms",
                "200",
            ])
            .args(["--connections", "10"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, says }
    }

    fn tell(&mut self, order: &str) {
        let orders = self.child.stdin.as_mut().expect("piped");
        writeln!(orders, "{order}").expect("it listens");
    }

    /// Waits until it says what is wanted; the end of what it says is the end of the test.
    fn until<T>(&mut self, wanted: impl Fn(CrowdSays) -> Option<T>) -> T {
        loop {
            let mut line = String::new();
            let read = self.says.read_line(&mut line).expect("it speaks");
            assert!(read > 0, "the crowd has ended");
            let said = serde_json::from_str(&line).expect("it says what it may");
            if let Some(found) = wanted(said) {
                return found;
            }
        }
    }

    fn measured(&mut self) -> CrowdFigures {
        self.tell("end");
        self.until(|said| match said {
            CrowdSays::Measured(figures) => Some(*figures),
            _ => None,
        })
    }
}

impl Drop for CrowdProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bundle(version: u32) -> Bundle {
    let from = match version {
        1 => String::new(),
        version => format!("from = {}\n", version - 1),
    };
    Bundle::new(format!(
        "system = \"crowd\"\nversion = {version}\n{from}[class.storage]\nsoftware = {{ command = [\"true\"] }}\n\
         lifecycle.probe = {{ alive_ms = 1 }}\nschedule = {{ max_unavailable = 1, group_by = \"group\" }}\n"
    ))
}

#[test]
fn a_crowd_goes_through_an_upgrade_as_nodes_do_and_nothing_goes_wrong() {
    let system = System::start();
    system.publish(&bundle(1));
    let mut crowd = CrowdProcess::start(&system);
    crowd.until(|said| matches!(said, CrowdSays::Enrolled { .. }).then_some(()));
    crowd.until(|said| (said == CrowdSays::Here).then_some(()));
    crowd.tell("measure");
    system.publish(&bundle(2));
    let version = Version(2);
    crowd.until(|said| {
        matches!(said, CrowdSays::Told { version: told, .. } if told == version).then_some(())
    });
    crowd.until(|said| (said == CrowdSays::Settled { version }).then_some(()));
    let figures = crowd.measured();
    assert!(figures.errors.is_empty(), "{figures:?}");
    let nodes = u64::from(NODES);
    assert_eq!(
        (figures.upgraded, figures.permits.count),
        (nodes, nodes * 2)
    );
    assert!(figures.reports.count >= nodes * 4, "{figures:?}");
    assert!(figures.verdicts.count >= nodes, "{figures:?}");
    assert!(figures.fleet_queries.count >= 2, "{figures:?}");
    assert!(figures.reports.p99_ms > 0.0 && figures.reports.p99_ms >= figures.reports.p50_ms);
    let fleet = system.ask(system.client.fleet());
    let [standing] = &fleet.standings[..] else {
        panic!("{fleet:?}");
    };
    assert_eq!(
        (standing.version, standing.class.as_str()),
        (version, "storage")
    );
    assert_eq!([fleet.nodes, standing.nodes, standing.running], [nodes; 3]);
    assert_eq!(fleet.permits, 0);
    let view = system.view();
    assert!(
        view.nodes
            .iter()
            .all(|fact| fact.report.status.version == version)
    );
}
