//! One spelling, one digest; nothing that leads out of the bundle.

use super::*;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn manifest(paths: &[&str]) -> Manifest {
    let file = |path: &&str| ManifestFile {
        mode: Mode::Plain,
        path: (*path).to_owned(),
        sha256: Digest::of(b""),
        size: 0,
    };
    Manifest {
        description: "d".to_owned(),
        files: paths.iter().map(file).collect(),
        format: FORMAT,
        from: Version(1),
        system: "store".to_owned(),
        version: Version(2),
    }
}

fn told(text: &str) -> String {
    Manifest::parse(text).map_or_else(|error| error.to_string(), |_| "nothing".to_owned())
}

#[test]
fn the_text_is_canonical_and_comes_back() {
    let mut manifest = manifest(&["a", "upgrade.toml"]);
    manifest.files[0].mode = Mode::Executable;
    let text = manifest.text();
    assert_eq!(
        text,
        format!(
            r#"{{"description":"d","files":[{{"mode":"0755","path":"a","sha256":"{DIGEST}","size":0}},{{"mode":"0644","path":"upgrade.toml","sha256":"{DIGEST}","size":0}}],"format":1,"from":1,"system":"store","version":2}}"#
        )
    );
    assert_eq!(Manifest::parse(&text).expect("canonical"), manifest);
    assert_eq!(manifest.digest(), Digest::of(text.as_bytes()));
    assert_eq!(manifest.file("a").map(|file| file.mode.bits()), Some(0o755));
    assert_eq!(manifest.file("b"), None);
    assert_eq!(manifest.listing().len(), 2);
}

#[test]
fn another_spelling_is_refused() {
    let text = manifest(&["a", "upgrade.toml"]).text();
    let canonical = ManifestError::NotCanonical.to_string();
    assert_eq!(told(&text.replace(":\"d\"", ": \"d\"")), canonical);
    assert_eq!(told(&format!("{text}\n")), canonical);
    assert_eq!(told(&text.replace("\"d\"", "\"\\u0064\"")), canonical);
    assert_eq!(told(&manifest(&["upgrade.toml", "a"]).text()), canonical);
    assert_eq!(
        told(&manifest(&["a", "a", "upgrade.toml"]).text()),
        canonical
    );
    assert!(told(&text.replace("e3b0", "E3B0")).contains("is not a SHA-256"));
    assert!(told(&text.replace("0644", "0777")).starts_with("not a manifest"));
    assert!(told(&text.replace("\"format\":1,", "")).starts_with("not a manifest"));
    assert!(told(&text.replace("\"format\":1", "\"format\":2")).contains("use a newer one"));
    assert!(told("{").starts_with("not a manifest"));
}

#[test]
fn paths_stay_inside_the_bundle() {
    let long = format!("{}/a", "x".repeat(256));
    for path in [
        "/a",
        "../a",
        "a/../b",
        "a//b",
        "./a",
        "a/",
        "",
        "a\\b",
        "a\nb",
        "..",
        &long,
        &"a/".repeat(600),
    ] {
        let mut paths = vec![path, "upgrade.toml"];
        paths.sort_unstable();
        assert!(
            matches!(manifest(&paths).validate(), Err(ManifestError::Path { .. })),
            "{path:?} was let through"
        );
    }
    assert_eq!(
        manifest(&["..a", "a b", "upgrade.toml", "ü"]).validate(),
        Ok(())
    );
}

#[test]
fn a_file_is_no_folder_and_the_upgrade_file_is_there() {
    let error = manifest(&["a", "a.b", "a/b", "upgrade.toml"]).validate();
    assert_eq!(
        error.expect_err("both").to_string(),
        "path `a`: is a file and a folder at once"
    );
    assert_eq!(
        manifest(&["a"]).validate(),
        Err(ManifestError::NoUpgradeFile)
    );
    let mut backwards = manifest(&["upgrade.toml"]);
    backwards.from = Version(2);
    assert_eq!(
        backwards.validate().expect_err("same").to_string(),
        "version 2 cannot start from version 2"
    );
    let mut large = manifest(&["upgrade.toml"]);
    large.files[0].size = FILE_BYTES_MAX + 1;
    assert!(matches!(
        large.validate(),
        Err(ManifestError::FileTooLarge { .. })
    ));
}
