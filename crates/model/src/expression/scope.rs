//! What expressions can see at a node.

use crate::ids::Version;
use cel::{Context, Value};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// A variable that the node's configuration gives (`--var base=7100`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Variable {
    /// `true` or `false`.
    Truth(bool),
    /// A whole number.
    Number(i64),
    /// Any other text.
    Text(String),
}

impl From<&str> for Variable {
    /// Text that reads as a number or a truth, and would be written the same again, is one.
    fn from(text: &str) -> Self {
        match text {
            "true" => return Self::Truth(true),
            "false" => return Self::Truth(false),
            _ => {}
        }
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text}"),
        }
    }
}

/// The node that evaluates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeScope {
    /// Its name.
    pub name: String,
    /// Its class at the version in question.
    pub class: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// Everything that an expression can see. What is not known yet stays empty; a name that is used although it is
/// empty is an error with that name in it, never an empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpressionScope {
    /// `vars`: the node's variables.
    pub vars: BTreeMap<String, Variable>,
    /// `node`, and its attributes once more as `attributes`.
    pub node: NodeScope,
    /// `ports`: the port of each service of the class at this version.
    pub ports: BTreeMap<String, u16>,
    /// `software`: where the unpacked software is.
    pub software: Option<String>,
    /// `state`: the one path at which the software sees its state.
    pub state: Option<String>,
    /// `bundle`: where the upgrade's own files are.
    pub bundle: Option<String>,
    /// `version`: the version in question.
    pub version: Version,
    /// `event`: what has happened; empty where the expression is about none.
    pub event: BTreeMap<&'static str, Variable>,
}

impl ExpressionScope {
    pub(super) fn fill(&self, context: &mut Context<'_, '_>) {
        let vars: HashMap<String, Value> = self
            .vars
            .iter()
            .map(|(name, value)| (name.clone(), value.into()))
            .collect();
        let ports: HashMap<String, Value> = self
            .ports
            .iter()
            .map(|(name, port)| (name.clone(), Value::Int(i64::from(*port))))
            .collect();
        let attributes: HashMap<String, Value> = self
            .node
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect();
        let node: HashMap<String, Value> = HashMap::from([
            ("name".to_owned(), Value::from(self.node.name.as_str())),
            ("class".to_owned(), Value::from(self.node.class.as_str())),
            ("attributes".to_owned(), Value::from(attributes.clone())),
        ]);
        let event: HashMap<String, Value> = self
            .event
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.into()))
            .collect();
        context.add_variable_from_value("event", event);
        context.add_variable_from_value("vars", vars);
        context.add_variable_from_value("ports", ports);
        context.add_variable_from_value("attributes", attributes);
        context.add_variable_from_value("node", node);
        context.add_variable_from_value("version", i64::from(self.version.0));
        for (name, value) in [
            ("software", &self.software),
            ("state", &self.state),
            ("bundle", &self.bundle),
        ] {
            if let Some(value) = value {
                context.add_variable_from_value(name, value.as_str());
            }
        }
    }
}

impl From<&Variable> for Value {
    fn from(variable: &Variable) -> Self {
        match variable {
            Variable::Truth(truth) => Self::Bool(*truth),
            Variable::Number(number) => Self::Int(*number),
            Variable::Text(text) => Self::from(text.as_str()),
        }
    }
}
