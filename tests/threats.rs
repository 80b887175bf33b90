//! `docs/threat-model.md` says which tests answer which threat: every file that it names holds a test which bears the threat's id,
//! in its name or in the comment right above it, and which is run.

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
            assert!(
                tests_of(&source).any(|test| test.bears(id)),
                "{file} has no test whose name, or the comment right above it, bears {id}"
            );
        }
        rows += 1;
    }
    assert!(rows > 40, "only {rows} threats found: has the page changed its form?");
}

/// A test function that is run: always, or when `.ci/run` is root.
struct Test<'a> {
    name: &'a str,
    /// The lines of the comment right above it.
    comment: Vec<&'a str>,
}

impl Test<'_> {
    fn bears(&self, id: &str) -> bool {
        let words = self.comment.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()));
        self.name.split('_').any(|part| part == id.to_lowercase()) || words.into_iter().any(|word| word == id)
    }
}

fn tests_of(source: &str) -> impl Iterator<Item = Test<'_>> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let functions: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].starts_with("fn ") || lines[*at].starts_with("async fn "))
        .collect();
    functions.into_iter().filter_map(move |at| {
        let begin =
            lines[..at].iter().rposition(|line| !is_above_a_function(line)).map_or(0, |line| line + 1);
        let above = &lines[begin..at];
        let has = |what: &str| above.iter().any(|line| line.starts_with(what));
        let is_run = !has("#[ignore") || has("#[ignore = \"needs root: ");
        let comment = above.iter().filter_map(|line| line.strip_prefix("///")).collect();
        let (_, name) = lines[at].split_once("fn ")?;
        let name = name.split(['(', '<']).next()?;
        ((has("#[test]") || has("#[tokio::test")) && is_run).then_some(Test { name, comment })
    })
}

fn is_above_a_function(line: &str) -> bool {
    line.starts_with("///") || line.starts_with("#[")
}

#[test]
fn an_id_counts_only_where_a_test_that_is_run_bears_it() {
    let bears = |source: &str| tests_of(source).any(|test| test.bears("K1"));
    assert!(bears("#[test]\nfn k1_a_stolen_key() {}"));
    assert!(bears("/// K1: a stolen key.\n#[tokio::test(flavor = \"x\")]\nasync fn a_stolen_key() {}"));
    assert!(bears("#[test]\n#[ignore = \"needs root: this command\"]\nfn k1_a_stolen_key() {}"));
    for elsewhere in [
        "// K1\n#[test]\nfn a_stolen_key() {}",
        "//! K1\n\n#[test]\nfn a_stolen_key() {}",
        "#[test]\nfn a_stolen_key() {\n    // K1\n}",
        "/// K1\nfn a_helper() {}\n\n#[test]\nfn a_stolen_key() {}",
        "fn k1_helper() {}",
        "#[test]\n#[ignore = \"a measurement\"]\nfn k1_a_stolen_key() {}",
        "/// K1b, K10: others.\n#[test]\nfn k1b_k10_others() {}",
    ] {
        assert!(!bears(elsewhere), "{elsewhere}");
    }
}
