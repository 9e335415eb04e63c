//! The reference page says what the reader of the files accepts, and the committed one is that page.

use crate::knowledge::schema;
use std::path::Path;

#[test]
fn every_key_that_is_accepted_is_explained_and_no_other() {
    assert_eq!(schema::differences(), Vec::<String>::new());
}

#[test]
fn the_committed_reference_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("KNOWLEDGE.md");
    let page = schema::page();
    if std::env::var_os("FIRSTLINE_BLESS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == page,
        "collector/KNOWLEDGE.md is stale: run this test with FIRSTLINE_BLESS=1 and commit"
    );
}
