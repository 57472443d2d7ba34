//! `wallaroo-orch init`: writes a new application that runs, and its test.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::terminal;
use clap::{Args, ValueEnum};

/// Stands in the templates for the application's name.
const NAME: &str = "APPLICATION_NAME";

/// Arguments of `wallaroo-orch init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Folder of the new application; it is created if it does not exist
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// What kind of application to write
    #[arg(long, value_enum, default_value_t = Template::Lines)]
    template: Template,
}

/// Kinds of new applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// Lines from standard input to standard output
    Lines,
    /// Messages from one TCP port to another
    Tcp,
}

impl Template {
    fn files(self) -> [(&'static str, &'static str); 4] {
        match self {
            Self::Lines => [
                ("app.py", include_str!("../../templates/lines/app.py")),
                ("test_app.py", include_str!("../../templates/lines/test_app.py")),
                ("README.md", include_str!("../../templates/lines/README.md")),
                ("input.txt", include_str!("../../templates/lines/input.txt")),
            ],
            Self::Tcp => [
                ("app.py", include_str!("../../templates/tcp/app.py")),
                ("test_app.py", include_str!("../../templates/tcp/test_app.py")),
                ("README.md", include_str!("../../templates/tcp/README.md")),
                ("input.txt", include_str!("../../templates/tcp/input.txt")),
            ],
        }
    }

    fn first_run(self) -> &'static str {
        match self {
            Self::Lines => "wallaroo-orch run --quiet app.py < input.txt",
            Self::Tcp => "wallaroo-orch run app.py --in 127.0.0.1:7010 --out 127.0.0.1:7002   # README.md has the rest",
        }
    }
}

/// Why the new application could not be written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The folder cannot be created or used.
    #[error("cannot create the folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file exists already. It is not overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Writes the files and prints what to do next.
pub(super) fn run(args: &InitArgs) -> Result<(), InitError> {
    let InitArgs { folder, template } = args;
    let named = |source| InitError::Folder { folder: folder.clone(), source };
    fs::create_dir_all(folder).map_err(named)?;
    let name = application_name(&folder.canonicalize().map_err(named)?);
    let files = template.files();
    // Nothing is written if any of the files exists.
    if let Some(path) = files.iter().map(|(file, _)| folder.join(file)).find(|path| path.exists()) {
        return Err(InitError::Exists { path });
    }
    for (file, text) in files {
        let path = folder.join(file);
        write_new(&path, &text.replace(NAME, &name)).map_err(|source| InitError::Write { path, source })?;
    }
    terminal::line(format_args!("{}", next_steps(folder, *template)));
    Ok(())
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

/// The folder's name, without characters that need escaping in Python or Markdown.
fn application_name(folder: &Path) -> String {
    let name = folder.file_name().map_or_else(|| "application".into(), |name| name.to_string_lossy());
    name.chars().map(|char| if char.is_alphanumeric() || " -_.".contains(char) { char } else { '-' }).collect()
}

fn next_steps(folder: &Path, template: Template) -> String {
    let written: Vec<&str> = template.files().iter().map(|(file, _)| *file).collect();
    let enter = if folder == Path::new(".") { String::new() } else { format!("  cd {}\n", folder.display()) };
    format!(
        "{}: {}\n\n{enter}  {}\n  python -m pytest   # pip install pytest",
        folder.display(),
        written.join(", "),
        template.first_run()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_escape() {
        assert_eq!(application_name(Path::new("/tmp/Wörter zählen_2.0")), "Wörter zählen_2.0");
        assert_eq!(application_name(Path::new("/tmp/a\"b\\c`d\n")), "a-b-c-d-");
        assert_eq!(application_name(Path::new("/")), "application");
    }

    #[test]
    fn every_template_has_its_name_once_in_the_application_and_nothing_left_out() {
        for template in Template::value_variants() {
            let [(_, app), _, (_, readme), _] = template.files();
            assert_eq!(app.matches(NAME).count(), 1);
            assert!(readme.starts_with(&format!("# {NAME}\n")));
        }
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let args = InitArgs { folder: folder.path().to_owned(), template: Template::Lines };
        fs::write(folder.path().join("README.md"), "mine").expect("a file");
        let error = run(&args).expect_err("a file is there");
        assert!(matches!(&error, InitError::Exists { path } if path.ends_with("README.md")), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        fs::remove_file(folder.path().join("README.md")).expect("a file");
        run(&args).expect("an empty folder");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 4);
    }
}
