//! Files of `upstart audit`: what is changed in them, or left out, shows.

use super::*;

fn event(sequence: u64) -> Event {
    Event {
        sequence,
        at_ms: sequence,
        author: "ann".to_owned(),
        proven: Some("operator:ann".to_owned()),
        node: None,
        kind: "system.paused".to_owned(),
        version: None,
        message: format!("number {sequence}, {DIGEST}\"}}"),
    }
}

fn export(file: &Path, events: impl IntoIterator<Item = u64>) -> u64 {
    let (last, opened) = opened(file).expect("whole");
    let mut export = AuditExport {
        epoch: 7,
        after: last.event.map_or(0, |event| event.sequence),
        digest: last.digest,
        sink: RecordSink::Appended(opened),
        count: 0,
    };
    for number in events {
        export.take(event(number)).expect("written");
    }
    export.count
}

fn read_file(file: &Path) -> Result<Last, String> {
    read(&File::open(file).expect("there")).map(|(last, _)| last)
}

#[test]
fn an_export_goes_on_where_it_was_and_tells_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit");
    assert_eq!(export(&file, [3, 4]), 3, "one tells that two are missing");
    assert_eq!(export(&file, [5, 9]), 3);
    let last = read_file(&file).expect("whole");
    assert_eq!((last.records, last.event), (6, Some(event(9))));
    let text = std::fs::read_to_string(&file).expect("read");
    assert!(
        text.contains("\"missing\":[1,2]") && text.contains("\"missing\":[6,8]"),
        "{text}"
    );
    let all: String = folder.path().join("all").display().to_string();
    assert_eq!(export(Path::new(&all), [3, 4, 5, 9]), 6);
    assert_eq!(
        std::fs::read_to_string(all).expect("read"),
        text,
        "the same at once"
    );
}

#[test]
fn a_record_that_was_changed_left_out_or_added_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit");
    export(&file, 1..=4);
    let text = std::fs::read_to_string(&file).expect("read");
    let lines: Vec<&str> = text.lines().collect();
    let with = |lines: &[&str]| {
        std::fs::write(&file, lines.join("\n") + "\n").expect("written");
        read_file(&file)
    };
    let changed = lines[1].replace("ann", "bob");
    let told = with(&[lines[0], &changed, lines[2], lines[3]]).expect_err("changed");
    assert!(told.starts_with("line 2: "), "{told}");
    with(&[lines[0], lines[2], lines[3]]).expect_err("left out");
    with(&[lines[1], lines[2], lines[3]]).expect_err("cut off before");
    with(&[lines[0], lines[0], lines[1]]).expect_err("twice");
    with(&[lines[0], "{}"]).expect_err("no record");
    with(&lines).expect("as it was");
}

#[test]
fn what_a_crash_left_of_a_record_is_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit");
    export(&file, 1..=2);
    let whole = std::fs::read_to_string(&file).expect("read");
    export(&file, [3]);
    let text = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, &text[..text.len() - 9]).expect("written");
    assert!(opened(&file).is_ok());
    assert_eq!(std::fs::read_to_string(&file).expect("read"), whole);
    export(&file, [3]);
    assert_eq!(std::fs::read_to_string(&file).expect("read"), text);
}

#[test]
fn a_field_of_csv_is_one_and_no_formula() {
    assert_eq!(quoted("a"), "a");
    assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
    assert_eq!(quoted("=HYPERLINK(1)"), "'=HYPERLINK(1)");
    assert_eq!(quoted("-1,2"), "\"'-1,2\"");
}
