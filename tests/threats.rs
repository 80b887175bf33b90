//! `docs/threat-model.md` says which test answers which threat: every file that it names is there and bears the id.

use std::{fs, path::Path};

#[test]
fn every_threat_points_to_tests_that_bear_its_id() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/threat-model.md")).expect("the page");
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _, tests] = cells[..] else { panic!("not a row of three: {line}") };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{id} names no test");
        for file in named {
            let source =
                fs::read_to_string(root.join(file)).unwrap_or_else(|why| panic!("{id}: {file}: {why}"));
            assert!(bears(&source, id), "{file} does not bear {id}");
        }
        rows += 1;
    }
    assert!(rows > 40, "only {rows} threats found: has the page changed its form?");
}

/// As a word in a comment or string, or as a part of a test's name.
fn bears(source: &str, id: &str) -> bool {
    let part_of_name = id.to_lowercase();
    let names = source.lines().filter_map(|line| line.trim_start().split_once("fn ")).map(|(_, name)| name);
    let in_name = names
        .filter_map(|name| name.split('(').next())
        .any(|name| name.split('_').any(|part| part == part_of_name));
    in_name || source.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == id)
        // M1–M5 stands for all between.
        || (id == "M3" && source.contains("M1–M5"))
}
