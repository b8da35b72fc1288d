//! Lists by pages: a limit, and the cursor after which a page begins.

use model::api::Page;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// Entries of a page unless asked otherwise.
const LIMIT: u32 = 100;

/// Entries of a page at most: what fits one answer comfortably.
const LIMIT_MAX: u32 = 1000;

/// Where a page begins and how long it is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The cursor that the page before gave as `next`; the first page without it.
    after: Option<String>,
    /// The most entries (1 to 1000; 100 when absent).
    limit: Option<u32>,
    /// `desc` for the last first; `asc` when absent. Cursors are of the order in which they were given.
    #[param(inline)]
    order: Option<PageOrder>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PageOrder {
    /// The first first.
    #[default]
    Asc,
    /// The last first.
    Desc,
}

impl PageQuery {
    /// After which entry the page begins.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// In which order.
    pub(super) fn order(&self) -> PageOrder {
        self.order.unwrap_or_default()
    }

    /// How many entries the page may have.
    pub(super) fn limit(&self) -> u32 {
        limit(self.limit)
    }

    /// One page of entries that are sorted by their cursor.
    pub(super) fn page<T>(
        &self,
        entries: impl Iterator<Item = (String, T)>,
        is_after: impl Fn(&str, &str) -> bool,
    ) -> Page<T> {
        let after = self.after.as_deref();
        let mut rest =
            entries.filter(|(cursor, _)| after.is_none_or(|after| is_after(cursor, after)));
        let mut items = Vec::new();
        let mut last = None;
        for (cursor, item) in rest.by_ref().take(self.limit() as usize) {
            items.push(item);
            last = Some(cursor);
        }
        let more = rest.next().is_some();
        Page {
            items,
            next: last.filter(|_| more),
        }
    }
}

/// The limit asked for, within bounds.
pub(super) fn limit(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)
}
