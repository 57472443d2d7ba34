//! `wallaroo-orch top`: the status on the whole terminal, updated as it changes.

mod picture;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::picture::{Move, Picture};
use super::control::SocketArgs;
use super::error::CliError;
use super::run::duration;
use crate::cli::terminal;
use crate::control::client::{Client, ClientError};
use crate::control::report::StatusReport;

/// Arguments of `wallaroo-orch top`.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    socket: SocketArgs,
    /// Time between two updates
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration)]
    interval: Duration,
}

/// Shows the state of a run until the user quits or the application ends.
pub(super) async fn run(args: TopArgs) -> Result<(), CliError> {
    if !io::stdout().is_terminal() || terminal::is_dumb() {
        return Err(CliError::NoTerminal);
    }
    let client = args.socket.client().await?;
    let first = look(&client).await?;
    let application = first.application.clone();
    let left = {
        let mut screen = Screen::take()?;
        show(&mut screen.0, &client, first, args.interval).await?
    };
    if left == Left::ApplicationEnded {
        terminal::note(format_args!("{application} has ended"));
    }
    Ok(())
}

/// The whole terminal. Dropping this restores it, and so does its panic hook after a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        // A failure may leave the terminal half set up.
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Why the command ended.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Asked,
    ApplicationEnded,
}

async fn show(
    terminal: &mut DefaultTerminal,
    client: &Client,
    first: StatusReport,
    interval: Duration,
) -> Result<Left, CliError> {
    let mut orders = orders();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut picture = Picture::of(first);
    loop {
        terminal.draw(|frame| picture.draw(frame))?;
        let next_look = async {
            tokio::time::sleep(interval).await;
            look(client).await
        };
        tokio::pin!(next_look);
        // Keys are handled also while the application does not answer.
        loop {
            tokio::select! {
                report = &mut next_look => {
                    match report {
                        Err(error) if error.is_over() => return Ok(Left::ApplicationEnded),
                        report => picture.report = report?,
                    }
                    break;
                }
                order = orders.recv() => {
                    match order {
                        // `None`: the terminal cannot be read any more.
                        Some(Order::Leave) | None => return Ok(Left::Asked),
                        Some(Order::Scroll(by)) => picture.scroll(by),
                        Some(Order::Draw) => {}
                    }
                    terminal.draw(|frame| picture.draw(frame))?;
                }
                _ = interrupt.recv() => return Ok(Left::Asked),
                _ = terminate.recv() => return Ok(Left::Asked),
                _ = hangup.recv() => return Ok(Left::Asked),
            }
        }
    }
}

async fn look(client: &Client) -> Result<StatusReport, ClientError> {
    client.get("/v1/status").await
}

/// What the user asked for with a key, or the terminal by changing its size.
enum Order {
    Leave,
    Draw,
    Scroll(Move),
}

/// Starts reading orders from the terminal. Reading blocks, so a thread does it; the thread ends with the process.
fn orders() -> mpsc::Receiver<Order> {
    let (sender, orders) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if let Some(order) = order_of(&event)
                && sender.blocking_send(order).is_err()
            {
                return;
            }
        }
    });
    orders
}

fn order_of(event: &Event) -> Option<Order> {
    let key = match event {
        Event::Resize(..) => return Some(Order::Draw),
        Event::Key(key @ KeyEvent { kind: KeyEventKind::Press | KeyEventKind::Repeat, .. }) => key,
        _ => return None,
    };
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Order::Leave),
        // In raw mode the terminal does not turn this key into a signal.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Order::Leave),
        KeyCode::Up => Some(Order::Scroll(Move::LineUp)),
        KeyCode::Down => Some(Order::Scroll(Move::LineDown)),
        KeyCode::PageUp => Some(Order::Scroll(Move::PageUp)),
        KeyCode::PageDown => Some(Order::Scroll(Move::PageDown)),
        _ => None,
    }
}
