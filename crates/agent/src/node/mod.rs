//! One node under its agent. What an agent does is divided among owners, each with its state in a file of its own; [`Node`] holds them
//! together, and none of them knows it.
//!
//! To follow an upgrade: `catalog_updates` hear of it, the main loop (`main_loop`) tells the node machine of `model`, and performs what
//! that asks for. Beside everything else the bundle is brought (`staging`). Then one action after the other (`actions`): the ports of
//! the new version are opened (`align`), the schedule is asked and a permit acquired (`permits`), calls are held (`held_calls`), the
//! software's listeners kept (`held_listeners`), the software stopped (`child`), its state transformed on a copy (`transform_state`) and
//! flipped (`state_directory`), the new software started and probed (`child`, `commands`), the node released (`release`).

mod actions;
mod adapters;
mod agent_error;
mod artifacts;
mod assembly;
mod bundles;
mod catalog_updates;
mod child;
mod claiming;
mod clock;
pub(crate) mod data_directory;
mod disk_space;
mod doubting;
mod enrolment;
mod fault;
mod held_calls;
mod held_listeners;
mod held_upgrades;
mod hook_table;
mod inspection;
mod labelling;
mod main_loop;
mod membership;
mod once;
mod rendering;
mod report;
mod scrape;
mod staging;
mod start;
mod state_directory;
mod stopping;
mod surroundings;

pub use agent_error::AgentError;
pub use claiming::{Claimed, claim};
pub use start::run;
pub use stopping::{Runner, runner, stop};

use crate::control::RecordableNode;
use crate::relay::{Recorders, Relay};
use adapters::NodeAdapters;
use bundles::Bundles;
use catalog_updates::CatalogUpdate;
use child::ChildKeeper;
use doubting::Doubting;
use held_calls::HeldCalls;
use held_listeners::HeldListeners;
use hook_table::HookTable;
use inspection::Inspection;
use labelling::Labelling;
use membership::Membership;
use model::bundle::Protocol;
use model::ids::Version;
use rendering::Rendering;
use state_directory::StateDirectory;
use std::path::Path;
use std::sync::Arc;
use surroundings::Surroundings;

/// The owners, from those that need no other to those that need most.
struct Node {
    surroundings: Arc<Surroundings>,
    /// The connections that come to the agent, and how calls are treated.
    relay: Arc<Relay>,
    hook_table: Arc<HookTable>,
    labelling: Arc<Labelling>,
    membership: Arc<Membership>,
    doubting: Arc<Doubting>,
    child: Arc<ChildKeeper>,
    inspection: Arc<Inspection>,
    listeners: Arc<HeldListeners>,
    bundles: Arc<Bundles>,
    rendering: Rendering,
    state: Arc<StateDirectory>,
    adapters: NodeAdapters,
    held_calls: Arc<HeldCalls>,
}

impl Node {
    /// Takes in what the repository says: routes and public versions follow.
    fn take_in(&self, update: &CatalogUpdate) {
        let traffic = &self.relay.traffic;
        traffic.change(|picture| picture.follow(update.catalog.clone(), &update.view));
        self.hook_table.publish();
    }
}

impl RecordableNode for Node {
    fn data(&self) -> &Path {
        self.surroundings.layout.root()
    }

    fn recorders(&self) -> &Recorders {
        &self.relay.recorders
    }

    fn version(&self) -> Version {
        self.relay.traffic.picture().standing.version
    }

    fn services(&self) -> (String, Vec<(String, Protocol)>) {
        self.relay.traffic.picture().services()
    }

    fn show_recording(&self) {
        self.hook_table.publish();
    }
}
