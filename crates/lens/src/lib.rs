//! Lenses: declarative adapters, one file for both directions.
//!
//! A file says how a call of the old version is written at the new one. Each rule is a relation
//! that is read both ways, so the file gives the past and the future adapter; what has no way back
//! must say so, or the file is refused. docs/reference/lenses.md is the reference.

mod answer;
pub mod explain;
mod lookup;
mod message;
mod operation;
mod parse;
mod recipe;
mod refusals;
mod step;
mod translate;

use std::sync::Arc;

use call::{Calls, Chain, Conflicts, Direction};
use declaration::DeclarationError;
use operation::{DeclaredRefusal, LensOperation, RefusalForms, Unmatched};

/// A lens file, parsed, proved and compiled.
#[derive(Debug)]
pub struct Lens {
    /// As messages name it.
    file: String,
    operations: Vec<LensOperation>,
    /// The operations that callers of a side may call, the most particular first.
    routes: [Vec<usize>; 2],
    unmatched: Unmatched,
    refusals: RefusalForms,
    declared: Vec<DeclaredRefusal>,
}

impl Lens {
    /// Parses and proves a lens file; `file` is how messages name it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn parse(file: &str, text: &str) -> Result<Self, DeclarationError> {
        parse::lens(file, text)
    }

    /// The lens as one of the adapters of a chain.
    pub fn adapter(self: Arc<Self>, direction: Direction) -> Arc<dyn Calls> {
        Arc::new(step::LensStep {
            lens: self,
            direction,
        })
    }
}

/// A chain of lenses, the first being nearest to the caller, with conflict keys of its own.
pub fn chain(lenses: Vec<(Arc<Lens>, Direction)>) -> Chain {
    chain_within(lenses, &Conflicts::default())
}

/// A chain of lenses, the first being nearest to the caller, one of those that lead to the same service.
pub fn chain_within(lenses: Vec<(Arc<Lens>, Direction)>, conflicts: &Conflicts) -> Chain {
    let Some(direction) = lenses.first().map(|(_, direction)| *direction) else {
        return Chain::empty();
    };
    let steps = lenses
        .into_iter()
        .map(|(lens, direction)| lens.adapter(direction))
        .collect();
    Chain::of(direction, steps, conflicts)
}
