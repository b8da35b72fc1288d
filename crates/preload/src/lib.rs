//! The preloaded library: hooks of a few lines that ask intercept what to do.
