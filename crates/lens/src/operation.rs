//! Operations of a lens: what a call is at each version, and how it and its answers change.

use http::{Method, StatusCode};

use crate::recipe::Recipe;
use crate::recipe::rule::BySide;
use call::{Direction, Hold, Side};
use declaration::expression::MeteredExpression;
use declaration::place::MessagePlace;
use declaration::reader::Origin;
use declaration::template::CallTemplate;
use wire::json::Json;

/// An operation at both versions, or one that is refused.
#[derive(Debug)]
pub(crate) struct LensOperation {
    /// Where it is written.
    pub(crate) origin: Origin,
    /// For messages and counters.
    pub(crate) name: String,
    /// Old and new; one is missing only where `refuse` is given.
    pub(crate) templates: BySide<CallTemplate>,
    /// Used in this direction only.
    pub(crate) only: Option<Direction>,
    /// Whether it applies to a caller's request, by the caller's side.
    pub(crate) when: BySide<MeteredExpression>,
    /// Which of the lens' declared refusals answers it.
    pub(crate) refuse: Option<usize>,
    /// What is called before the call itself.
    pub(crate) lookups: Vec<Lookup>,
    /// Conflict keys as declared, by the caller's side, until it is known who holds them.
    pub(crate) keys: BySide<MeteredExpression>,
    /// By the caller's side; `None` for what may run beside anything.
    pub(crate) conflict: BySide<Conflict>,
    pub(crate) request: Recipe,
    /// Whether the request's body is text instead of JSON, old and new.
    pub(crate) text: [bool; 2],
    pub(crate) responses: Vec<Alternative>,
    /// A status that no alternative names passes unchanged.
    pub(crate) other_statuses_pass: bool,
    /// Places of a caller's request, by the caller's side, whose values answers repeat.
    pub(crate) echoes: Vec<(Side, MessagePlace)>,
    /// Whether expressions of answers use the caller's request.
    pub(crate) remembers_request: bool,
    /// Whether the request's body has to be decoded.
    pub(crate) decodes_request: bool,
    /// Whether a query has to be taken apart.
    pub(crate) parses_query: bool,
    /// Whether some answer's body has to be decoded.
    pub(crate) decodes_response: bool,
}

impl LensOperation {
    /// Fixes what messages have to be taken apart.
    pub(crate) fn settle(&mut self) {
        let answers = |variable: &str| {
            self.responses.iter().any(|answer| {
                let mut conditions = answer.when.iter().flatten();
                answer.recipe.uses(variable) || conditions.any(|when| when.uses(variable))
            })
        };
        let remembers_request = answers(declaration::expression::REQUEST);
        // A body that no answer is about need not be held.
        let remembers_body = answers("request.body");
        let remembers_query = answers("request.query") || answers("request.queries");
        let when = |variable: &str| self.when.iter().flatten().any(|w| w.uses(variable));
        let echo =
            |wanted: fn(&MessagePlace) -> bool| self.echoes.iter().any(|(_, place)| wanted(place));
        let before = |variable: &str| {
            let conditions = self
                .lookups
                .iter()
                .flat_map(|lookup| &lookup.when)
                .flatten();
            let keys = self
                .conflict
                .iter()
                .flatten()
                .filter_map(|c| c.key.as_ref());
            conditions.chain(keys).any(|e| e.uses(variable))
        };
        self.decodes_request = self.request.needs_body()
            || self.text.contains(&true)
            || when("body")
            || before("body")
            || echo(MessagePlace::is_body)
            || remembers_body;
        self.parses_query = self.request.needs_query()
            || ["query", "queries"].iter().any(|v| when(v) || before(v))
            || echo(MessagePlace::is_query)
            || remembers_query;
        self.remembers_request = remembers_request;
        self.decodes_response = self.responses.iter().any(Alternative::needs_body);
    }
}

/// A call that is made before the operation's own.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// Expressions find its answer under this name.
    pub(crate) name: String,
    /// What is called, by the side that the software speaks; parameters are those of the caller's
    /// path.
    pub(crate) templates: BySide<CallTemplate>,
    /// Whether it is needed, judged on the caller's request.
    pub(crate) when: BySide<MeteredExpression>,
}

/// The conflict key of an operation, and how it is held.
#[derive(Debug)]
pub(crate) struct Conflict {
    pub(crate) hold: Hold,
    /// Over the caller's request; without one it is the whole node.
    pub(crate) key: Option<MeteredExpression>,
}

/// One kind of answer of an operation.
#[derive(Debug)]
pub(crate) struct Alternative {
    /// Where it is written.
    pub(crate) origin: Origin,
    /// Old and new.
    pub(crate) status: [Statuses; 2],
    /// Used in this direction only.
    pub(crate) only: Option<Direction>,
    /// Whether it applies to an answer, by the side that the answer comes from.
    pub(crate) when: BySide<MeteredExpression>,
    /// Which of the lens' declared refusals stands in for it.
    pub(crate) refuse: Option<usize>,
    pub(crate) recipe: Recipe,
    /// Whether the body is text instead of JSON, old and new.
    pub(crate) text: [bool; 2],
}

impl Alternative {
    /// Whether its rules are for the body too.
    pub(crate) fn changes_body(&self) -> bool {
        self.recipe.needs_body() || self.text.contains(&true)
    }

    pub(crate) fn needs_body(&self) -> bool {
        self.changes_body() || self.when.iter().flatten().any(|when| when.uses("body"))
    }

    /// Whether it is for answers of this status, in this direction.
    pub(crate) fn matches(&self, direction: Direction, status: StatusCode) -> bool {
        self.only.is_none_or(|only| only == direction)
            && self.status[direction.caller().other() as usize].contains(status.as_u16())
    }
}

/// Statuses that an alternative is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statuses {
    /// One.
    Code(u16),
    /// A hundred: `"4xx"`.
    Class(u16),
    /// All.
    Any,
}

impl Statuses {
    pub(crate) fn contains(self, status: u16) -> bool {
        match self {
            Self::Code(code) => code == status,
            Self::Class(class) => status / 100 == class,
            Self::Any => true,
        }
    }

    /// Whether every status of the other one is one of these.
    pub(crate) fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Class(a), Self::Class(b)) => a == b,
            (Self::Class(a), Self::Code(b)) => a == b / 100,
            (Self::Code(a), Self::Code(b)) => a == b,
            _ => false,
        }
    }
}

/// A refusal in the lens' own words.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredRefusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
    pub(crate) body: Option<Json>,
    /// What a body is that is not JSON.
    pub(crate) media: Option<String>,
}

/// What happens to calls that no operation matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// They are refused.
    #[default]
    Refuse,
    /// They pass unchanged.
    Pass,
}

/// The form of refusals.
#[derive(Clone, Debug)]
pub(crate) struct RefusalForms {
    pub(crate) unmatched: StatusCode,
    pub(crate) malformed: StatusCode,
    pub(crate) request: StatusCode,
    pub(crate) response: StatusCode,
    /// The body shown to callers of a side, with `${reason}` and `${status}` in it.
    pub(crate) bodies: BySide<Json>,
    /// In other words for a body that cannot be decoded, by the caller's side.
    pub(crate) malformed_forms: BySide<DeclaredRefusal>,
}

impl Default for RefusalForms {
    fn default() -> Self {
        Self {
            unmatched: StatusCode::NOT_IMPLEMENTED,
            malformed: StatusCode::BAD_REQUEST,
            request: StatusCode::UNPROCESSABLE_ENTITY,
            response: StatusCode::BAD_GATEWAY,
            bodies: [None, None],
            malformed_forms: [None, None],
        }
    }
}

/// Whether the method may be one whose template says `GET`: HEAD is GET without the body.
pub(crate) fn is_head_of_get(method: &Method, operation: &LensOperation) -> bool {
    *method == Method::HEAD
        && operation
            .templates
            .iter()
            .flatten()
            .all(|template| template.method.as_ref() == Some(&Method::GET))
}
