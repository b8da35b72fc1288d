//! The file that declares a component as an adapter: which component, what it may use, what its operations are.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::DeTable;

use call::Form;

use crate::operation::{ComponentOperation, Exclusion, Which};
use declaration::DeclarationError;
use declaration::expression::MeteredExpression;
use declaration::reader::{Section, Source, TomlNode};
use model::bundle::Protocol;

/// Most operations of a component: they are searched one by one.
const OPERATIONS_MAX: usize = 4096;
/// Most calls that one call may make: each is a round trip to the software.
const DELEGATES_MAX: i64 = 1000;
/// Longest a call may compute.
const TIME_MS_MAX: i64 = 60_000;
/// Largest memory: what a component can address.
const MEMORY_MIB_MAX: i64 = 4096;
/// Most state; it is given to the transform as one file.
const STATE_MIB_MAX: i64 = 64 * 1024;
/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

const KEYS: [&str; 4] = ["component", "description", "limits", "operation"];
const LIMITS: [&str; 3] = ["time_ms", "memory_mib", "state_mib"];
const OPERATION: [&str; 6] = [
    "call",
    "name",
    "conflict_key",
    "conflicts",
    "delegates",
    "reads",
];
/// What a caller's request offers to a conflict key.
const VARIABLES: [&str; 6] = ["method", "path", "query", "queries", "header", "body"];

/// What a component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentLimits {
    /// How long a call may take in the adapter, without what the next in the chain takes.
    pub time: Duration,
    /// The memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// The state of all calls together, in bytes.
    pub state_bytes: u64,
}

impl Default for ComponentLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(1000),
            memory_bytes: 64 << 20,
            state_bytes: 64 * MIB,
        }
    }
}

/// A component as its file declares it.
#[derive(Debug)]
pub struct Declaration {
    /// The file, as messages name it.
    pub(crate) file: String,
    component: String,
    /// Where `component` is written.
    line: usize,
    pub(crate) limits: ComponentLimits,
    /// The most particular first.
    pub(crate) operations: Vec<ComponentOperation>,
    /// What every other call is.
    pub(crate) other: ComponentOperation,
    /// Where each operation is written, by its name.
    places: BTreeMap<String, usize>,
}

impl Declaration {
    /// Whether a file of an `adapter` key declares a component; else it is a lens.
    pub fn is_one(text: &str) -> bool {
        DeTable::parse(text).is_ok_and(|table| table.get_ref().contains_key("component"))
    }

    /// Reads a declaration; `file` is how messages name it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn parse(file: &str, text: &str) -> Result<Self, DeclarationError> {
        let source = Source { file, text };
        let table = DeTable::parse(text)
            .map_err(|error| source.error(error.span().unwrap_or(0..0), "", error.message()))?;
        let root = Section::new(&source, String::new(), table.get_ref(), 0..0);
        root.known(&KEYS)?;
        root.text("description")?;
        let (component, line) = component(&root)?;
        let limits = match root.get("limits") {
            Some(node) => limits(&node)?,
            None => ComponentLimits::default(),
        };
        let nodes = root.items("operation")?;
        if nodes.len() > OPERATIONS_MAX {
            return Err(root.error(format!("more than {OPERATIONS_MAX} operations")));
        }
        let mut operations = Vec::with_capacity(nodes.len());
        for node in &nodes {
            operations.push((operation(node)?, node));
        }
        // `*` is what is left.
        operations.sort_by_key(|(operation, _)| {
            (matches!(operation.which, Which::Others), operation.rank())
        });
        for (index, (later, node)) in operations.iter().enumerate() {
            let earlier = operations[..index].iter();
            if let Some((hiding, _)) = earlier.clone().find(|(earlier, _)| earlier.hides(later)) {
                let message = format!("never reached: `{}` has the same form", hiding.name);
                return Err(node.error(message).hint("delete one of the two"));
            }
        }
        let places = operations.iter().map(|(operation, node)| {
            let line = node.section().map_or(0, |section| {
                section.get("call").map_or(0, |call| call.origin().line)
            });
            (operation.name.clone(), line)
        });
        let places = places.collect();
        let mut operations: Vec<ComponentOperation> = operations
            .into_iter()
            .map(|(operation, _)| operation)
            .collect();
        let declared = operations.pop_if(|last| matches!(last.which, Which::Others));
        Ok(Self {
            file: file.to_owned(),
            component,
            line,
            limits,
            operations,
            other: declared.unwrap_or_else(ComponentOperation::other),
            places,
        })
    }

    /// The component's file, relative to the bundle: `component` is relative to the folder of the declaration.
    pub fn component(&self) -> String {
        match self.file.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{}", self.component),
            None => self.component.clone(),
        }
    }

    /// The component's file, as `component` has it.
    pub fn component_name(&self) -> &str {
        &self.component
    }

    /// What the component may use.
    pub fn limits(&self) -> ComponentLimits {
        self.limits
    }

    /// Whether what it declares can come where this is spoken.
    ///
    /// # Errors
    /// The first operation that is none of this protocol.
    pub fn fits(&self, protocol: Protocol) -> Result<(), DeclarationError> {
        let form = match protocol {
            Protocol::Http => Form::Http,
            Protocol::Resp => Form::Resp,
            _ => Form::Message,
        };
        let Some(other) = (self.operations.iter()).find(|operation| !operation.which.fits(form))
        else {
            return Ok(());
        };
        let hint = match form {
            Form::Http => "write a method and a path: call = \"GET /items/{id}\"",
            Form::Resp => "write what a command begins with: call = \"HSET\"",
            Form::Message => {
                "only `call = \"*\"` is known here: what a message is, the component finds out"
            }
        };
        Err(DeclarationError {
            file: self.file.clone(),
            line: self.places.get(&other.name).copied().unwrap_or_default(),
            key: "call".to_owned(),
            message: format!("no call of {} is of this form", protocol.name()),
            hint: Some(hint.to_owned()),
        })
    }

    /// What is wrong with the component itself, at the place where it is named.
    pub fn complaint(&self, message: impl Into<String>, hint: &str) -> DeclarationError {
        DeclarationError {
            file: self.file.clone(),
            line: self.line,
            key: "component".to_owned(),
            message: message.into(),
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        }
    }
}

fn component(root: &Section<'_>) -> Result<(String, usize), DeclarationError> {
    let Some(node) = root.get("component") else {
        let error = root.error("`component` is missing");
        return Err(error.hint("name the component beside this file: component = \"colors.wasm\""));
    };
    let path = node.text()?;
    let parts = path.split('/');
    let inside = parts.clone().all(|part| !matches!(part, "" | "." | ".."));
    if inside && !path.contains('\\') {
        Ok((path.to_owned(), node.origin().line))
    } else {
        let error = node.error(format!("`{path}` is not a path inside the bundle"));
        Err(error.hint("write it relative to this file's folder, with `/` between its parts"))
    }
}

fn limits(node: &TomlNode<'_>) -> Result<ComponentLimits, DeclarationError> {
    let section = node.section()?;
    section.known(&LIMITS)?;
    let mut limits = ComponentLimits::default();
    let number = |key, range: std::ops::RangeInclusive<i64>| {
        section
            .get(key)
            .map(|node| within(&node, &range))
            .transpose()
    };
    if let Some(ms) = number("time_ms", 1..=TIME_MS_MAX)? {
        limits.time = Duration::from_millis(ms);
    }
    if let Some(mib) = number("memory_mib", 1..=MEMORY_MIB_MAX)? {
        limits.memory_bytes = usize::try_from(mib * MIB).unwrap_or(usize::MAX);
    }
    if let Some(mib) = number("state_mib", 0..=STATE_MIB_MAX)? {
        limits.state_bytes = mib * MIB;
    }
    Ok(limits)
}

fn within(
    node: &TomlNode<'_>,
    range: &std::ops::RangeInclusive<i64>,
) -> Result<u64, DeclarationError> {
    let number = node.integer()?;
    match u64::try_from(number) {
        Ok(positive) if range.contains(&number) => Ok(positive),
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(node.error(format!("{number} is not from {least} to {most}")))
        }
    }
}

fn operation(node: &TomlNode<'_>) -> Result<ComponentOperation, DeclarationError> {
    let section = node.section()?;
    section.known(&OPERATION)?;
    let Some(call) = section.get("call") else {
        let error = section.error("`call` is missing");
        return Err(error.hint("write which calls it is: call = \"GET /items/{id}\""));
    };
    let which = Which::parse(call.text()?).map_err(|message| call.error(message))?;
    let reads = section.flag("reads")?;
    let conflicts = section
        .get("conflicts")
        .map(|node| node.flag())
        .transpose()?;
    let key = section.get("conflict_key");
    if let (Some(false), Some(key)) = (conflicts, &key) {
        let error = key.error("an operation that conflicts with none has no key");
        return Err(error.hint("delete `conflict_key`, or `conflicts = false`"));
    }
    let hold = match key {
        Some(node) => Exclusion::Key(expression(&node)?),
        None if conflicts == Some(false) => Exclusion::Nothing,
        None => Exclusion::Node,
    };
    let delegates = match section.get("delegates") {
        Some(node) => within(&node, &(0..=DELEGATES_MAX))?,
        None => 1,
    };
    Ok(ComponentOperation {
        name: section.text("name")?.unwrap_or(call.text()?).to_owned(),
        which,
        hold,
        delegates: u32::try_from(delegates).unwrap_or(u32::MAX),
        reads,
    })
}

fn expression(node: &TomlNode<'_>) -> Result<MeteredExpression, DeclarationError> {
    let expression =
        MeteredExpression::compile(node.text()?).map_err(|message| node.error(message))?;
    let unknown =
        (expression.variables().iter()).find(|variable| !VARIABLES.contains(&variable.as_str()));
    match unknown {
        None => Ok(expression),
        Some(variable) => {
            let error = node.error(format!("`{variable}` is not known to this expression"));
            Err(error.hint(format!("it may use: {}", VARIABLES.join(", "))))
        }
    }
}
