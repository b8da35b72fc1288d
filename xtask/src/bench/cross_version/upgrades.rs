//! The system of the benchmark: a server that goes through four versions, each with another interface, and load makers
//! of two classes that stay behind: one a version, one three.

use super::forms::{SIZES, SOFTWARE, name};
use super::hops;
use crate::bench::runner;
use crate::bench::stage::{START_LIMIT, Stage, program};
use crate::demo::system::{Node, System};
use anyhow::Context;
use model::api::SystemView;
use model::ids::Version;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The classes of the load makers, with the version at which they stay.
pub(super) const CALLERS: [(&str, usize); 2] = [("far", 1), ("near", SOFTWARE - 1)];

/// The class of the server.
pub(super) const SERVER: &str = "web";

/// Publishes everything, starts the nodes, and waits until the server is at the newest version and its callers where
/// they stay.
pub(super) async fn start(stage: &Stage<'_>, binary: PathBuf, port: u16) -> anyhow::Result<()> {
    let system = System::start(stage.place, Arc::clone(stage.processes), binary).await?;
    for version in 1..=SOFTWARE {
        let folder = stage.place.folder(&format!("bundles/v{version}"))?;
        write(&folder, version, port)?;
        system.publish(&folder, false)?;
        if version == 1 {
            for class in [SERVER, CALLERS[0].0, CALLERS[1].0] {
                start_agent(&system, stage, class)?;
            }
        }
        wait(&system, version).await?;
    }
    Ok(())
}

/// Where the load makers of a class are asked.
pub(super) fn socket(stage: &Stage<'_>, class: &str) -> PathBuf {
    stage.place.root.join(format!("{class}.sock"))
}

fn start_agent(system: &System, stage: &Stage<'_>, class: &'static str) -> anyhow::Result<()> {
    let node = Node {
        name: class.to_owned(),
        class,
        variables: vec![("socket", socket(stage, class).display().to_string())],
        poll_ms: 500,
    };
    // One thread, as every other hop has.
    system.start_agent_with(&node, &["--call-threads", "1"])
}

/// Waits until everybody stands where they belong once a version is published.
async fn wait(system: &System, version: usize) -> anyhow::Result<()> {
    let stands = |view: &SystemView, class: &str, at: usize| {
        view.nodes.iter().any(|fact| {
            let status = &fact.report.status;
            fact.class == class
                && Ok(status.version) == u32::try_from(at).map(Version)
                && Ok(status.staged) == u32::try_from(version).map(Version)
        })
    };
    let all = |view: &SystemView| {
        let callers = CALLERS
            .iter()
            .all(|(class, stays)| stands(view, class, version.min(*stays)));
        callers && stands(view, SERVER, version)
    };
    let what = format!("the server is at version {version}");
    system.wait(&what, START_LIMIT, all).await?;
    Ok(())
}

/// Writes the bundle of a version.
fn write(folder: &Path, version: usize, port: u16) -> anyhow::Result<()> {
    let software = folder.join("software");
    fs::create_dir_all(&software)?;
    fs::write(software.join(runner::FILE), runner::SOURCE)?;
    fs::write(software.join("nginx.conf"), hops::server(version, port))?;
    if version > 1 {
        fs::write(folder.join("lens.toml"), lens(version))?;
    }
    let text = upgrade(version, port, &program("nginx")?);
    fs::write(folder.join("upgrade.toml"), text).context("cannot write the upgrade file")
}

/// The upgrade file of a version: all classes in the first, then the server anew, and the callers wait for an approval
/// that never comes.
fn upgrade(version: usize, port: u16, nginx: &str) -> String {
    let mut text = format!("system = \"bench\"\nversion = {version}\n");
    if version > 1 {
        text.push_str(&format!("from = {}\n", version - 1));
    }
    let interface = match version {
        1 => "",
        _ => "interface = \"changed\"\nadapter = \"lens.toml\"\n",
    };
    text.push_str(&format!(
        "
[class.{SERVER}.software]
path = \"software\"
command = [\"{nginx}\", \"-c\", \"${{software}}/nginx.conf\", \"-p\", \"${{state}}\"]

[class.{SERVER}.service.items]
port = {port}
protocol = \"http\"
connections = \"stateless\"
{interface}
[class.{SERVER}.lifecycle]
probe = {{ http = \"/health\", service = \"items\" }}
stop_signal = \"QUIT\"
"
    ));
    for (class, stays) in CALLERS {
        let schedule = match version {
            1 => "",
            _ if version > stays => "[class.CLASS]\nschedule = { approval = true }\n",
            // Not mentioned: it takes the number without a restart.
            _ => continue,
        };
        let software = format!(
            "
{schedule}
[class.CLASS.software]
path = \"software\"
command = [\"python3\", \"${{software}}/runner.py\", \"${{vars.socket}}\"]

[class.CLASS.lifecycle]
probe = {{ alive_ms = 300 }}
"
        );
        text.push_str(&software.replace("CLASS", class));
    }
    text
}

/// The lens between a version and the one before.
fn lens(version: usize) -> String {
    let (before, old, new) = (version - 1, name(version - 1), name(version));
    let sizes: Vec<&str> = SIZES.iter().map(|(size, _)| *size).collect();
    format!(
        "description = \"`{old}` becomes `{new}` ({})\"

[[operation]]
old = \"POST /v{before}/items/{{size}}\"
new = \"POST /v{version}/items/{{size}}\"
request = [{{ old = \"body.{old}\", new = \"body.{new}\" }}]

[[operation.response]]
status = 200
rules = [{{ old = \"body.{old}\", new = \"body.{new}\" }}]
",
        sizes.join(", ")
    )
}
