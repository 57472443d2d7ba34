use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A folder of programs.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn add(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permitted");
        path
    }

    fn surroundings(&self) -> Surroundings {
        let path = self.path("on-path").into_os_string();
        Surroundings { virtual_environment: None, beside: Some(self.path("beside")), path }
    }
}

#[test]
fn the_active_environment_comes_first_then_the_neighbour_then_the_path() {
    let programs = Programs::new();
    let mut surroundings = programs.surroundings();
    assert_eq!(surroundings.resolve(None), Err(InterpreterError::NoneFound));
    let on_path = programs.add("on-path/python3", "");
    assert_eq!(surroundings.resolve(None), Ok(on_path));
    let beside = programs.add("beside/python3", "");
    assert_eq!(surroundings.resolve(None), Ok(beside));
    surroundings.virtual_environment = Some(programs.path("venv"));
    let active = programs.path("venv/bin/python");
    assert_eq!(surroundings.resolve(None), Err(InterpreterError::Missing { path: active.clone() }));
    programs.add("venv/bin/python", "");
    assert_eq!(surroundings.resolve(None), Ok(active));
}

#[test]
fn names_are_looked_up_and_paths_are_kept_with_their_links() {
    let programs = Programs::new();
    let surroundings = programs.surroundings();
    let python = programs.add("on-path/python3.11", "");
    assert_eq!(surroundings.resolve(Some(Path::new("python3.11"))), Ok(python.clone()));
    let missing = surroundings.resolve(Some(Path::new("python3.99")));
    assert_eq!(missing, Err(InterpreterError::NotOnPath { name: "python3.99".to_owned() }));

    let link = programs.path("link");
    std::os::unix::fs::symlink(&python, &link).expect("linked");
    assert_eq!(surroundings.resolve(Some(&link)), Ok(link));
    let environment = programs.add("venv/bin/python", "");
    assert_eq!(surroundings.resolve(Some(&programs.path("venv"))), Ok(environment));
    let relative = surroundings.resolve(Some(Path::new("./no/python"))).expect_err("not there");
    let InterpreterError::Missing { path } = &relative else { panic!("{relative:?}") };
    assert!(path.is_absolute() && path.ends_with("no/python"), "{path:?}");
}

#[test]
fn what_is_not_a_program_is_refused() {
    let programs = Programs::new();
    let plain = programs.add("plain", "");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("permitted");
    let surroundings = programs.surroundings();
    for path in [plain, programs.0.path().to_owned()] {
        let refused = surroundings.resolve(Some(&path));
        assert_eq!(refused, Err(InterpreterError::NotExecutable { path }));
    }
}

#[test]
fn answers_are_told_apart() {
    let python = PathBuf::from("python");
    let examined = |answer| examine(&python, answer);
    assert_eq!(examined("3.11 wallaroo msgpack"), None);
    assert_eq!(examined("3.11 msgpack"), Some(Diagnosis::NoSdk { python: python.clone() }));
    assert_eq!(examined("3.11 wallaroo"), Some(Diagnosis::NoMsgpack { python: python.clone() }));
    let old = |major, minor| Some(Diagnosis::TooOld { python: python.clone(), major, minor });
    assert_eq!(examined("2.7 "), old(2, 7));
    assert_eq!(examined("3.8 wallaroo msgpack"), old(3, 8));
}

#[tokio::test]
async fn an_interpreter_is_asked_what_it_has() {
    let programs = Programs::new();
    let bare = programs.add("bare", "#!/bin/sh\necho noise\necho wallaroo-diagnosis 3.12\n");
    assert_eq!(diagnose(&bare).await, Some(Diagnosis::NoSdk { python: bare.clone() }));
    let broken = programs.add("broken", "#!/bin/sh\necho 'no such library' >&2\nexit 127\n");
    let diagnosis = diagnose(&broken).await.expect("it is broken");
    assert!(diagnosis.to_string().ends_with("does not start: no such library"), "{diagnosis}");
    let nothing = programs.add("nothing", "");
    let diagnosis = diagnose(&nothing).await.expect("it is no program");
    assert!(matches!(diagnosis, Diagnosis::DoesNotStart { .. }), "{diagnosis}");
}
