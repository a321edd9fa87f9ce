//! Lines of commands, one after the other, from wherever they come.

use std::future::Future;

use crate::client::commands::Command;
use crate::client::parser::Line;
use crate::client::render::{self, ERROR};
use crate::client::run::{CallFailure, Next, Runner};
use crate::output;

/// Who gives the commands: decides how mistakes are told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// Somebody who sees what was typed.
    Prompt,
    /// `-e`.
    Option,
    /// This line of stdin.
    Script(usize),
}

/// Runs lines, and remembers whether something went wrong.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) runner: Runner,
    failed: bool,
}

impl Session {
    pub(crate) fn new(runner: Runner) -> Self {
        Self { runner, failed: false }
    }

    /// Whether a command has failed so far.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Runs the commands of a line. One that fails does not keep the next from running; when `interrupted`
    /// resolves, the line is given up.
    pub(crate) async fn line<I: Future<Output = ()>>(
        &mut self,
        line: &str,
        source: Source,
        interrupted: impl Fn() -> I,
    ) -> Next {
        let cut = Line::cut(line);
        if let Some(open) = cut.open {
            self.fail(source, line.trim(), &open.to_string());
            return Next::Continue;
        }
        for words in cut.commands {
            let words: Vec<_> = words.into_iter().map(|word| word.text).collect();
            let command = match Command::parse(&words, self.runner.configuration().len()) {
                Ok(Some(command)) => command,
                Ok(None) => continue,
                Err(error) => {
                    self.fail(source, &words.join(" "), &error.to_string());
                    continue;
                }
            };
            let result = tokio::select! {
                result = self.runner.run(command) => result,
                () = interrupted() => Err(CallFailure::Interrupted),
            };
            match result {
                Ok(Next::Continue) => {}
                Ok(Next::Exit) => return Next::Exit,
                Err(failure) => {
                    let text = render::failure(&failure, self.runner.configuration());
                    self.fail(source, &words.join(" "), &text);
                    if matches!(failure, CallFailure::Interrupted) {
                        return Next::Continue;
                    }
                }
            }
            if output::is_closed() {
                self.failed = true;
                return Next::Exit;
            }
        }
        Next::Continue
    }

    /// Tells what is wrong with a command.
    pub(crate) fn fail(&mut self, source: Source, command: &str, reason: &str) {
        self.failed = true;
        let command = command.escape_debug();
        let whence = match source {
            Source::Prompt => String::new(),
            Source::Option => format!("`{command}`: "),
            Source::Script(number) => format!("line {number}: `{command}`: "),
        };
        output::notice(&format!("{ERROR}error:{ERROR:#} {whence}{reason}"));
    }
}
