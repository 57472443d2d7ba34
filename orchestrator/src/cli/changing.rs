//! `wallaroo-orch scale` and `wallaroo-orch swap`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::control::{ControlArgs, print_json};
use super::error::CliError;
use super::run::duration;
use crate::cli::terminal;
use crate::control::report::{ChangeReport, Scale, Swap};
use crate::control::routes::MOST_WORKERS;
use crate::interpreter;

/// Arguments of `wallaroo-orch scale`.
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// The pool to change [default: the main pool]
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// The number of workers to have
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_WORKERS)))]
    workers: u32,
}

/// Arguments of `wallaroo-orch swap`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["python", "app"]).required(true))]
pub(super) struct SwapArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// The Python to run the workers with: a path, or the name of a command
    #[arg(long, value_name = "PATH|NAME")]
    python: Option<PathBuf>,
    /// Reload the application's code with the same interpreter
    #[arg(long, conflicts_with = "python")]
    app: bool,
    /// The pool to change [default: the main pool]
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// How long a new worker may take to be ready
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    start_timeout: Duration,
}

/// Changes the number of workers.
pub(super) async fn scale(args: ScaleArgs) -> Result<(), CliError> {
    let client = args.control.client().await?;
    let report: ChangeReport = client.post("/v1/scale", &Scale { workers: args.workers, pool: args.pool }).await?;
    Ok(print(&report, args.control.json)?)
}

/// Replaces the workers.
pub(super) async fn swap(args: SwapArgs) -> Result<(), CliError> {
    let client = args.control.client().await?;
    let python = args.python.map(|python| interpreter::resolve(Some(&python))).transpose()?;
    // An interpreter that cannot run workers is reported before a worker is started.
    if let Some(python) = &python
        && let Some(diagnosis) = interpreter::diagnose(python).await
    {
        return Err(diagnosis.into());
    }
    let swap = Swap { python, pool: args.pool, start_timeout_seconds: args.start_timeout.as_secs_f64() };
    let report: ChangeReport = client.post("/v1/swap", &swap).await?;
    Ok(print(&report, args.control.json)?)
}

fn print(report: &ChangeReport, json: bool) -> std::io::Result<()> {
    if json {
        return print_json(report);
    }
    let ChangeReport { workers, interpreter, moved_partitions, longest_pause_seconds, elapsed_seconds } = report;
    let interpreter = interpreter.as_ref().map_or_else(String::new, |interpreter| {
        format!(", {} {}  {}", interpreter.implementation, interpreter.version, interpreter.executable)
    });
    let pause = longest_pause_seconds * 1e3;
    terminal::line(format_args!("{workers} workers{interpreter}"));
    terminal::line(format_args!(
        "{moved_partitions} partitions moved; a key waited {pause:.0} ms at most; the change took {elapsed_seconds:.1} s"
    ));
    Ok(())
}
