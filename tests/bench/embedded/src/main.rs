//! The design with which this project is compared: the application's steps run in an interpreter linked into the
//! program, event by event, with objects passed by reference. Sources and sinks are the orchestrator's own code on a
//! separate thread, so the interpreter only runs steps.
//!
//! It has the limits of its design: there is one interpreter lock, and a crash in a step ends the program.

mod application;
mod call;
mod network;
mod outlet;
mod pipeline;

use std::process::ExitCode;

use clap::Parser;
use pyo3::prelude::*;
use tokio::sync::mpsc::error::TryRecvError;
use wallaroo_orch::source::SourceEvent;

use crate::application::Application;
use crate::network::Network;

/// Runs an application in this process.
#[derive(Debug, Parser)]
struct Args {
    /// Path of the application's .py file
    app: String,
    /// Arguments of the application
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    app_args: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    Python::attach(|py| match Application::load(py, &args.app, &args.app_args) {
        Ok(application) => match network::open(&application) {
            Ok(network) => {
                for place in &network.listening {
                    eprintln!("listening on {place}");
                }
                match settle_memory(py) {
                    Ok(()) => run(py, &application, network),
                    Err(error) => error.print(py),
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            error.print(py);
            ExitCode::FAILURE
        }
    })
}

/// As a worker does, freezes the objects that importing created, so the collector does not visit them.
fn settle_memory(py: Python<'_>) -> PyResult<()> {
    let collector = py.import("gc")?;
    collector.call_method0("collect")?;
    collector.call_method0("freeze")?;
    Ok(())
}

/// Runs every frame through its pipeline until the network ends.
fn run(py: Python<'_>, application: &Application, network: Network) {
    let Network { mut events, budgets, mut outlets, .. } = network;
    loop {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // Nothing to do: gathered messages are sent, and the user's threads may run.
                for outlet in &mut outlets {
                    outlet.flush(py);
                }
                match py.detach(|| events.blocking_recv()) {
                    Some(event) => event,
                    None => return,
                }
            }
        };
        if let SourceEvent::Frames { source, block, .. } = event {
            let pipeline = &application.sources[source.index()].pipeline;
            for span in &block.spans {
                pipeline.run(py, &block.data[span.start as usize..span.end as usize], &mut outlets);
            }
            budgets[source.index()].give_back(block.weight());
            // Objects that the network thread has released are freed when the interpreter is entered again.
            py.detach(|| ());
        }
    }
}
