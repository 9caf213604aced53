//! From a file to a configuration, or to everything that is wrong with it.

use std::path::Path as FilePath;

use super::{
    Catalogue, Config,
    document::{Document, Env},
    problem::{Path, Problem, Problems, Report, finding},
    raw::RawConfig,
    resolve::{Context, resolve},
    validate::validate,
};

/// A configuration, and what is worth a second look in it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Not wrong, but probably not meant.
    pub warnings: Vec<Problem>,
    document: Document,
}

impl Loaded {
    /// A problem that only a module above finds, placed in the file. `path` is written as in [`Problem::path`].
    pub fn problem(&self, path: &str, message: impl Into<String>, hint: Option<String>) -> Problem {
        let position = self.document.position_of(path);
        Problem {
            path: path.to_owned(),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            message: message.into(),
            hint,
        }
    }
}

/// Reads the configuration file. Paths in it begin at its directory.
///
/// # Errors
/// Everything that is wrong with it, at once; one problem without a line where it can't be read at all.
pub fn load(file: &FilePath, env: Env<'_>, catalogue: &dyn Catalogue) -> Result<Loaded, Problems> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let mut report = Report::default();
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file",
            std::io::ErrorKind::PermissionDenied => "Valetkey may not read it",
            std::io::ErrorKind::InvalidData => "it is no UTF-8 text",
            _ => "reading failed",
        };
        let finding = finding(format!("The configuration can't be read: {why}"));
        report.problem(&Path::default(), finding.hint("name the file with `--config FILE`"));
        Problems { file: name.clone(), all: report.finish(&|_| None).0 }
    })?;
    let directory = file.parent().unwrap_or(FilePath::new(""));
    parse(&text, directory, env, catalogue).map_err(|problems| Problems { file: name, ..problems })
}

/// Reads a configuration from its text. Paths in it begin at `directory`.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(text: &str, directory: &FilePath, env: Env<'_>, catalogue: &dyn Catalogue) -> Result<Loaded, Problems> {
    let mut report = Report::default();
    let (mut document, readable) = Document::read(text, env, &mut report);
    let mut config = None;
    if readable {
        validate(&mut document, &mut report);
        let raw: Option<RawConfig> = match serde_path_to_error::deserialize(&document.value) {
            Ok(raw) => Some(raw),
            Err(error) => {
                // The first pass takes out all that serde would refuse; this is for what it may have missed.
                report.problem(&unread(error.path()), finding("This value is not possible here"));
                None
            }
        };
        let mut cx = Context { report: &mut report, directory, catalogue };
        config = raw.and_then(|raw| resolve(raw, &mut cx));
    }
    if config.is_none() && !report.has_problems() {
        report.problem(&Path::default(), finding("The configuration is not complete"));
    }
    let complete = !report.has_problems();
    let (problems, warnings) = report.finish(&|path| document.position(path));
    match config {
        Some(config) if complete => Ok(Loaded { config, warnings, document }),
        _ => Err(Problems { file: "configuration".into(), all: problems }),
    }
}

fn unread(path: &serde_path_to_error::Path) -> Path {
    path.iter().fold(Path::default(), |path, segment| match segment {
        serde_path_to_error::Segment::Seq { index } => path.index(*index),
        serde_path_to_error::Segment::Map { key } => path.key(key),
        _ => path,
    })
}
