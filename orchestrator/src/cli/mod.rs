//! The command line, one file a subcommand.

mod changing;
mod check;
mod control;
mod dead_letters;
mod ending;
mod error;
mod graph;
mod init;
mod option;
mod pools;
mod receive;
mod run;
mod send;
mod stack;
mod status;
mod table;
mod top;

use std::io::IsTerminal;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::worker::guard;

pub use self::error::CliError;
use self::option::FieldsWithOption;

/// Runs Python stream processing applications in a pool of worker processes.
#[derive(Debug, Parser)]
#[command(name = "wallaroo-orch", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a new application, with its test, that runs as it stands
    Init(init::InitArgs),
    /// Run an application until its sources end or it is told to stop
    Run(Box<run::RunArgs>),
    /// Build an application's topology in one worker, print its stages, exit
    Check(check::CheckArgs),
    /// Draw an application's topology
    Graph(graph::GraphArgs),
    /// Send a file or standard input to an application, one message a line
    Send(send::SendArgs),
    /// Print what an application sends
    Receive(receive::ReceiveArgs),
    /// Look at messages that could not be processed, send them again, or drop them
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Show how a running application is
    Status(status::StatusArgs),
    /// Show how a running application is, live
    Top(top::TopArgs),
    /// Give a running application more workers or fewer
    Scale(changing::ScaleArgs),
    /// Replace a running application's workers: by another interpreter's, or by ones that have loaded its code anew
    Swap(changing::SwapArgs),
    /// Have a running application read no more, finish what it accepted, and end
    Drain(ending::EndingArgs),
    /// Have a running application end at once, whatever is under way
    Stop(ending::EndingArgs),
    /// Show what a running application's workers are doing: their Python stacks
    Stack(stack::StackArgs),
    /// Kill what is left when the orchestrator is gone; started by it
    #[command(name = guard::SUBCOMMAND, hide = true)]
    Guard,
}

/// Options about logging, the same for every subcommand that starts workers.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines look on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log more (-vv: everything)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogArgs {
    /// Starts logging to standard error. `WALLAROO_LOG` overrides the level, as `tracing` filters are written.
    pub fn start(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => "info",
            (false, 1) => "debug",
            (false, _) => "trace",
        };
        let filter = EnvFilter::try_from_env("WALLAROO_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let fields = FieldsWithOption::default();
        match self.log_format {
            LogFormat::Text => {
                subscriber.fmt_fields(fields).with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
            }
            LogFormat::Json => subscriber.json().flatten_event(true).init(),
        }
    }
}

impl Cli {
    /// Does what was asked for.
    pub async fn execute(self) -> Result<(), CliError> {
        match self.command {
            Command::Init(args) => Ok(init::run(&args)?),
            Command::Run(args) => run::run(*args).await,
            Command::Check(args) => check::run(args).await,
            Command::Graph(args) => graph::run(args).await,
            Command::Send(args) => Ok(send::run(args).await?),
            Command::Receive(args) => Ok(receive::run(args).await?),
            Command::DeadLetters(args) => Ok(dead_letters::run(args).await?),
            Command::Status(args) => status::run(args).await,
            Command::Top(args) => top::run(args).await,
            Command::Scale(args) => changing::scale(args).await,
            Command::Swap(args) => changing::swap(args).await,
            Command::Drain(args) => ending::run(args, "/v1/drain").await,
            Command::Stop(args) => ending::run(args, "/v1/stop").await,
            Command::Stack(args) => stack::run(args).await,
            Command::Guard => Ok(guard::run()?),
        }
    }
}
