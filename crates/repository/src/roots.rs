//! Roots: the first one, and what follows on one when keys come, go, or are given longer. Pure.

use crate::error::SignError;
use crate::keys::{PublicKey, short};
use crate::metadata::{ROLES, SPECIFICATION, next};
use crate::system::SystemIdentity;
use std::collections::HashMap;
use std::num::NonZeroU64;
use tough::schema::{RoleKeys, RoleType, Root};

/// The keys of a role and how many of them must sign.
#[derive(Clone, Debug)]
pub struct RoleRule {
    /// The role.
    pub role: RoleType,
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: u64,
}

/// What the next root changes.
#[derive(Clone, Debug, Default)]
pub struct RootChange {
    /// Keys that may sign for a role from now on.
    pub add: Vec<(RoleType, PublicKey)>,
    /// Keys that may not any more, in no role: by their numbers or the beginnings of these.
    pub remove: Vec<String>,
    /// How many must sign for a role.
    pub thresholds: Vec<(RoleType, u64)>,
}

/// System numbers keep to 53 bits, so that every reader of JSON keeps them exactly; zero stays free for "none".
const NUMBER_MASK: u64 = (1 << 53) - 1;

/// A new system of this name, with a number that is drawn.
///
/// # Errors
/// The name cannot be one, or there are no random numbers.
pub fn new_system(name: &str) -> Result<SystemIdentity, SignError> {
    if let Some(fault) = model::names::fault(name) {
        return Err(refused(
            format!("a system's name {fault}"),
            "give the name that upgrade.toml says",
        ));
    }
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| refused("there are no random numbers".to_owned(), "try again"))?;
    Ok(SystemIdentity {
        name: name.to_owned(),
        number: (u64::from_be_bytes(bytes) & NUMBER_MASK).max(1),
    })
}

/// The first root of a system.
pub(crate) fn first(
    system: &SystemIdentity,
    rules: &[RoleRule],
    expires: jiff::Timestamp,
) -> Result<Root, SignError> {
    let mut root = Root {
        spec_version: SPECIFICATION.to_owned(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: system.fields(),
    };
    for role in ROLES {
        let keys = RoleKeys {
            keyids: Vec::new(),
            threshold: NonZeroU64::MIN,
            _extra: HashMap::new(),
        };
        root.roles.insert(role, keys);
    }
    for rule in rules {
        for key in &rule.keys {
            add(&mut root, rule.role, key)?;
        }
        set_threshold(&mut root, rule.role, rule.threshold)?;
    }
    checked(root)
}

/// The root that follows on this one.
pub(crate) fn following(
    before: &Root,
    change: &RootChange,
    expires: jiff::Timestamp,
) -> Result<Root, SignError> {
    let mut root = before.clone();
    root.version = next(before.version);
    root.expires = expires;
    for (role, key) in &change.add {
        add(&mut root, *role, key)?;
    }
    for beginning in &change.remove {
        let id = named(&root, beginning)?;
        for keys in root.roles.values_mut() {
            keys.keyids
                .retain(|key| hex::encode(key.as_ref() as &[u8]) != id);
        }
    }
    for (role, threshold) in &change.thresholds {
        set_threshold(&mut root, *role, *threshold)?;
    }
    let used: Vec<_> = root
        .roles
        .values()
        .flat_map(|keys| keys.keyids.clone())
        .collect();
    root.keys.retain(|id, _| used.contains(id));
    checked(root)
}

/// The one key of a root whose number begins so.
pub(crate) fn named(root: &Root, beginning: &str) -> Result<String, SignError> {
    let ids = root.keys.keys().map(|id| hex::encode(id.as_ref() as &[u8]));
    let mut fitting = ids.filter(|id| !beginning.is_empty() && id.starts_with(beginning));
    match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(refused(
            format!("several keys' numbers begin with {beginning}"),
            "give more digits",
        )),
        (None, _) => Err(refused(
            format!("root {} has no key {beginning}", root.version),
            "`upstart keys list` shows the keys",
        )),
    }
}

fn add(root: &mut Root, role: RoleType, key: &PublicKey) -> Result<(), SignError> {
    let id = key.key.key_id().map_err(|error| {
        refused(
            format!("key {}: {error}", short(&key.id)),
            "use another key",
        )
    })?;
    root.keys.insert(id.clone(), key.key.clone());
    if let Some(keys) = root.roles.get_mut(&role)
        && !keys.keyids.contains(&id)
    {
        keys.keyids.push(id);
    }
    Ok(())
}

fn set_threshold(root: &mut Root, role: RoleType, threshold: u64) -> Result<(), SignError> {
    let threshold = NonZeroU64::new(threshold).ok_or_else(|| {
        refused(
            format!("at least one key must sign as {role}"),
            "give a number from 1",
        )
    })?;
    if let Some(keys) = root.roles.get_mut(&role) {
        keys.threshold = threshold;
    }
    Ok(())
}

/// A root in which every role can be signed for.
fn checked(root: Root) -> Result<Root, SignError> {
    for role in ROLES {
        let there = root.roles.get(&role).map_or(0, |keys| keys.keyids.len());
        let threshold = crate::sign::threshold(&root, role);
        if (there as u64) < threshold {
            return Err(refused(
                format!("{role} would have {there} keys, of which {threshold} must sign"),
                "add a key for each one that goes (`--add ROLE:FILE`), or lower the number (`--threshold ROLE:NUMBER`)",
            ));
        }
    }
    Ok(root)
}

fn refused(problem: String, advice: &'static str) -> SignError {
    SignError::Refused { problem, advice }
}
