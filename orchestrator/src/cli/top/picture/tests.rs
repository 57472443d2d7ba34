use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::control::report::{
    HealthReport, HealthState, InterpreterReport, LatencyReport, RunState, SeatReport, WorkerState,
};

fn sink() -> SinkReport {
    SinkReport {
        name: "counts".to_owned(),
        place: "tcp 127.0.0.1:7002".to_owned(),
        health: up(),
        messages: 12_345_678,
        rate: 987_654.3,
        pending_bytes: 3 << 20,
    }
}

fn up() -> HealthReport {
    HealthReport { state: HealthState::Up, for_seconds: None, reason: None }
}

fn latency() -> LatencyReport {
    LatencyReport {
        messages: 1_234_567,
        p50_seconds: 0.000_085,
        p90_seconds: 0.0012,
        p99_seconds: 0.0034,
        p999_seconds: 0.0125,
        longest_seconds: 1.25,
    }
}

fn report() -> StatusReport {
    let latency = latency();
    let stage = |steps: &[&str], queued| StageReport {
        pool: None,
        steps: steps.iter().map(ToString::to_string).collect(),
        messages: 1_234_567,
        rate: 98_765.4,
        queued,
        late: 0,
        service_seconds: Some(0.000_001),
        latency,
    };
    let seat = |slot, last_death: Option<&str>| SeatReport {
        slot,
        in_flight: 2,
        journal_bytes: 1 << 20,
        journal_limit_bytes: 64 << 20,
        unsaved_state: None,
        rebuildable: true,
        restarts: u32::from(last_death.is_some()),
        last_death: last_death.map(str::to_owned),
    };
    let worker = |pid, state, seat| WorkerReport {
        pid,
        pool: None,
        generation: 0,
        state,
        interpreter: Some(InterpreterReport {
            implementation: "cpython".to_owned(),
            version: "3.13.1".to_owned(),
            executable: "/usr/bin/python3".to_owned(),
        }),
        resident_bytes: Some(21 << 20),
        seat,
    };
    StatusReport {
        log: None,
        metrics: Vec::new(),
        version: "1".to_owned(),
        pid: 4711,
        application: "Word Count".to_owned(),
        state: RunState::Running,
        uptime_seconds: 3.0,
        sources: vec![SourceReport {
            name: "tcp 127.0.0.1:7010".to_owned(),
            place: "tcp 127.0.0.1:7010".to_owned(),
            health: up(),
            connections: 1,
            messages: 1_234_567,
            rate: 98_765.4,
        }],
        stages: vec![stage(&["split a line into its words", "strip", "key by word"], 12), stage(&["count"], 3)],
        sinks: vec![sink()],
        latency,
        workers: vec![
            worker(4712, WorkerState::Seated, Some(seat(0, None))),
            worker(4715, WorkerState::Seated, Some(seat(1, Some("killed by SIGSEGV")))),
            worker(4714, WorkerState::Standby, None),
        ],
        ledger_keys: 65,
        dead_letters: 0,
        worker_deaths: 1,
        problems: Vec::new(),
    }
}

/// What a terminal of that size shows.
fn screen(picture: &mut Picture, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| picture.draw(frame)).expect("drawn");
    let lines = terminal.backend().to_string();
    let lines = lines.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn all_of_it_fits_eighty_by_twenty_four() {
    let wanted = "\
Word Count  running  pid 4711  up 3.0 s
dead letters 0  worker deaths 1
latency  p50 85.0 µs  p99 3.4 ms  p99.9 12.5 ms  longest 1.2 s

SOURCE                                         CONNECTIONS   MESSAGES       RATE
tcp 127.0.0.1:7010                                       1    1234567    98765/s

STAGE                         QUEUED        P50        P99   MESSAGES       RATE
0  split a line into its…         12    85.0 µs     3.4 ms    1234567    98765/s
1  count                           3    85.0 µs     3.4 ms    1234567    98765/s

SINK                                               PENDING   MESSAGES       RATE
tcp 127.0.0.1:7002  counts                         3.0 MiB   12345678   987654/s

WORKER           PID          PYTHON     MEMORY    JOURNAL    BATCHES  RESTARTS
slot 0          4712  cpython 3.13.1   21.0 MiB    1.0 MiB          2
slot 1          4715  cpython 3.13.1   21.0 MiB    1.0 MiB          2  1 restar…
standby         4714  cpython 3.13.1   21.0 MiB





q quits; the application keeps running";
    assert_eq!(screen(&mut Picture::of(report()), 80, 24), wanted);
}

#[test]
fn a_wider_screen_shows_names_whole() {
    let shown = screen(&mut Picture::of(report()), 120, 24);
    for name in ["0  split a line into its words > strip > key by word", "1 restart: killed by SIGSEGV"] {
        assert!(shown.contains(name), "{name} is not in\n{shown}");
    }
    assert!(!shown.contains('…'), "{shown}");
}

#[test]
fn problems_are_shown_near_the_top() {
    let report = StatusReport { problems: vec!["dead letters wait".to_owned()], ..report() };
    let shown = screen(&mut Picture::of(report), 80, 24);
    assert_eq!(shown.lines().nth(3), Some("! dead letters wait"), "{shown}");
}

#[test]
fn what_does_not_fit_is_scrolled_to() {
    let mut picture = Picture::of(report());
    let top = screen(&mut picture, 80, 8);
    assert!(top.starts_with("Word Count") && top.ends_with("0 lines above, 11 below"), "{top}");
    picture.scroll(Move::PageDown);
    picture.scroll(Move::LineUp);
    assert!(screen(&mut picture, 80, 8).ends_with("6 lines above, 5 below"));
    picture.scroll(Move::PageDown);
    let bottom = screen(&mut picture, 80, 8);
    assert!(bottom.contains("standby") && bottom.ends_with("11 lines above, 0 below"), "{bottom}");
    picture.scroll(Move::PageUp);
    picture.scroll(Move::PageUp);
    assert_eq!(screen(&mut picture, 80, 8), top);
}

#[test]
fn a_screen_too_small_for_anything_is_no_failure() {
    for (width, height) in [(1, 1), (5, 2), (30, 10)] {
        screen(&mut Picture::of(report()), width, height);
    }
}
