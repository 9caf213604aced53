//! Problems of a configuration: where each is, what it is and what to do about it. Texts name keys and what is expected;
//! never a value, since any value may be a secret.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::files::FilesRead;

/// Where something is in the configuration, such as `services.github.client_id` or `listeners[0].address`.
/// The root is the empty path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl Path {
    /// The path of a key below this one.
    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    /// The path of an item below this one.
    pub fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    /// The path above; none above the root.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is `other` or lies below it.
    fn within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A line and a column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One thing that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path of the key, such as `services.github.client_id`; empty for the file as a whole.
    pub path: String,
    /// Its line in the file, from 1; none where there is no file to speak of.
    pub line: Option<usize>,
    /// Its column, from 1.
    pub column: Option<usize>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Everything that is wrong with a configuration. `Display` shows one problem a line, `file:line: path: message`, with the
/// hint below.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Problems {
    /// The file's name as it was given.
    pub file: String,
    /// In the order of their lines. Never empty.
    pub all: Vec<Problem>,
    /// What was read until then: it may be right once one of these files holds something else.
    pub files: FilesRead,
}

impl Problem {
    /// Shows the problem as one of this file's.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        InFile { problem: self, file }
    }
}

struct InFile<'a> {
    problem: &'a Problem,
    file: &'a str,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file)?;
        if let Some(line) = self.problem.line {
            write!(f, ":{line}")?;
        }
        if !self.problem.path.is_empty() {
            write!(f, ": {}", self.problem.path)?;
        }
        write!(f, ": {}", self.problem.message)?;
        if let Some(hint) = &self.problem.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.all.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", problem.in_file(&self.file))?;
        }
        Ok(())
    }
}

/// What a problem says, before its place is known.
#[derive(Debug, Clone)]
pub struct Finding {
    message: String,
    hint: Option<String>,
}

impl Finding {
    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What is wrong, in a sentence without a full stop.
pub fn finding(message: impl Into<String>) -> Finding {
    Finding { message: message.into(), hint: None }
}

/// Collects problems and warnings while a configuration is read.
#[derive(Debug, Default)]
pub struct Report {
    found: Vec<(Path, Finding)>,
    warned: Vec<(Path, Finding)>,
    broken: BTreeSet<Path>,
}

impl Report {
    /// Notes a problem, unless what is there has been found broken already: one mistake is told once.
    pub fn problem(&mut self, path: &Path, finding: Finding) {
        if !self.is_broken(path) {
            self.found.push((path.clone(), finding));
        }
    }

    /// Notes a warning.
    pub fn warning(&mut self, path: &Path, finding: Finding) {
        self.warned.push((path.clone(), finding));
    }

    /// Notes a problem whose value counts as told: nothing more is said of what is there or below.
    pub fn broken(&mut self, path: &Path, finding: Finding) {
        self.problem(path, finding);
        self.broken.insert(path.clone());
    }

    /// Whether the value there has been found broken.
    pub fn is_broken(&self, path: &Path) -> bool {
        self.broken.iter().any(|broken| path.within(broken))
    }

    /// Whether a problem has been found.
    pub fn has_problems(&self) -> bool {
        !self.found.is_empty()
    }

    /// The problems and the warnings, each with its position, in the order of the file.
    pub fn finish(self, position: &dyn Fn(&Path) -> Option<Position>) -> (Vec<Problem>, Vec<Problem>) {
        let placed = |found: Vec<(Path, Finding)>| {
            let mut problems: Vec<Problem> = found
                .into_iter()
                .map(|(path, finding)| {
                    let position = position(&path);
                    Problem {
                        path: path.to_string(),
                        line: position.map(|p| p.line),
                        column: position.map(|p| p.column),
                        message: finding.message,
                        hint: finding.hint,
                    }
                })
                .collect();
            problems.sort_by_key(|problem| (problem.line, problem.column));
            problems.dedup();
            problems
        };
        (placed(self.found), placed(self.warned))
    }
}

/// The one of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().min(word.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        let known = ["client_id", "client_secret", "client_secret_file", "scopes"];
        assert_eq!(nearest("client_secert", known), Some("client_secret"));
        assert_eq!(nearest("scope", known), Some("scopes"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("gihtub", ["github", "gitlab"]), Some("github"));
    }

    #[test]
    fn one_mistake_is_told_once() {
        let mut report = Report::default();
        let path = Path::default().key("store").key("redis");
        report.broken(&path, finding("first"));
        report.problem(&path.key("url"), finding("second"));
        let (problems, _) = report.finish(&|_| None);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "store.redis");
    }
}
