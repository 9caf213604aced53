//! Documents that are cited exist: every `docs/X.md` and `docs/X §n`, in code, scripts and documents, and every link from one
//! document to another.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` that this project has written and that may cite.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("it is readable").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let foreign = matches!(name.as_str(), "node_modules" | ".venv" | "target" | ".git" | "__pycache__");
        if path.is_dir() && !foreign {
            files(&path, found);
        } else if ["rs", "md", "sh", "mjs", "py", "toml", "yaml"].iter().any(|end| name.ends_with(&format!(".{end}"))) {
            found.push(path);
        }
    }
}

/// What a text cites: the document's name, and the section where one is named.
fn citations(text: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for rest in text.split("docs/").skip(1) {
        let name: String = rest.chars().take_while(|next| next.is_ascii_uppercase() || *next == '_').collect();
        if name.is_empty() {
            continue;
        }
        let rest = rest[name.len()..].trim_start_matches(".md").trim_start_matches([')', '`']);
        let section = rest
            .strip_prefix(" §")
            .map(|rest| rest.chars().take_while(|next| next.is_ascii_digit() || *next == '.').collect::<String>());
        found.push((name, section.map(|section| section.trim_end_matches('.').to_owned())));
    }
    found
}

/// Whether a document has a heading with this number.
fn has_section(document: &str, number: &str) -> bool {
    document.lines().any(|line| {
        let heading = line.trim_start_matches('#').trim_start();
        line.starts_with('#') && heading.strip_prefix(number).is_some_and(|rest| rest.starts_with(['.', ' ']))
    })
}

#[test]
fn every_document_and_section_that_is_cited_exists() {
    let mut all = Vec::new();
    files(root(), &mut all);
    let mut missing = Vec::new();
    for path in all {
        let text = fs::read_to_string(&path).expect("UTF-8");
        for (name, section) in citations(&text) {
            let document = fs::read_to_string(root().join(format!("docs/{name}.md"))).ok();
            let there = document.is_some_and(|document| section.as_deref().is_none_or(|at| has_section(&document, at)));
            // This file's own examples.
            if !there && !path.ends_with("tests/references.rs") {
                missing.push(format!("{}: docs/{name}.md {}", path.display(), section.unwrap_or_default()));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut all = Vec::new();
    files(root(), &mut all);
    let mut broken = Vec::new();
    for path in all.iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(path).expect("UTF-8");
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default().split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.contains(' ');
            if !elsewhere && !path.parent().expect("a folder").join(target).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn the_scan_sees_names_and_sections() {
    let text = "see docs/STORE.md, docs/CONTRACT §7 and docs/CONTRACT.md §2.1. Not docs/images or docs/openapi.json";
    let seen: Vec<_> = citations(text);
    let is = |name: &str, section: Option<&str>| (name.to_owned(), section.map(str::to_owned));
    assert_eq!(seen, [is("STORE", None), is("CONTRACT", Some("7")), is("CONTRACT", Some("2.1"))]);
    assert!(has_section("# A\n## 7. Where\n", "7") && !has_section("## 71. X\ntext 7. x", "7"));
}
