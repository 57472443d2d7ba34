use super::*;

fn definition(python: &str, workers: u32, memory: Option<u64>) -> Definition {
    Definition { python: python.into(), workers, worker_memory: memory.map(ByteSize) }
}

fn option(text: &str) -> Result<(String, Definition), String> {
    text.parse().map(|PoolOption { name, definition }| (name.0, definition))
}

fn file(text: &str) -> Result<BTreeMap<Name, Definition>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(FILE), text).expect("a file");
    from_file(&folder.path().join("app.py")).map_err(|error| match error {
        PoolsError::Malformed { problem, .. } => problem,
        other => other.to_string(),
    })
}

#[test]
fn an_option_names_a_pool_and_its_python() {
    assert_eq!(option("legacy=python3.9"), Ok(("legacy".to_owned(), definition("python3.9", 1, None))));
    let all = option("old-1=/venv/bin/python,worker-memory=1GiB,workers=3");
    assert_eq!(all, Ok(("old-1".to_owned(), definition("/venv/bin/python", 3, Some(1 << 30)))));
}

#[test]
fn an_option_that_is_not_understood_says_why() {
    let problem = |text: &str| option(text).expect_err("a problem");
    for unnamed in ["legacy", "legacy=", "legacy=,workers=2"] {
        assert_eq!(problem(unnamed), format!("the interpreter is missing; {USAGE}"));
    }
    assert_eq!(problem("a b=python"), "\"a b\" is not a valid name of a pool: use letters, digits, - and _");
    assert_eq!(problem("a=python,workers=0"), "workers is 0, not between 1 and 1024");
    assert!(problem("a=python,workers=two").starts_with("workers=two: "));
    assert!(problem("a=python,worker-memory=much").starts_with("worker-memory=much: "));
    let unknown = format!("\"threads=2\" is neither workers=N nor worker-memory=BYTES; {USAGE}");
    assert_eq!(problem("a=python,threads=2"), unknown);
}

#[test]
fn a_file_defines_pools() {
    let text = "[pool.legacy]\npython = \"python3.9\"\n[pool.new]\npython = \"/x/python\"\nworkers = 2\nworker-memory = \"1GiB\"\n";
    let found = file(text).expect("pools");
    let expected = [
        (Name("legacy".to_owned()), definition("python3.9", 1, None)),
        (Name("new".to_owned()), definition("/x/python", 2, Some(1 << 30))),
    ];
    assert_eq!(found, expected.into());
    assert_eq!(file(""), Ok(BTreeMap::new()));
}

#[test]
fn a_path_in_a_file_is_as_seen_from_it() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(FILE), "[pool.a]\npython = \".venv/bin/python\"\n").expect("a file");
    let found = from_file(&folder.path().join("app.py")).expect("pools");
    let pythons: Vec<&PathBuf> = found.values().map(|definition| &definition.python).collect();
    assert_eq!(pythons, [&folder.path().join(".venv/bin/python")]);
}

#[test]
fn what_a_file_may_not_say_is_refused_with_its_place() {
    let problem = |text: &str| file(text).expect_err("a problem");
    let cases = [
        ("[pools.a]\npython = \"x\"\n", "line 1", "unknown field `pools`"),
        ("[pool.a]\npython = \"x\"\nthreads = 2\n", "line 3", "unknown field `threads`"),
        ("[pool.a]\nworkers = 2\n", "line 1", "missing field `python`"),
        ("[pool.a]\npython = \"x\"\nworkers = 0\n", "line 3", "workers is 0, not between 1 and 1024"),
        ("[pool.a]\npython = \"x\"\nworker-memory = \"much\"\n", "line 3", "worker-memory = \"much\""),
        ("[pool.\"a b\"]\npython = \"x\"\n", "line 1", "is not a valid name of a pool"),
        ("[pool.a\n", "line 1", ""),
    ];
    for (text, place, reason) in cases {
        let problem = problem(text);
        assert!(problem.contains(place) && problem.contains(reason), "{text}: {problem}");
    }
}
