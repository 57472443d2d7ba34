//! `wallaroo-orch check`.

use clap::Args;

use super::LogArgs;
use super::error::CliError;
use super::run::ApplicationArgs;
use crate::cli::terminal;
use crate::plan::{Guarantee, Input, Plan, Target};
use crate::runtime::RunError;

/// Arguments of `wallaroo-orch check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    pub(super) application: ApplicationArgs,
}

/// Prints the stages of an application, and what is promised to its messages.
pub(super) async fn run(args: CheckArgs) -> Result<(), CliError> {
    args.log.start();
    let topology = args.application.describe().await?;
    let plan = Plan::new(topology).map_err(RunError::from)?;
    terminal::text(format_args!("{}{}", stages(&plan), guarantees(&plan)));
    Ok(())
}

fn stages(plan: &Plan) -> String {
    let mut lines = vec![plan.topology.name.clone()];
    for stage in &plan.stages {
        let kind = match stage.input {
            Input::Frames(_) => "on all workers in parallel, order kept",
            Input::Cut(_) => "cuts frames",
            Input::Generate(..) => "generates values, on one worker",
            Input::Groups(_) => "by key",
            Input::Values => "on all workers of the pool in parallel, order kept",
        };
        let pool = plan.pool_name(stage.pool).map_or_else(String::new, |pool| format!("pool {pool}, "));
        lines.push(format!("stage {}: {} ({pool}{kind})", stage.id, plan.root_name(stage)));
        lines.extend(stage.steps.iter().map(|step| format!("  {}", plan.name(*step))));
        for (outlet, target) in &stage.outlets {
            lines.push(match target {
                Target::Stage(stage) => format!("  {} -> stage {stage}", plan.name(*outlet)),
                Target::Sink(sink) => format!("  {} -> {}", plan.name(*outlet), plan.sinks[sink.index()].address()),
            });
        }
    }
    lines.join("\n") + "\n"
}

fn guarantees(plan: &Plan) -> String {
    let lines = plan.guarantees().into_iter().map(|Guarantee { source, sink, without_state, with_state }| {
        format!("{source} -> {sink}\n  without --state: {without_state}\n  with --state: {with_state}\n")
    });
    lines.collect()
}
