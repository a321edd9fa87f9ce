//! Makes calls on a cluster: from a prompt, or from a script.

mod commands;
mod complete;
mod grammar;
mod help;
mod parse_error;
mod parser;
mod prompt;
mod render;
mod run;
mod script;
mod session;
mod words;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use gorums::Configuration;
use tokio::runtime::Runtime;

use self::run::Runner;
use self::session::Session;
use crate::args::ClientOptions;
use crate::failure::Failure;
use crate::local::LocalCluster;
use crate::logging::Logs;
use crate::output;
use crate::tls::Tls;

/// Runs commands until there are no more.
pub(crate) fn run(runtime: &Runtime, options: ClientOptions) -> Result<ExitCode, Failure> {
    let ClientOptions { servers, commands, timeout, history, interceptors, tls, log_level } = options;
    let logs = Logs::start(log_level);
    let local = if servers.is_empty() {
        Some(runtime.block_on(LocalCluster::start(timeout, &interceptors))?)
    } else {
        None
    };
    let addresses = local.as_ref().map_or(&servers[..], LocalCluster::addresses);
    let configuration = {
        let _runtime = runtime.enter();
        let builder = Configuration::builder().nodes(addresses).timeout(timeout);
        Tls::connect(tls.as_ref(), builder)?.connect_lazy()?
    };
    let runner = Runner::new(configuration.clone(), timeout, local.is_some().then(|| logs.clone()));
    let mut session = Session::new(runner);

    let code = if !commands.is_empty() {
        script::run_options(runtime, &mut session, &commands);
        exit_code(&session)
    } else if io::stdin().is_terminal() {
        runtime.block_on(greet(&mut session.runner, local.is_some()));
        prompt::run(runtime, &mut session, &logs, history.as_deref())?;
        ExitCode::SUCCESS
    } else {
        script::run_stdin(runtime, &mut session);
        exit_code(&session)
    };

    // The clients first, so that the servers have nobody left to wait for.
    runtime.block_on(configuration.close());
    if let Some(local) = local {
        runtime.block_on(local.shutdown());
    }
    Ok(code)
}

fn exit_code(session: &Session) -> ExitCode {
    if session.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn greet(runner: &mut Runner, local: bool) {
    runner.dial().await;
    if local {
        output::result("Four storage servers run in this process:\n");
    }
    output::result(&runner.table());
    output::result(
        "\nTry `qc write foo bar` and `qc read foo`. `help` lists the commands, Tab completes them.",
    );
}
