//! Steps with a heading, an outcome and a time.

use std::{
    io::{IsTerminal as _, stdout},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// The steps of a task so far. All are run; the task succeeds if each did.
pub(crate) struct Steps {
    done: Vec<Done>,
    colour: bool,
}

struct Done {
    name: String,
    ok: bool,
    took: Duration,
}

impl Steps {
    pub(crate) fn new() -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { done: Vec::new(), colour }
    }

    /// Runs `step` under the heading `name`. An error is printed and fails the
    /// step, not the task's later steps.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<()>) -> bool {
        println!("{}", self.paint("1", &format!("==> {name}")));
        let begun = Instant::now();
        let result = step();
        let took = begun.elapsed();
        if let Err(error) = &result {
            println!("{}", self.paint("31", &format!("    {error:#}")));
        }
        let ok = result.is_ok();
        self.done.push(Done { name: name.to_owned(), ok, took });
        ok
    }

    /// Prints what was run, what came of it and how long it took; says whether
    /// all of it succeeded.
    pub(crate) fn finish(self) -> bool {
        println!("{}", self.paint("1", "==> summary"));
        for done in &self.done {
            let outcome =
                if done.ok { self.paint("32", "ok    ") } else { self.paint("31", "FAILED") };
            println!("    {outcome} {:>8}  {}", seconds(done.took), done.name);
        }
        self.done.iter().all(|done| done.ok)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Runs a command to its end, its output shown.
///
/// # Errors
///
/// When it can't be started, or fails.
pub(crate) fn run(mut command: Command) -> anyhow::Result<()> {
    let shown = shown(&command);
    println!("    $ {shown}");
    let status = command.status().with_context(|| format!("`{shown}` can't be started"))?;
    anyhow::ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| {
            Some(format!("{}={:?}", name.to_string_lossy(), value?.to_string_lossy()))
        })
        .collect();
    let program = std::path::Path::new(command.get_program());
    words.push(program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned());
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

fn seconds(took: Duration) -> String {
    let tenths = took.as_millis() / 100;
    if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        format!("{} min {:02} s", tenths / 600, tenths % 600 / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_task_and_later_steps_still_run() {
        let mut steps = Steps { done: Vec::new(), colour: false };
        assert!(!steps.step("a", || anyhow::bail!("no")));
        assert!(steps.step("b", || Ok(())));
        assert_eq!(steps.done.len(), 2);
        assert!(!steps.finish());
    }

    #[test]
    fn a_command_that_fails_or_does_not_exist_is_an_error() {
        assert!(run(Command::new("false")).is_err());
        assert!(run(Command::new("/nowhere/at-all")).is_err());
        assert!(run(Command::new("true")).is_ok());
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(seconds(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(seconds(Duration::from_millis(59_999)), "59.9 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
    }
}
