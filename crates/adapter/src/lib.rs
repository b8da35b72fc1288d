//! Protocols, lenses and the connection handler of cross-version calls.
