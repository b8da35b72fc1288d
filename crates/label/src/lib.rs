//! The wire label: a PROXY protocol v2 header that carries the caller's version.
