//! The journal as it is opened, appended to, cut, copied and compacted.

use super::*;
use model::journal::HEADER;

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    (folder, path)
}

fn blocked(reason: &str) -> Record {
    Record::FlippingBack {
        reason: reason.to_owned(),
    }
}

#[test]
fn what_is_appended_is_read_after_a_restart() {
    let (_folder, path) = fresh();
    let (mut journal, records) = Journal::open(&path).expect("opens");
    assert!(records.is_empty());
    for record in [Record::Committed, blocked("x")] {
        journal.append(&record).expect("appends");
    }
    drop(journal);
    let (mut journal, records) = Journal::open(&path).expect("opens");
    assert_eq!(records, [Record::Committed, blocked("x")]);
    journal.append(&Record::Probing).expect("appends");
    drop(journal);
    assert_eq!(Journal::open(&path).expect("opens").1.len(), 3);
}

#[test]
fn only_one_agent_has_it() {
    let (_folder, path) = fresh();
    let first = Journal::open(&path).expect("opens");
    assert!(matches!(
        Journal::open(&path),
        Err(JournalFileError::Locked { .. })
    ));
    drop(first);
    Journal::open(&path).expect("opens");
}

#[test]
fn a_torn_record_is_dropped_and_overwritten() {
    let (_folder, path) = fresh();
    let (mut journal, _) = Journal::open(&path).expect("opens");
    journal.append(&Record::Committed).expect("appends");
    let end = journal.end;
    drop(journal);
    // The power went while this was written: nobody was told that it is there.
    let frame = journal::encode(1, &blocked("a long reason that is torn")).expect("encodes");
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    file.write_all_at(&frame[..frame.len() - 5], end)
        .expect("writes");
    let (mut journal, records) = Journal::open(&path).expect("opens");
    assert_eq!(records, [Record::Committed]);
    journal.append(&Record::Probing).expect("appends");
    drop(journal);
    assert_eq!(
        Journal::open(&path).expect("opens").1,
        [Record::Committed, Record::Probing]
    );
}

#[test]
fn a_journal_that_was_cut_or_emptied_is_damage() {
    let (_folder, path) = fresh();
    let (mut journal, _) = Journal::open(&path).expect("opens");
    for _ in 0..3 {
        journal.append(&Record::Committed).expect("appends");
    }
    let end = journal.end;
    drop(journal);
    let whole = std::fs::read(&path).expect("read");
    let last = journal::encode(2, &Record::Committed).expect("encodes");
    // Without the end of its file it is cut, whatever is in the rest.
    for length in [0, end - 1, end, CHUNK_BYTES / 2] {
        std::fs::write(&path, &whole[..length as usize]).expect("written");
        let error = Journal::open(&path).expect_err("damage");
        assert!(matches!(error, JournalFileError::Short { .. }), "{error}");
    }
    // A whole record, its last byte, everything: as long as it was.
    for from in [end - last.len() as u64, end - 1, HEADER.len() as u64] {
        let mut cut = whole.clone();
        cut[from as usize..].fill(0);
        std::fs::write(&path, cut).expect("written");
        let error = Journal::open(&path).expect_err("damage");
        assert!(
            matches!(error, JournalFileError::Cut { written: 3, .. }),
            "{error}"
        );
    }
    std::fs::write(&path, &whole).expect("written");
    let (journal, records) = Journal::open(&path).expect("opens");
    assert_eq!((records.len(), journal.total()), (3, 3));
    drop(journal);
    std::fs::remove_file(witness::path_of(&path)).expect("removed");
    let error = Journal::open(&path).expect_err("nobody says that it is whole");
    assert!(
        matches!(error, JournalFileError::NoWitness { .. }),
        "{error}"
    );
}

#[test]
fn none_is_made_where_one_has_been_or_may_be() {
    let (folder, path) = fresh();
    drop(Journal::open(&path).expect("opens"));
    // Between the witness and the journal: no record was ever written.
    std::fs::remove_file(&path).expect("removed");
    let (mut journal, _) = Journal::open(&path).expect("opens");
    journal.append(&Record::Committed).expect("appends");
    drop(journal);
    std::fs::remove_file(&path).expect("removed");
    let missing = || match Journal::open(&path) {
        Err(JournalFileError::Missing { trace, .. }) => trace,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(), witness::path_of(&path));
    std::fs::remove_file(witness::path_of(&path)).expect("removed");
    let versions = folder.path().join("versions");
    std::fs::create_dir_all(versions.join("1.1")).expect("made");
    assert_eq!(missing(), versions.join("1.1"));
    std::fs::remove_dir(versions.join("1.1")).expect("removed");
    std::os::unix::fs::symlink("nowhere", folder.path().join("current")).expect("made");
    assert_eq!(missing(), folder.path().join("current"));
    std::fs::remove_file(folder.path().join("current")).expect("removed");
    // Whatever cannot be looked at is not absent.
    std::os::unix::fs::symlink("journal", &path).expect("made");
    let error = Journal::open(&path).expect_err("a link to itself");
    assert!(matches!(error, JournalFileError::Disk { .. }), "{error}");
    std::fs::remove_file(&path).expect("removed");
    assert!(Journal::open(&path).expect("opens").1.is_empty());
}

#[test]
fn a_copied_directory_is_known_until_it_is_claimed() {
    let (folder, path) = fresh();
    let (mut journal, _) = Journal::open(&path).expect("opens");
    journal.append(&Record::Committed).expect("appends");
    drop(journal);
    let moved = folder.path().join("moved");
    std::fs::create_dir(&moved).expect("made");
    for name in ["journal", "journal.witness"] {
        std::fs::copy(folder.path().join(name), moved.join(name)).expect("copied");
    }
    let copy = moved.join("journal");
    let error = Journal::open(&copy).expect_err("a copy");
    assert!(matches!(error, JournalFileError::Copy { .. }), "{error}");
    Journal::claim(&copy, || Ok(())).expect("claimed");
    assert_eq!(Journal::open(&copy).expect("opens").1.len(), 1);
    Journal::open(&path).expect("the original opens as before");
}

#[test]
fn one_that_was_set_back_is_known_by_what_the_server_has_heard() {
    let (_folder, path) = fresh();
    let (mut journal, _) = Journal::open(&path).expect("opens");
    for _ in 0..2 {
        journal.append(&Record::Committed).expect("appends");
    }
    // Compaction makes a journal shorter and no younger.
    journal.compact(&[Record::Committed]).expect("compacts");
    assert_eq!(journal.total(), 3);
    journal.compare(3).expect("as heard");
    journal.compare(0).expect("the server has forgotten it");
    let error = journal.compare(9).expect_err("set back");
    assert!(
        matches!(
            error,
            JournalFileError::SetBack {
                there: 3,
                heard: 9,
                ..
            }
        ),
        "{error}"
    );
    drop(journal);
    Journal::claim(&path, || Ok(())).expect("claimed");
    let (mut journal, _) = Journal::open(&path).expect("opens");
    journal.compare(9).expect("claimed");
    assert_eq!(journal.total(), 10);
    journal.compare(11).expect_err("claimed once");
}

#[test]
fn corruption_in_the_middle_is_an_error_with_its_place() {
    let (_folder, path) = fresh();
    let (mut journal, _) = Journal::open(&path).expect("opens");
    for _ in 0..3 {
        journal.append(&Record::Committed).expect("appends");
    }
    drop(journal);
    let file = OpenOptions::new().write(true).open(&path).expect("opens");
    file.write_all_at(b"X", HEADER.len() as u64 + 20)
        .expect("writes");
    let error = Journal::open(&path).expect_err("corrupt");
    let source = std::error::Error::source(&error)
        .expect("a source")
        .to_string();
    assert!(source.contains("at byte 16"), "{source}");
}

#[test]
fn compaction_replaces_the_file_and_goes_on() {
    let (_folder, path) = fresh();
    let (mut journal, _) = Journal::open(&path).expect("opens");
    while !journal.wants_compaction() {
        journal
            .append(&blocked(&"x".repeat(20_000)))
            .expect("appends");
    }
    journal.compact(&[Record::Committed]).expect("compacts");
    assert!(!journal.wants_compaction());
    journal.append(&Record::Probing).expect("appends");
    drop(journal);
    let (_, records) = Journal::open(&path).expect("opens");
    assert_eq!(records, [Record::Committed, Record::Probing]);
}

#[test]
fn it_grows_beyond_what_was_preallocated() {
    let (_folder, path) = fresh();
    let (mut journal, _) = Journal::open(&path).expect("opens");
    let long = blocked(&"x".repeat(50_000));
    for _ in 0..8 {
        journal.append(&long).expect("appends");
    }
    drop(journal);
    assert_eq!(Journal::open(&path).expect("opens").1.len(), 8);
}
