//! What the documents say of each other and of the programs: links and sections that are named exist, and the sentences that
//! `docs/operations.md` explains to operators are sentences that the programs say.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of ours that ends in one of these, with its path from the root and its text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().expect("a type").is_dir() {
                if !name.starts_with('.') && name != "target" {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).expect("text");
                let path = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10, "found only {}", found.len());
    found
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The anchor that a heading gets: lower case, no punctuation, `-` for each space.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim())
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut links = 0;
    for (path, text) in files(&[".md"]) {
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
            let from = root().join(&path);
            let file: PathBuf = if file.is_empty() { from } else { from.with_file_name("").join(file) };
            assert!(file.exists(), "{path} links to {target}, which is not there");
            let is_there =
                || headings(&fs::read_to_string(&file).expect("text")).any(|h| anchor(h) == wanted);
            assert!(wanted.is_empty() || is_there(), "{path} links to {target}: no such heading");
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links found");
}

/// `4`, `4.1`: the sections of the protocol, by their headings.
fn sections() -> BTreeSet<String> {
    let page = page("docs/protocol.md");
    let numbers = headings(&page).filter_map(|heading| heading.split(' ').next());
    numbers.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned).collect()
}

/// The section number that `text` begins with.
fn number(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some(text[..end].trim_end_matches('.')).filter(|number| !number.is_empty())
}

#[test]
fn every_section_of_the_protocol_that_is_cited_is_there() {
    let sections = sections();
    assert!(sections.len() > 30, "only {sections:?}");
    let mut cited = 0;
    let mut hold = |path: &str, number: &str| {
        assert!(sections.contains(number), "{path} cites §{number} of docs/protocol.md, which is not there");
        cited += 1;
    };
    let own = page("docs/protocol.md");
    for (at, sign) in own.match_indices('§') {
        hold("docs/protocol.md", number(&own[at + sign.len()..]).expect("a number after §"));
    }
    for (path, text) in files(&[".rs", ".md", ".toml", ".py"]) {
        for (at, name) in text.match_indices("docs/protocol.md") {
            // What follows on the same line, as far as it is nothing but sections: `§2.2 and §3`, `§1 to §5`, `section 7`.
            let mut rest = text[at + name.len()..].lines().next().unwrap_or_default();
            loop {
                rest = rest.trim_start_matches(['`', ',', ' ']);
                rest = ["and ", "to ", "section ", "§"]
                    .iter()
                    .fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
                let Some(found) = number(rest) else { break };
                hold(&path, found);
                rest = &rest[found.len()..];
            }
            // By its title: `, "What an officer is told"`.
            let title = text[at + name.len()..].strip_prefix(", \"").and_then(|rest| rest.split('"').next());
            if let Some(title) = title {
                let there = headings(&own).any(|heading| heading.ends_with(title));
                assert!(there, "{path} cites \"{title}\" of docs/protocol.md, which is not there");
            }
        }
    }
    assert!(cited > 100, "only {cited} citations found");
}

#[test]
fn every_document_that_is_named_is_there() {
    for (path, text) in files(&[".rs", ".md", ".toml", ".py"]) {
        for (at, _) in text.match_indices("docs/") {
            let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'));
            let named = text[at..].split(end).next().unwrap_or_default();
            if Path::new(named).extension().is_some_and(|ending| ending == "md") {
                assert!(root().join(named).exists(), "{path} names {named}, which is not there");
            }
        }
    }
}

/// The string literals of a source, tests left out, with `…` for every placeholder.
fn sayings(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default().replace("'\"'", "");
    let mut all = Vec::new();
    let (mut literal, mut placeholder) = (None::<String>, false);
    let mut escaped = false;
    for c in source.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| line.chars())
    {
        match &mut literal {
            None if c == '"' => literal = Some(String::new()),
            None => {}
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(text) if c == '"' => {
                all.push(std::mem::take(text));
                (literal, placeholder) = (None, false);
            }
            Some(_) if placeholder => placeholder = c != '}',
            Some(text) if c == '{' => {
                placeholder = true;
                text.push('…');
            }
            Some(text) => text.push(c),
        }
    }
    all
}

#[test]
fn what_operators_are_told_to_read_is_what_the_programs_say() {
    let operations = page("docs/operations.md");
    // Blocks are commands and scripts.
    let operations: String = operations.split("```").step_by(2).collect();
    let part =
        operations.split("\n## ").filter(|part| ["6.", "7.", "10."].iter().any(|n| part.starts_with(n)));
    let quoted: Vec<&str> = part.flat_map(|part| part.split('`').skip(1).step_by(2)).collect();
    // Sentences, not commands or keys of the configuration.
    let is_said =
        |text: &&str| text.split(' ').count() > 2 && !text.starts_with("demarche") && !text.starts_with('[');
    let quoted: Vec<&str> = quoted.into_iter().filter(is_said).collect();
    assert!(quoted.len() > 20, "only {quoted:?}");
    let said: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|(path, _)| path.starts_with("crates/") && !path.contains("/tests"))
        .flat_map(|(_, source)| sayings(&source))
        .collect();
    for sentence in quoted {
        assert!(
            said.iter().any(|saying| saying.contains(sentence)),
            "docs/operations.md explains `{sentence}`, which no program says"
        );
    }
}

#[test]
fn a_saying_is_a_literal_outside_tests_and_comments() {
    let source = "/// \"not this\"\nfn f() { say('\"', format!(\"line to {} down: {why:?}\\n\")) }\n\
                  #[cfg(test)]\nmod tests { fn g() { say(\"nor this\") } }";
    assert_eq!(sayings(source), ["line to … down: …"]);
}
