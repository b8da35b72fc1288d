//! The arrows between crates point down, as docs/internals/ARCHITECTURE.md draws them.

use crate::workspace::Package;

/// Each crate and those that it may use; `upstart` may use everything, nothing may use `upstart`, and only scenarios `xtask`.
const ARROWS: [(&str, &[&str]); 23] = [
    ("label", &[]),
    ("model", &["label"]),
    ("intercept", &["label"]),
    ("interpose", &["intercept"]),
    ("preload", &["intercept", "interpose"]),
    ("wire", &["model"]),
    ("call", &["model", "wire"]),
    ("declaration", &["model", "wire"]),
    ("serve", &["call", "wire"]),
    ("conversation", &["call", "declaration", "wire"]),
    ("lens", &["call", "conversation", "declaration", "wire"]),
    ("component", &["call", "declaration", "model", "wire"]),
    ("client", &["model", "sockets"]),
    ("network", &[]),
    ("sockets", &[]),
    ("color-flavor-adapter", &[]),
    ("redis-bus-adapter", &[]),
    (
        "agent",
        &[
            "label",
            "model",
            "intercept",
            "interpose",
            "wire",
            "call",
            "serve",
            "conversation",
            "lens",
            "component",
            "client",
            "sockets",
        ],
    ),
    ("server", &["model"]),
    (
        "upstart",
        &[
            "label",
            "model",
            "intercept",
            "call",
            "declaration",
            "conversation",
            "lens",
            "component",
            "client",
            "agent",
            "server",
        ],
    ),
    (
        "harness",
        &["label", "model", "lens", "component", "client", "agent"],
    ),
    (
        "scenarios",
        &[
            "xtask",
            "harness",
            "label",
            "model",
            "intercept",
            "wire",
            "call",
            "serve",
            "lens",
            "client",
            "agent",
            "server",
            "network",
            "color-flavor-adapter",
        ],
    ),
    ("xtask", &[]),
];

/// Dependencies within the workspace that are not drawn. Tests may look up: their dependencies do not count.
pub(super) fn findings(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(format!(
                "crate `{}` has no place in the drawing of crates",
                package.name
            ));
            continue;
        };
        let inner = package.dependencies.iter().filter(|dependency| {
            dependency.path.is_some() && dependency.kind.as_deref() != Some("dev")
        });
        for dependency in inner.filter(|inner| !allowed.contains(&inner.name.as_str())) {
            findings.push(format!(
                "crate `{}` must not use `{}`",
                package.name, dependency.name
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;
    use std::path::PathBuf;

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let up = |kind: Option<&str>| Package {
            name: "label".to_owned(),
            dependencies: vec![Dependency {
                name: "model".to_owned(),
                kind: kind.map(str::to_owned),
                path: Some(PathBuf::from("crates/model")),
            }],
        };
        assert_eq!(findings(&[up(None)]).len(), 1);
        assert_eq!(findings(&[up(Some("dev"))]).len(), 0);
    }
}
