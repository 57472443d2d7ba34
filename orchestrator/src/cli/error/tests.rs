use std::path::PathBuf;

use super::*;
use crate::control::listener::BindError;
use crate::control::{Refusal, RefusalKind};

#[test]
fn causes_and_the_hint_follow_the_error() {
    let source = std::io::Error::other("the disk is on fire");
    let error = CliError::from(InitError::Write { path: "app.py".into(), source });
    assert_eq!(error.render(), "error: cannot write app.py\n  caused by: the disk is on fire\n");
    let error = CliError::from(InitError::Exists { path: "app.py".into() });
    assert!(error.render().ends_with("\nhint: nothing was written: give the name of a new folder\n"));
    assert_eq!(error.exit(), Exit::Busy);
}

#[test]
fn a_traceback_comes_first() {
    let error = CliError::from(RunError::MessageFailed {
        step: "count".to_owned(),
        exception: "ValueError".to_owned(),
        message: "no number".to_owned(),
        traceback: "Traceback\n  line 7".to_owned(),
        by_step: false,
    });
    let text = error.render();
    assert!(text.starts_with("Traceback\n  line 7\nerror: a message failed in step \"count\""), "{text}");
    assert_eq!(error.exit(), Exit::Failed);
}

#[test]
fn flags_are_named_in_hints_alone() {
    let errors = [
        CliError::from(InterpreterError::NoneFound),
        RunError::from(BindError::NotASocket { path: PathBuf::from("here") }).into(),
        ClientError::SeveralRun { paths: Vec::new() }.into(),
        ClientError::from(Refusal::new(RefusalKind::Starting, "the application is starting")).into(),
    ];
    for error in errors {
        assert!(!error.to_string().contains("--"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--")), "{error}");
    }
}
