//! The interactive prompt.

use std::io;
use std::path::Path;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::runtime::Runtime;

use crate::client::complete::complete;
use crate::client::run::Next;
use crate::client::session::{Session, Source};
use crate::failure::Failure;
use crate::logging::Logs;
use crate::output;

/// Reads commands and runs them, until the user leaves.
pub(crate) fn run(
    runtime: &Runtime,
    session: &mut Session,
    logs: &Logs,
    history: Option<&Path>,
) -> Result<(), Failure> {
    let mut editor = editor(session.runner.configuration().len()).map_err(Failure::Prompt)?;
    if let Some(path) = history {
        load(&mut editor, path);
    }
    // Without one, as when the output goes to a file, the log stays on stderr.
    if let Ok(printer) = editor.create_external_printer() {
        logs.print_above_prompt(printer);
    }
    let result = read(runtime, session, &mut editor);
    if let Some(path) = history
        && let Err(error) = editor.save_history(path)
    {
        output::notice(&format!("the history was not kept in {}: {error}", path.display()));
    }
    result
}

fn read(runtime: &Runtime, session: &mut Session, editor: &mut PromptEditor) -> Result<(), Failure> {
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) => {
                output::notice("(`exit` or Ctrl-D leaves)");
                continue;
            }
            Err(error) => return Err(Failure::Prompt(error)),
        };
        if !line.trim().is_empty() {
            // Only fails for a history in a database.
            let _ = editor.add_history_entry(&line);
        }
        if runtime.block_on(session.line(&line, Source::Prompt, interrupted)) == Next::Exit {
            return Ok(());
        }
    }
}

/// Resolves at Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

type PromptEditor = Editor<PromptHelper, DefaultHistory>;

fn editor(nodes: usize) -> rustyline::Result<PromptEditor> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .history_ignore_dups(true)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(PromptHelper { nodes }));
    Ok(editor)
}

fn load(editor: &mut PromptEditor, path: &Path) {
    match editor.load_history(path) {
        Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => output::notice(&format!("the history in {} cannot be read: {error}", path.display())),
        Ok(()) => {}
    }
}

/// What the prompt knows of the commands.
struct PromptHelper {
    nodes: usize,
}

impl Completer for PromptHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = complete(&line[..at], self.nodes);
        let pair = |word: String| Pair { replacement: word.clone() + " ", display: word };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl Highlighter for PromptHelper {}

impl Hinter for PromptHelper {
    type Hint = String;
}

impl Validator for PromptHelper {}

impl Helper for PromptHelper {}
