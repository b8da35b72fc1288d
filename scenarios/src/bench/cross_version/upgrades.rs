//! The system of the benchmark: a server that goes through all versions, each with another interface, and load makers of
//! classes that stay behind: each reaches the server through a chain of its own length.

use super::forms::{SIZES, SOFTWARE, name, prefix};
use super::hops;
use crate::bench::runner;
use crate::bench::stage::{Stage, program};
use crate::demo::system::DemoSystem;
use anyhow::Context;
use harness::NodeOptions;
use model::api::SystemView;
use model::ids::Version;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A class of load makers, and how many adapters are between them and the server.
pub(in crate::bench) type Callers = [(&'static str, usize)];

/// How long a node may take to reach its next version: a component of Python is compiled meanwhile.
const VERSION_LIMIT: Duration = Duration::from_secs(180);

/// The adapter's file in a bundle.
const ADAPTER: &str = "rename.adapter.toml";

/// What translates between the versions.
#[derive(Clone, Debug)]
pub(in crate::bench) enum Adapters {
    /// A lens.
    Lens,
    /// Components: the one that leads to even versions, then the one that leads to odd ones.
    Components([Component; 2]),
}

/// A component that is built, with its declaration.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Component {
    /// The declaration's text.
    pub(in crate::bench) declaration: String,
    /// The component's file, by the name that the declaration gives it.
    pub(in crate::bench) file: PathBuf,
}

impl Adapters {
    /// Writes the adapter of a version into its bundle.
    fn write(&self, folder: &Path, version: usize) -> anyhow::Result<()> {
        let text = match self {
            Self::Lens => lens(version),
            Self::Components(both) => {
                let Component { declaration, file } = &both[version % 2];
                let name = file.file_name().context("a component has a name")?;
                fs::copy(file, folder.join(name))
                    .with_context(|| format!("cannot copy {}", file.display()))?;
                declaration.clone()
            }
        };
        fs::write(folder.join(ADAPTER), text).context("cannot write an adapter")
    }
}

/// The class of the server.
pub(in crate::bench) const SERVER: &str = "web";

/// Publishes everything, starts the nodes, and waits until the server is at the newest version and its callers where
/// they stay.
pub(in crate::bench) async fn start(
    stage: &Stage<'_>,
    binary: PathBuf,
    port: u16,
    adapters: &Adapters,
    callers: &Callers,
) -> anyhow::Result<()> {
    let system = DemoSystem::start(stage.place, Arc::clone(stage.processes), binary).await?;
    for version in 1..=SOFTWARE {
        let folder = stage.place.folder(&format!("bundles/v{version}"))?;
        write(&folder, version, port, callers)?;
        if version > 1 {
            adapters.write(&folder, version)?;
        }
        system.publish(&folder, false)?;
        if version == 1 {
            start_agent(&system, stage, SERVER)?;
            for (class, _) in callers {
                start_agent(&system, stage, class)?;
            }
        }
        wait(&system, version, callers).await?;
    }
    Ok(())
}

/// Where the load makers of a class are asked.
pub(in crate::bench) fn socket(stage: &Stage<'_>, class: &str) -> PathBuf {
    stage.place.root.join(format!("{class}.sock"))
}

fn start_agent(system: &DemoSystem, stage: &Stage<'_>, class: &'static str) -> anyhow::Result<()> {
    let node = NodeOptions::of(class, class)
        .variable("socket", socket(stage, class).display())
        .poll_ms(500);
    // One thread, as every other hop has.
    system.start_agent_with(&node, &["--call-threads", "1"])
}

/// Waits until everybody stands where they belong once a version is published.
async fn wait(system: &DemoSystem, version: usize, callers: &Callers) -> anyhow::Result<()> {
    let stands = |view: &SystemView, class: &str, at: usize| {
        view.nodes.iter().any(|fact| {
            let status = &fact.report.status;
            fact.class == class
                && Ok(status.version) == u32::try_from(at).map(Version)
                && Ok(status.staged) == u32::try_from(version).map(Version)
        })
    };
    let all = |view: &SystemView| {
        let callers = callers
            .iter()
            .all(|(class, chain)| stands(view, class, version.min(SOFTWARE - chain)));
        callers && stands(view, SERVER, version)
    };
    let what = format!("the server is at version {version}");
    system.wait(&what, VERSION_LIMIT, all).await?;
    Ok(())
}

/// Writes the bundle of a version.
fn write(folder: &Path, version: usize, port: u16, callers: &Callers) -> anyhow::Result<()> {
    let software = folder.join("software");
    fs::create_dir_all(&software)?;
    fs::write(software.join(runner::FILE), runner::SOURCE)?;
    fs::write(software.join("nginx.conf"), hops::server(version, port))?;
    let text = upgrade(version, port, &program("nginx")?, callers);
    fs::write(folder.join("upgrade.toml"), text).context("cannot write the upgrade file")
}

/// The upgrade file of a version: all classes in the first, then the server anew, and the callers wait for an approval
/// that never comes.
fn upgrade(version: usize, port: u16, nginx: &str, callers: &Callers) -> String {
    let mut text = format!("system = \"bench\"\nversion = {version}\n");
    if version > 1 {
        text.push_str(&format!("from = {}\n", version - 1));
    }
    let interface = match version {
        1 => String::new(),
        _ => format!("interface = \"changed\"\nadapter = \"{ADAPTER}\"\n"),
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
    for (class, chain) in callers {
        let schedule = match version {
            1 => "",
            _ if version > SOFTWARE - chain => "[class.CLASS]\nschedule = { approval = true }\n",
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
    let (old, new) = (name(version - 1), name(version));
    let (old_prefix, new_prefix) = (prefix(version - 1), prefix(version));
    let sizes: Vec<&str> = SIZES.iter().map(|(size, _)| *size).collect();
    format!(
        "description = \"`{old}` becomes `{new}` ({})\"

[[operation]]
old = \"POST {old_prefix}items/{{size}}\"
new = \"POST {new_prefix}items/{{size}}\"
request = [{{ old = \"body.{old}\", new = \"body.{new}\" }}]

[[operation.response]]
status = 200
rules = [{{ old = \"body.{old}\", new = \"body.{new}\" }}]
",
        sizes.join(", ")
    )
}
