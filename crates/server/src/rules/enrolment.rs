//! A node makes itself known, and learns where it joins.

use super::{Applicant, Draft, identities, set_back};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::Change;
use model::api::{Disagreement, EnrolRequest, Enrolled, EventKind, NodeFact};
use model::expression::NodeScope;
use model::ids::{NodeId, Version};
use model::names;
use model::release::Lineage;
use std::sync::Arc;

/// The longest name, class, attribute or host, in bytes: they travel in every view.
const TEXT_BYTES_MAX: usize = 256;

/// The most attributes of a node: they travel in every view.
const ATTRIBUTES_MAX: usize = 64;

/// The longest data directory, in bytes (PATH_MAX).
const PATH_BYTES_MAX: usize = 4096;

/// How far above the last number that is known here a node may have had its own.
const GAP_MAX: u32 = 100_000;

/// The most nodes of a system: what one server's memory and views are made for.
const NODES_MAX: usize = 100_000;

/// Enrols a node; a known name gets its number again.
pub(super) fn enrol(
    draft: &mut Draft<'_>,
    request: &EnrolRequest,
    applicant: Option<&Applicant>,
) -> Result<Enrolled, RequestRefusal> {
    check(request)?;
    let Some((system, system_id)) = draft.state.system.clone() else {
        return Err(refuse(
            Kind::NO_SYSTEM,
            "This server has no system yet: publish version 1 first (`upstart publish DIR`), then enrol nodes.",
        ));
    };
    let system_id = adopted(draft, request, &system, system_id);
    if request.system_id.is_some_and(|its| its != system_id) {
        return Err(refuse(
            Kind::ENROLMENT_CONFLICT,
            format!(
                "Node `{}` is of another system than this server's `{system}`; give the agent the address of its own server, or begin a new node with an empty data directory.",
                request.name
            ),
        ));
    }
    let scope = NodeScope {
        name: request.name.clone(),
        class: request.class.clone(),
        attributes: request.attributes.clone(),
    };
    let lineage = draft
        .state
        .history
        .lineage(&scope, None)
        .map_err(|error| refuse(Kind::UNKNOWN_CLASS, format!("{error}.")))?;
    let join_version = join_version(draft, &lineage)?;
    let known = draft.state.names.get(&request.name);
    let known = known.and_then(|node| draft.state.nodes.get(node));
    let records = known.map_or(0, |fact| fact.report.records);
    if known.is_none() {
        agrees(draft, request)?;
    }
    let known = known.cloned();
    let (seen, remembered) = (request.moment.as_ref(), request.remembered.as_deref());
    set_back::hear(draft, seen, remembered)?;
    let node = match known {
        Some(fact) => again(draft, &fact, request)?,
        None => first(draft, request)?,
    };
    let certified = match applicant {
        Some(applicant) => Some(identities::certify(draft, applicant)?),
        None => None,
    };
    Ok(Enrolled {
        node,
        system,
        system_id,
        join_version,
        records,
        moment: draft.state.moment(),
        certified,
    })
}

/// The system's number: where an empty database has taken the place of the nodes' own, the first of them brings it along.
fn adopted(draft: &mut Draft<'_>, request: &EnrolRequest, system: &str, here: u64) -> u64 {
    let remembered = request.remembered.as_deref();
    let is_its = remembered.is_some_and(|remembered| remembered.system == system);
    match request.system_id {
        // No label carries the number that this database has made up: nobody is enrolled.
        Some(id) if is_its && id != here && draft.state.last_node == NodeId(0) => {
            let name = system.to_owned();
            draft.change(Change::System { name, id });
            id
        }
        _ => here,
    }
}

/// A node that this server does not know may run what is not published yet, but nothing else under the number of what is.
fn agrees(draft: &Draft<'_>, request: &EnrolRequest) -> Result<(), RequestRefusal> {
    let found = draft.state.disagreement_of(&request.holds);
    let Some(found) = found.filter(Disagreement::differs) else {
        return Ok(());
    };
    Err(refuse(
        Kind::ENROLMENT_CONFLICT,
        format!(
            "Node `{}` has another upgrade {} than the one that is published here. It serves on, and is no member of the system: put the server's database back once more and publish what the node runs, then the other as the next version; or begin the node with an empty data directory.",
            request.name,
            found.place()
        ),
    ))
}

fn check(request: &EnrolRequest) -> Result<(), RequestRefusal> {
    let invalid = |detail: &str| Err(refuse(Kind::INVALID, detail));
    if let Some(why) = names::fault(&request.name) {
        return invalid(&format!("A node's name {why}."));
    }
    let texts = request
        .attributes
        .iter()
        .flat_map(|(key, value)| [key, value]);
    let mut texts = texts.chain([&request.class, &request.host]);
    if texts.any(|text| text.len() > TEXT_BYTES_MAX) {
        return invalid("A class, host, attribute or its value is longer than 256 bytes.");
    }
    if request.attributes.len() > ATTRIBUTES_MAX {
        return invalid("A node has at most 64 attributes.");
    }
    if request.data_directory.len() > PATH_BYTES_MAX {
        return invalid("The data directory is longer than 4096 bytes.");
    }
    Ok(())
}

/// The newest version at which a node of the class has settled, else the oldest in use that has the class.
fn join_version(draft: &Draft<'_>, lineage: &Lineage) -> Result<Version, RequestRefusal> {
    let state = draft.state;
    let class_at = |version| lineage.class(version).map(|class| class.name.clone());
    let in_use =
        |version: &Version| *version > state.retiring_through && !state.withdrawn.contains(version);
    // What runs at a node that disagrees is not what is published here.
    let disagreeing = |version: Version, class: &str| {
        let nodes = state.disagreeing.keys();
        let facts = nodes.filter_map(|node| state.nodes.get(node));
        let there = facts.filter(|fact| fact.report.status.version == version);
        there
            .filter(|fact| state.class_at(fact, version).as_deref() == Some(class))
            .count()
    };
    let versions = lineage.versions().iter().rev().copied();
    let settled = versions.filter(in_use).find(|version| {
        let class = class_at(*version);
        class.is_some_and(|class| {
            let nodes = state.fleet.standings().nodes_at(*version, &class);
            nodes > disagreeing(*version, &class)
        })
    });
    let oldest = || {
        let mut versions = lineage.versions().iter().copied().filter(in_use);
        versions.find(|version| lineage.class(*version).is_some())
    };
    settled.or_else(oldest).ok_or_else(|| {
        refuse(
            Kind::UNKNOWN_CLASS,
            "Every version with this class is retired or withdrawn; enrol the node with a class of the newest version.",
        )
    })
}

/// A known name: the same node, unless somebody else stands under that name.
fn again(
    draft: &mut Draft<'_>,
    fact: &NodeFact,
    request: &EnrolRequest,
) -> Result<NodeId, RequestRefusal> {
    let now = draft.state.class_at(fact, fact.report.status.version);
    if fact.class != request.class && now.as_ref() != Some(&request.class) {
        return Err(refuse(
            Kind::ENROLMENT_CONFLICT,
            format!(
                "Node `{}` is enrolled with class `{}`, not `{}`; choose another name, or `upstart forget` the node first.",
                fact.name, fact.class, request.class
            ),
        ));
    }
    let moved = fact.host != request.host || fact.data_directory != request.data_directory;
    if moved && fact.reachable {
        return Err(refuse(
            Kind::ENROLMENT_CONFLICT,
            format!(
                "Node `{}` was heard at {}:{} less than {} s ago; choose another name, or, where its directory was moved, start the agent again when that time is over.",
                fact.name,
                fact.host,
                fact.data_directory,
                draft.context.patience_ms(fact).div_ceil(1_000)
            ),
        ));
    }
    let renewed = NodeFact {
        attributes: request.attributes.clone(),
        host: request.host.clone(),
        data_directory: request.data_directory.clone(),
        ..fact.clone()
    };
    if renewed == *fact {
        return Ok(fact.node);
    }
    let message = format!("{} enrolled again at {}", fact.name, request.host);
    draft.change(Change::Node(Arc::new(renewed)));
    draft.event_by(
        fact.name.clone(),
        EventKind::NodeEnrolled,
        Some(fact.node),
        None,
        message,
    );
    Ok(fact.node)
}

fn first(draft: &mut Draft<'_>, request: &EnrolRequest) -> Result<NodeId, RequestRefusal> {
    if draft.state.nodes.len() >= NODES_MAX {
        return Err(refuse(
            Kind::INVALID,
            format!("The system has {NODES_MAX} nodes, the most that one server keeps."),
        ));
    }
    let state = draft.state;
    let free = |node: &NodeId| {
        let possible = 1..=state.last_node.0.saturating_add(GAP_MAX);
        possible.contains(&node.0)
            && !state.nodes.contains_key(node)
            && !state.forgotten.contains_key(node)
    };
    // Labels of its connections carry the number that it had.
    let node = request.node.filter(free);
    let node = node.unwrap_or(NodeId(state.last_node.0 + 1));
    draft.change(Change::Node(Arc::new(NodeFact {
        node,
        name: request.name.clone(),
        class: request.class.clone(),
        attributes: request.attributes.clone(),
        host: request.host.clone(),
        data_directory: request.data_directory.clone(),
        seen_at_ms: draft.now_ms(),
        reachable: true,
        ..NodeFact::default()
    })));
    let message = format!("{} enrolled as {}", request.name, request.class);
    draft.event_by(
        request.name.clone(),
        EventKind::NodeEnrolled,
        Some(node),
        None,
        message,
    );
    Ok(node)
}
