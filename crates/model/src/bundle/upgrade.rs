//! An upgrade as proved: every value checked, every expression compiled. Only this form travels inside.

use super::{Adapter, Class, Service};
use crate::expression::{Expression, Template};
use crate::ids::Version;
use crate::manifest::{BundleFiles, FORMAT, Manifest, ManifestFile};
use crate::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};

/// The step from one version of the system to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Upgrade {
    /// The system's name.
    pub system: String,
    /// The version that it leads to.
    pub version: Version,
    /// The version that it starts from; zero for the system's first.
    pub from: Version,
    /// What it brings, for people.
    pub description: String,
    /// What holds for the whole system during this upgrade.
    pub settings: Settings,
    /// The classes that it mentions; the others take the new number without a restart.
    pub classes: BTreeMap<String, ClassUpgrade>,
    /// The classes that end with it.
    pub removed: BTreeSet<String>,
    /// What is done once for the whole system when every node has settled at it, by name.
    pub once: BTreeMap<String, OnceCommand>,
}

/// What one node does for the whole system.
#[derive(Clone, Debug, PartialEq)]
pub struct OnceCommand {
    /// A node of this class does it.
    pub class: String,
    /// The program and its arguments; never empty, no shell.
    pub command: Vec<Template>,
    /// How long it may take, milliseconds.
    pub timeout_ms: u64,
}

/// What holds for the whole system during one upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// No node flips before every reachable node has staged.
    pub require_staged: bool,
    /// How long one call is held at most while no software runs, or while the node stages its version, milliseconds.
    pub hold_ms: u64,
    /// How many calls a node holds at most at once.
    pub held_calls_max: u32,
    /// How long a node waits for running adapter operations before it stops the software, milliseconds.
    pub drain_ms: u64,
    /// What callers of adapters may cost a node.
    pub calls: CallSettings,
}

/// What callers whose calls pass adapters may cost a node. Nothing of it holds for connections that are the software's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSettings {
    /// The longest head of a message of HTTP, in bytes.
    pub head_bytes_max: u32,
    /// The most fields of such a head.
    pub head_fields_max: u32,
    /// Until when a head that has begun must be there, milliseconds.
    pub head_ms: u64,
    /// How long a connection of HTTP may be idle, milliseconds.
    pub idle_ms: u64,
    /// The longest body or message that an adapter is given whole, in bytes.
    pub body_bytes_max: u32,
    /// How many bytes of such a body must come in a second, on the average of ten; zero: no matter how few.
    pub body_bytes_per_second_min: u32,
    /// How many bytes all calls of a node hold together.
    pub held_bytes_max: u64,
    /// How many connections a node serves through adapters at once.
    pub connections_max: u32,
    /// How many of them may come from one address.
    pub connections_per_address_max: u32,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 * 1024,
            head_fields_max: 128,
            head_ms: 30_000,
            idle_ms: 600_000,
            body_bytes_max: 16 * 1024 * 1024,
            body_bytes_per_second_min: 1024,
            held_bytes_max: 256 * 1024 * 1024,
            // Within the usual limit of descriptors, two for each connection.
            connections_max: 8192,
            connections_per_address_max: 4096,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            require_staged: true,
            hold_ms: 30_000,
            held_calls_max: 4096,
            drain_ms: 5_000,
            calls: CallSettings::default(),
        }
    }
}

/// What an upgrade says about one class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassUpgrade {
    /// The class from this version on.
    pub name: String,
    /// It is new: it has no nodes yet.
    pub added: bool,
    /// The class whose nodes it takes over, when that has another name.
    pub was: Option<String>,
    /// Which of these nodes, where a class splits.
    pub filter: Option<Expression>,
    /// When a node of it may upgrade.
    pub schedule: Schedule,
    /// What its nodes run; absent where it is only renamed or split and runs on as before.
    pub definition: Option<Class>,
}

impl Upgrade {
    /// Its manifest, as it would be published with these files.
    pub fn manifest(&self, files: &BundleFiles) -> Manifest {
        let files = files.iter().map(|(path, info)| ManifestFile {
            mode: info.mode,
            path: path.clone(),
            sha256: info.sha256,
            size: info.size,
        });
        Manifest {
            description: self.description.clone(),
            files: files.collect(),
            format: FORMAT,
            from: self.from,
            system: self.system.clone(),
            version: self.version,
        }
    }

    /// The services between whose versions this file of an adapter stands.
    pub fn services_of(&self, file: &str) -> Vec<&Service> {
        let classes = self.classes.values();
        let definitions = classes.filter_map(|class| class.definition.as_ref());
        let services = definitions.flat_map(|class| class.services.values());
        let named = |adapter: &Adapter| matches!(adapter, Adapter::File(path) if path == file);
        services
            .filter(|service| named(&service.past) || named(&service.future))
            .collect()
    }

    /// Every file of an adapter that it names, lens or declaration of a component, once.
    pub fn adapter_files(&self) -> BTreeSet<&str> {
        let classes = self
            .classes
            .values()
            .filter_map(|class| class.definition.as_ref());
        let services = classes.flat_map(|class| class.services.values());
        services
            .flat_map(|service| [&service.past, &service.future])
            .filter_map(|adapter| match adapter {
                Adapter::File(path) => Some(path.as_str()),
                Adapter::None | Adapter::Refuse => None,
            })
            .collect()
    }
}
