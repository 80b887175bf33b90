//! The officers' tool. Everything it does is in `demarche-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    demarche_cli::main()
}
