//! Every metric there is. docs/reference/metrics.md is held equal to it by a test.

mod agent;
mod process;
mod server;

pub use agent::*;
pub use process::*;
pub use server::*;

/// Defines metrics, each as a constant, and the list of all of them.
macro_rules! metrics {
    (
        $(#[$outer:meta])*
        $all:ident:
        $($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*
    ) => {
        $(
            #[doc = $help]
            pub static $constant: $crate::MetricDefinition = $crate::MetricDefinition {
                name: $name,
                kind: $crate::MetricKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        $(#[$outer])*
        pub static $all: &[&$crate::MetricDefinition] = &[$(&$constant),*];
    };
}
use metrics;
