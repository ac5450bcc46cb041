//! The `sluice-loadtest` binary: arguments, then one of its commands. [boot]

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadtest::limits;

/// Scripted LLM upstream and load client.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Processors to run on, such as `1` or `0,2-3`.
    #[arg(long, global = true)]
    cpus: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a scripted OpenAI-shaped upstream.
    Mock(loadtest::mock::MockArguments),
    /// Send load to targets and compare them.
    Run(Box<loadtest::run::RunArguments>),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    limits::raise_descriptors()?;
    if let Some(cpus) = &arguments.cpus {
        limits::pin(cpus)?;
    }
    match &arguments.command {
        Command::Mock(arguments) => loadtest::mock::main(arguments),
        Command::Run(arguments) => loadtest::run::main(arguments),
    }
}
