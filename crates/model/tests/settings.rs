//! What `[settings.calls]` says, and what holds without it.

use model::bundle::{BundleError, CallSettings, UpgradeFile};
use std::collections::BTreeMap;

fn calls(settings: &str) -> Result<CallSettings, String> {
    let text = format!(
        "system = \"mesh\"\nversion = 1\n{settings}\n[class.peer]\nsoftware = {{ command = [\"peerd\"] }}\nlifecycle = {{ probe = {{ alive_ms = 1 }} }}\n"
    );
    let file = UpgradeFile::parse(&text).map_err(|errors| told(&errors))?;
    let upgrade = file.prove(&BTreeMap::new());
    let upgrade = upgrade.map_err(|errors| told(&errors))?;
    Ok(upgrade.settings.calls)
}

fn told(errors: &[BundleError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn the_limits_of_calls_are_keys_with_defaults() {
    assert_eq!(calls(""), Ok(CallSettings::default()));
    let said = calls(
        "[settings.calls]\nhead_bytes_max = 8192\nhead_fields_max = 16\nhead_ms = 1\nidle_ms = 2\nbody_bytes_max = 1024\n\
         body_bytes_per_second_min = 0\nheld_bytes_max = 1048576\nconnections_max = 3\nconnections_per_address_max = 4",
    );
    let expected = CallSettings {
        head_bytes_max: 8192,
        head_fields_max: 16,
        head_ms: 1,
        idle_ms: 2,
        body_bytes_max: 1024,
        body_bytes_per_second_min: 0,
        held_bytes_max: 1 << 20,
        connections_max: 3,
        connections_per_address_max: 4,
    };
    assert_eq!(said, Ok(expected));
    for wrong in ["head_bytes_max = 1", "body_bytes_max = 0", "bodies_max = 1"] {
        calls(&format!("[settings.calls]\n{wrong}")).expect_err(wrong);
    }
}
