//! What fuzzing has found interesting (`fuzz/corpus/label`, kept small by `-merge=1`), through the oracle of the fuzz target.

#[path = "../../../fuzz/fuzz_targets/oracle.rs"]
mod oracle;

use std::path::Path;

/// Fewer say that the corpus was lost.
const INPUTS_MIN: usize = 20;

#[test]
fn the_corpus_of_the_fuzzer_is_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/label");
    let entries = std::fs::read_dir(&folder).expect("the corpus is in the repository");
    let mut labels = 0;
    let mut inputs = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("readable");
        oracle::check(&bytes);
        inputs += 1;
        labels += usize::from(matches!(label::parse(&bytes), label::Parsed::Label { .. }));
    }
    assert!(
        inputs >= INPUTS_MIN,
        "{inputs} inputs in {}",
        folder.display()
    );
    assert!(labels > 0, "no input is a label: nothing was written again");
}
