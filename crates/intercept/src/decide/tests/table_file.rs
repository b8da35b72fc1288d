//! The table as a file that one writes while others read.

use super::*;

#[test]
fn a_later_table_replaces_an_earlier_one_and_survives_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("table");
    let mut file = TableFile::open(&path).expect("a table file");
    let unpublished = words(&path);
    let view = TableView::new(&unpublished).expect("a table");
    assert_eq!(view.read(|snapshot| snapshot.version()), None);
    for version in 2..5 {
        file.publish(&Table { version, ..table() })
            .expect("published");
    }
    drop(file);
    let mut again = TableFile::open(&path).expect("a table file");
    let kept = words(&path);
    assert_eq!(
        TableView::new(&kept)
            .expect("a table")
            .read(|snapshot| snapshot.version()),
        Some(4)
    );
    again
        .publish(&Table {
            version: 9,
            endpoints: vec![],
            ..table()
        })
        .expect("published");
    let later = words(&path);
    let seen = TableView::new(&later).expect("a table").read(|snapshot| {
        (
            snapshot.version(),
            snapshot.node(),
            snapshot.is_endpoint(address("10.0.0.1:7000")),
        )
    });
    assert_eq!(seen, Some((9, 3, false)));
}

#[test]
fn a_read_during_two_publications_is_repeated() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("table");
    let mut file = TableFile::open(&path).expect("a table file");
    file.publish(&table()).expect("published");
    let now = words(&path);
    file.publish(&Table {
        version: 3,
        ..table()
    })
    .expect("published");
    let later = words(&path);
    let view = TableView::new(&now).expect("a table");
    let looks = AtomicU64::new(0);
    let version = view.read(|snapshot| {
        let seen = snapshot.version();
        if looks.fetch_add(1, Ordering::Relaxed) == 0 {
            for (word, new) in now.iter().zip(&later) {
                word.store(new.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        seen
    });
    assert_eq!((version, looks.into_inner()), (Some(3), 2));
}

#[test]
fn more_than_fits_and_other_files_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut file = TableFile::open(&directory.path().join("table")).expect("a table file");
    let many = Table {
        services: vec![TableService::default(); 65],
        ..table()
    };
    assert!(matches!(
        file.publish(&many),
        Err(TableError::TooMany {
            what: "services",
            count: 65,
            ..
        })
    ));

    let other = directory.path().join("other");
    std::fs::write(&other, b"something else entirely").expect("written");
    assert!(matches!(
        TableFile::open(&other),
        Err(TableError::NotATable { .. })
    ));
}
