//! Draws a status on a screen: headings, right-aligned figures, and names that are cut where the screen is narrow.

use bytesize::ByteSize;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::status::{duration_of, history_of, interpreter_of, journal_of, latency_of, place_of, rate, state_of};
use crate::control::report::{SinkReport, SourceReport, StageReport, StatusReport, WorkerReport};

/// Spaces between two columns.
const GAP: usize = 2;
/// The least width of a column of figures, so that the columns of different sections line up.
const NARROWEST_FIGURE: usize = 9;
/// The least width of a name, however narrow the screen.
const SHORTEST_NAME: usize = 8;

/// What is on the screen: a report, and the position in it.
pub(super) struct Picture {
    pub(super) report: StatusReport,
    /// The first line shown.
    top: usize,
    /// Lines that the last drawing had room for.
    height: usize,
}

/// How to scroll in a report that is longer than the screen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Move {
    LineUp,
    LineDown,
    PageUp,
    PageDown,
}

impl Picture {
    pub(super) fn of(report: StatusReport) -> Self {
        Self { report, top: 0, height: 0 }
    }

    /// Scrolls. The next drawing corrects a position behind the end.
    pub(super) fn scroll(&mut self, by: Move) {
        self.top = match by {
            Move::LineUp => self.top.saturating_sub(1),
            Move::LineDown => self.top + 1,
            Move::PageUp => self.top.saturating_sub(self.height),
            Move::PageDown => self.top + self.height,
        };
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [body, foot] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
        let lines = lines(&self.report, body.width.into());
        self.height = body.height.into();
        self.top = self.top.min(lines.len().saturating_sub(self.height));
        let below = lines.len().saturating_sub(self.top + self.height);
        let hint = if self.top + below == 0 {
            "q quits; the application keeps running".to_owned()
        } else {
            format!("q quits; the application keeps running; ↑↓ {} lines above, {below} below", self.top)
        };
        let shown: Vec<Line<'_>> = lines.into_iter().skip(self.top).take(self.height).collect();
        frame.render_widget(Paragraph::new(shown), body);
        frame.render_widget(Line::from(hint).dim(), foot);
    }
}

fn lines(report: &StatusReport, width: usize) -> Vec<Line<'static>> {
    let StatusReport { application, pid, uptime_seconds, dead_letters, worker_deaths, .. } = report;
    let mut lines = vec![
        Line::from(vec![
            Span::from(application.clone()).bold(),
            Span::from(format!("  {}  pid {pid}  up {}", state_of(report.state), duration_of(*uptime_seconds))),
        ]),
        Line::from(vec![
            alarming("dead letters", *dead_letters),
            Span::from("  "),
            alarming("worker deaths", *worker_deaths),
        ]),
        Line::from(format!("latency  {}", latency_of(&report.latency))),
    ];
    lines.extend(report.problems.iter().map(|problem| Line::from(format!("! {problem}")).red().bold()));
    let sections = [
        Section {
            headings: &["SOURCE", "CONNECTIONS", "MESSAGES", "RATE"],
            name: 0,
            rows: report.sources.iter().map(source_row).collect(),
        },
        Section {
            headings: &["STAGE", "QUEUED", "P50", "P99", "MESSAGES", "RATE"],
            name: 0,
            rows: report.stages.iter().enumerate().map(|(number, stage)| stage_row(number, stage)).collect(),
        },
        Section {
            headings: &["SINK", "PENDING", "MESSAGES", "RATE"],
            name: 0,
            rows: report.sinks.iter().map(sink_row).collect(),
        },
        Section {
            headings: &["WORKER", "PID", "PYTHON", "MEMORY", "JOURNAL", "BATCHES", "RESTARTS"],
            name: 6,
            rows: report.workers.iter().map(worker_row).collect(),
        },
    ];
    for section in sections {
        lines.push(Line::default());
        lines.extend(section.lines(width));
    }
    lines
}

fn alarming(what: &str, count: u64) -> Span<'static> {
    let text = Span::from(format!("{what} {count}"));
    if count == 0 { text } else { text.red().bold() }
}

fn source_row(source: &SourceReport) -> Vec<String> {
    let SourceReport { name, place, connections, messages, rate: per_second, .. } = source;
    vec![named(place, name), connections.to_string(), messages.to_string(), rate(*per_second)]
}

fn stage_row(number: usize, stage: &StageReport) -> Vec<String> {
    vec![
        format!("{number}  {}{}", in_pool(stage.pool.as_ref()), stage.steps.join(" > ")),
        stage.queued.to_string(),
        duration_of(stage.latency.p50_seconds),
        duration_of(stage.latency.p99_seconds),
        stage.messages.to_string(),
        rate(stage.rate),
    ]
}

/// The name of a pool before its steps. The main pool is not named.
fn in_pool(pool: Option<&String>) -> String {
    pool.map_or_else(String::new, |pool| format!("[{pool}] "))
}

fn sink_row(sink: &SinkReport) -> Vec<String> {
    let SinkReport { name, place, messages, rate: per_second, pending_bytes, .. } = sink;
    vec![named(place, name), ByteSize(*pending_bytes as u64).to_string(), messages.to_string(), rate(*per_second)]
}

fn worker_row(worker: &WorkerReport) -> Vec<String> {
    let seat = worker.seat.as_ref();
    vec![
        place_of(worker),
        worker.pid.to_string(),
        worker.interpreter.as_ref().map_or_else(String::new, interpreter_of),
        worker.resident_bytes.map_or_else(String::new, |bytes| ByteSize(bytes).to_string()),
        seat.map_or_else(String::new, journal_of),
        seat.map_or_else(String::new, |seat| seat.in_flight.to_string()),
        seat.map_or_else(String::new, history_of),
    ]
}

/// A step without a name of its own is named after its address, which is then shown once.
fn named(place: &str, name: &str) -> String {
    if place == name { place.to_owned() } else { format!("{place}  {name}") }
}

/// Rows under headings. Every column but the name's is as wide as its widest cell.
struct Section {
    headings: &'static [&'static str],
    /// The column of names, which gets the width that is left.
    name: usize,
    rows: Vec<Vec<String>>,
}

impl Section {
    fn lines(&self, width: usize) -> impl Iterator<Item = Line<'static>> {
        let widths = self.widths(width);
        let headings = self.line(self.headings.iter().copied(), &widths);
        let rows = self.rows.iter().map(|row| Line::from(self.line(row.iter().map(String::as_str), &widths)));
        // The bar of the headings fills the whole width.
        let bar = Line::from(format!("{headings:width$}")).reversed();
        std::iter::once(bar).chain(rows.collect::<Vec<_>>())
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|heading| heading.len().max(NARROWEST_FIGURE)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = cell.chars().count().max(*widest);
            }
        }
        widths[self.name] = 0;
        let others = widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
        widths[self.name] = width.saturating_sub(others).max(SHORTEST_NAME);
        widths
    }

    /// The first column and names are aligned to the left, figures to the right.
    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
        let cells = cells.zip(widths).enumerate().map(|(column, (cell, &width))| {
            let cell = cut(cell, width);
            if column == 0 || column == self.name { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP))
    }
}

/// `text` in at most `width` characters; an ellipsis shows that it was cut.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
