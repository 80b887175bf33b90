//! A program of the operator's: started without a shell, given JSON on its standard input, and ended when it takes too long.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::defaults::PROGRAM_TIME;

/// Runs a program with its arguments to its end. Says why when it did not do what it was asked to.
pub(crate) async fn run(command: &[String], input: &str) -> Result<(), String> {
    run_within(PROGRAM_TIME, command, input).await
}

async fn run_within(limit: Duration, command: &[String], input: &str) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let outcome = timeout(limit, once(program, arguments, input)).await;
    outcome.unwrap_or_else(|_| Err(format!("it ran longer than {} s", limit.as_secs())))
}

async fn once(program: &str, arguments: &[String], input: &str) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not care to read is not at fault.
        let _ = stdin.write_all(input.as_bytes()).await;
        let _ = stdin.write_all(b"\n").await;
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_program_gets_one_line_and_its_failure_is_told() {
        let directory = tempdir().unwrap();
        let file = directory.path().join("got");
        let why = run(&shell(&format!("cat > {}; exit 3", file.display())), "{\"kind\":\"alarm\"}").await;
        assert_eq!(why, Err("exit status: 3".to_owned()));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"kind\":\"alarm\"}\n");
        assert_eq!(run(&shell("exit 0"), &"x".repeat(1 << 20)).await, Ok(()), "it need not read");
        assert!(run(&["/nonexistent/hook".to_owned()], "").await.unwrap_err().contains("No such file"));
    }

    /// No shell: what an alarm says is nobody's command.
    #[tokio::test]
    async fn arguments_are_given_as_they_are() {
        let directory = tempdir().unwrap();
        let file = directory.path().join("a b; touch c");
        run(&["touch".to_owned(), file.display().to_string()], "").await.unwrap();
        let all: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(all, [file]);
    }

    /// Also one that leaves what it is given unread, more of it than a pipe holds.
    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended() {
        let directory = tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("echo $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 600", file.display());
        let why = run_within(Duration::from_secs(1), &shell(&script), &"x".repeat(1 << 20)).await;
        assert_eq!(why, Err("it ran longer than 1 s".to_owned()));
        let process = format!("/proc/{}/cmdline", std::fs::read_to_string(file).unwrap().trim());
        let ended = async {
            // Of one that has ended and was not collected yet, nothing is left to read.
            while std::fs::read(&process).is_ok_and(|line| !line.is_empty()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), ended).await.expect("it is gone");
    }
}
