//! The lens of a file.

use crate::failure::{Advise, refusal};
use lens::Lens;
use std::path::Path;
use std::sync::Arc;

/// Reads one lens file.
pub(crate) fn load(path: &Path) -> anyhow::Result<Arc<Lens>> {
    let shown = path.display().to_string();
    let text =
        crate::files::read_text(path).advise(format!("cannot read {shown}"), "give a lens file")?;
    let lens = Lens::parse(&shown, &text).map_err(|error| {
        refusal(
            error.to_string(),
            "mend the lens; docs/reference/lenses.md is the reference",
        )
    })?;
    Ok(Arc::new(lens))
}
