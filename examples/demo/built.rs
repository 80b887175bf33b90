//! The two programs, built before the story: `cargo run --example` builds an example without its package's programs.

use std::{env, path::PathBuf, process::Command};

use crate::support::programs::Programs;

/// Builds them with the cargo and the profile that built this example, and says where they are.
pub(crate) fn programs() -> Result<Programs, String> {
    let example = env::current_exe().map_err(|why| format!("this program is not found: {why}"))?;
    let built: PathBuf = example.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // With the example, so that the same features are resolved as when it was built, and nothing is built twice.
    command.args(["build", "--quiet", "--bins", "--example", "demo"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    if built.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().map_err(|why| format!("cargo does not start: {why}"))?;
    if !status.success() {
        return Err("the programs do not build".to_owned());
    }
    let programs = Programs { demarche: built.join("demarche"), demarched: built.join("demarched") };
    for program in [&programs.demarche, &programs.demarched] {
        if !program.is_file() {
            return Err(format!("cargo built no {}", program.display()));
        }
    }
    Ok(programs)
}
