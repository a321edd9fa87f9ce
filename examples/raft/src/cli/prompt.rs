//! The prompt.

use clap::{Parser, Subcommand};
use raft::Client;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::runtime::Runtime;

use crate::cli::args::ClientCommand;
use crate::cli::commands;
use crate::cli::failure::Failure;
use crate::cli::local::Local;
use raft::program::output::notice;

/// A line of the prompt.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_version_flag = true, name = "")]
struct Line {
    #[command(subcommand)]
    command: LineCommand,
}

#[derive(Debug, Subcommand)]
enum LineCommand {
    #[command(flatten)]
    Client(ClientCommand),
    /// Kill a node, as `kill -9` does.
    Kill { node: u32 },
    /// Start a node that was killed.
    Start { node: u32 },
    /// Leave, and stop the nodes.
    #[command(alias = "quit")]
    Exit,
}

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Done,
    Failed,
    Exit,
}

/// Reads commands and runs them, until the user leaves.
pub(crate) fn run(runtime: &Runtime, client: &Client, local: &mut Local) -> Result<(), Failure> {
    let mut editor = DefaultEditor::new()?;
    loop {
        let text = match editor.readline("> ") {
            Ok(text) => text,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) => {
                notice("(`exit` or Ctrl-D leaves)");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // Only fails for a history in a database.
        let _ = editor.add_history_entry(&text);
        if line(runtime, client, local, &text) == Next::Exit {
            return Ok(());
        }
    }
}

/// Runs one line. Ctrl-C ends what it does.
pub(crate) fn line(runtime: &Runtime, client: &Client, local: &mut Local, text: &str) -> Next {
    let Some(words) = shlex::split(text) else {
        notice("error: a quote is not closed");
        return Next::Failed;
    };
    if words.is_empty() {
        return Next::Done;
    }
    let command = match Line::try_parse_from(words) {
        Ok(line) => line.command,
        Err(error) => {
            // There is no other place to say that this failed.
            let _ = error.print();
            return if error.use_stderr() { Next::Failed } else { Next::Done };
        }
    };
    let run = async {
        match command {
            LineCommand::Client(command) => commands::run(client, command).await?,
            LineCommand::Kill { node } => local.kill(node).await?,
            LineCommand::Start { node } => local.start(node).await?,
            LineCommand::Exit => return Ok(Next::Exit),
        }
        Ok::<_, Failure>(Next::Done)
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run => ended,
            _ = tokio::signal::ctrl_c() => Ok(Next::Done),
        }
    });
    ended.unwrap_or_else(|failure| {
        notice(&format!("error: {failure}"));
        Next::Failed
    })
}
