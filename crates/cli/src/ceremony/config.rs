//! The configuration that `setup` writes: the documented example, with a mediator's addresses put in.

use std::fmt::Write as _;

/// Every key with what it does; what stands behind `#!` is an example.
const EXAMPLE: &str = include_str!("../../../../examples/demarched.toml");

/// The text of `demarched.toml` for a node that listens on these addresses; none for a party's.
pub(super) fn render(listen: &[String], public: &[String]) -> String {
    let mut out = String::with_capacity(EXAMPLE.len() + 256);
    for line in EXAMPLE.lines() {
        out.push_str(line);
        out.push('\n');
        for (key, values) in [("listen", listen), ("public", public)] {
            if line.starts_with(&format!("#! {key} = ")) && !values.is_empty() {
                let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
                // Writing into a String cannot fail.
                let _ = writeln!(out, "{key} = [{}]", quoted.join(", "));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mediators_addresses_stand_in_its_configuration_and_a_partys_is_the_example() {
        assert_eq!(render(&[], &[]), EXAMPLE);
        let text = render(&["127.0.0.1:7701".into()], &["relay.example:7701".into()]);
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["network"]["listen"][0].as_str(), Some("127.0.0.1:7701"));
        assert_eq!(read["network"]["public"][0].as_str(), Some("relay.example:7701"));
    }
}
