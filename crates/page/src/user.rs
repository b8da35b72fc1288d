//! Who looks, and what their forms carry.

use maud::{Markup, html};
use model::api::{Right, Role};

/// Who looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageUser {
    /// The name that the history would show.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What forms of this session carry, so that nobody else's page can send one.
    pub form_token: String,
}

impl PageUser {
    /// Whether they decide how upgrades go on.
    #[must_use]
    pub fn may_operate(&self) -> bool {
        self.role.has(Right::Operate)
    }
}

/// What every form carries.
pub(crate) fn form_token(user: &PageUser) -> Markup {
    html! { input type="hidden" name="form_token" value=(user.form_token); }
}
