//! From a file to a draft: everything but its services understood, those as they were written, and a report that all who
//! give them meaning go on filling. What is wrong is told once, at the end, by [`Draft::finish`].

use std::{collections::BTreeMap, path::Path as FilePath, path::PathBuf};

use super::{
    Config,
    context::Context,
    document::{Document, Env},
    files::{FilesRead, LARGEST_FILE},
    problem::{Finding, Path, Problem, Problems, Report, finding},
    raw::{RawConfig, RawService},
    resolve::resolve,
    validate::validate,
};

/// A configuration on the way from its text to its meaning.
#[derive(Debug)]
pub struct Draft {
    /// The file's name as it was given.
    file: String,
    /// Where paths in it begin.
    directory: PathBuf,
    files: FilesRead,
    document: Document,
    report: Report,
    /// None where something that everything needs is missing or wrong; the report says what.
    config: Option<Config>,
    services: BTreeMap<String, RawService>,
}

impl Draft {
    fn of(file: String, directory: &FilePath) -> Self {
        Self {
            file,
            directory: directory.to_owned(),
            files: FilesRead::default(),
            document: Document::default(),
            report: Report::default(),
            config: None,
            services: BTreeMap::new(),
        }
    }

    fn read(mut self, text: &str, env: Env<'_>) -> Self {
        let (document, readable) = Document::read(text, env, &mut self.report);
        self.document = document;
        if readable {
            validate(&mut self.document, &mut self.report);
            let raw: Option<RawConfig> = match serde_path_to_error::deserialize(&self.document.value) {
                Ok(raw) => Some(raw),
                Err(error) => {
                    // The first pass takes out all that serde would refuse; this is for what it may have missed.
                    self.report.problem(&unread(error.path()), finding("This value is not possible here"));
                    None
                }
            };
            if let Some(mut raw) = raw {
                self.services = raw.services.take().unwrap_or_default();
                self.config = resolve(raw, &mut self.context());
            }
        }
        if self.config.is_none() && !self.report.has_problems() {
            self.report.problem(&Path::default(), finding("The configuration is not complete"));
        }
        self
    }

    /// What is understood already; `None` where something that everything needs is missing.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// The services as they were written, to be made whole, and where to note what is wrong with them.
    pub(crate) fn take_services(&mut self) -> (BTreeMap<String, RawService>, Context<'_>) {
        let services = std::mem::take(&mut self.services);
        (services, self.context())
    }

    fn context(&mut self) -> Context<'_> {
        Context { report: &mut self.report, directory: &self.directory, files: &mut self.files }
    }

    /// Notes a problem that only a module above finds.
    pub fn problem(&mut self, path: &Path, finding: Finding) {
        self.report.problem(path, finding);
    }

    /// The configuration, what is worth a second look in it, and the files that it was made of.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn finish(self) -> Result<(Config, Vec<Problem>, FilesRead), Problems> {
        let complete = !self.report.has_problems();
        let (problems, warnings) = self.report.finish(&|path| self.document.position(path));
        match self.config {
            Some(config) if complete => Ok((config, warnings, self.files)),
            _ => Err(Problems { file: self.file, all: problems, files: self.files }),
        }
    }
}

/// Reads the configuration file. Paths in it begin at its directory. What is wrong with it, also that it can't be read,
/// [`Draft::finish`] tells.
pub fn load(file: &FilePath, env: Env<'_>) -> Draft {
    let mut draft = Draft::of(file.display().to_string(), file.parent().unwrap_or(FilePath::new("")));
    let text = draft.files.read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file",
        std::io::ErrorKind::PermissionDenied => "Valetkey may not read it",
        _ => "reading failed",
    });
    let text = text.and_then(|bytes| match bytes.len() as u64 > LARGEST_FILE {
        true => Err("it is larger than 1 MiB"),
        false => String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text"),
    });
    match text {
        Ok(text) => draft.read(&text, env),
        Err(why) => {
            let finding = finding(format!("The configuration can't be read: {why}"));
            draft.report.problem(&Path::default(), finding.hint("name the file with `--config FILE`"));
            draft
        }
    }
}

/// Reads a configuration from its text. Paths in it begin at `directory`.
pub fn parse(text: &str, directory: &FilePath, env: Env<'_>) -> Draft {
    Draft::of("configuration".into(), directory).read(text, env)
}

fn unread(path: &serde_path_to_error::Path) -> Path {
    path.iter().fold(Path::default(), |path, segment| match segment {
        serde_path_to_error::Segment::Seq { index } => path.index(*index),
        serde_path_to_error::Segment::Map { key } => path.key(key),
        _ => path,
    })
}
