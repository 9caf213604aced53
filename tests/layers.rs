//! The rule of docs/ARCHITECTURE.md that imports go strictly downwards, read off the source text: who may name whom, inside
//! rooms too, which modules may name which library, how long a file may be, and how many methods a type may have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the bottom up. A module may name modules of lower layers only; `true`: also those of its own layer.
const LAYERS: &[(&[&str], bool)] = &[
    (&["config", "secret", "id", "clock", "backoff", "operation"], true),
    (&["telemetry", "dns", "words"], false),
    (&["outbound"], false),
    (&["vault", "store"], false),
    (&["provider", "events"], true),
    (&["caller", "oauth"], false),
    (&["connection"], false),
    (&["consent", "policy", "trends"], false),
    (&["refusal"], false),
    (&["proxy", "web"], false),
    (&["cli", "serve", "demo"], true),
];

/// Libraries that only some modules may name: their types are those modules' affair.
const OWNED_LIBRARIES: &[(&str, &[&str])] =
    &[("pingora", &["proxy"]), ("axum", &["web"]), ("valetkey_standin", &["demo"])];

/// Lines at which a file is to be split by idea.
const LONGEST_FILE: usize = 400;

/// Methods at which a type knows too much.
const MOST_METHODS: usize = 25;

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("src is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every source file with its top-level module.
fn sources() -> Vec<(String, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let name = |path: &Path| {
        let inside = path.strip_prefix(&src).expect("it lies there");
        let first = inside.iter().next().expect("a file").to_string_lossy();
        (inside.display().to_string(), first.trim_end_matches(".rs").to_owned())
    };
    source_files(&src)
        .into_iter()
        .map(|path| {
            let (shown, module) = name(&path);
            (shown, module, fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect()
}

/// The code of a file without comments and texts (so that documentation and log targets may name anything), with line
/// numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().map(|(index, line)| {
        let comment = line.trim_start().starts_with("//");
        let code = if comment { "" } else { line.split(" // ").next().unwrap_or(line) };
        // Every other piece between quotation marks is a text.
        (index + 1, code.split('"').step_by(2).collect::<Vec<_>>().join("\"\""))
    })
}

/// The modules that a line names by `crate::module`, `crate::{a, b::c}` or `valetkey::module`.
fn named_modules(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "valetkey::"] {
        let mut rest = line;
        while let Some(at) = rest.find(start) {
            let whole_word = !rest[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            rest = &rest[at + start.len()..];
            if !whole_word {
                continue;
            }
            let word =
                |text: &str| text.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect::<String>();
            match rest.strip_prefix('{') {
                None => found.push(word(rest)),
                Some(group) => {
                    let mut depth = 0;
                    let mut item_starts = true;
                    for (at, character) in group.char_indices() {
                        match character {
                            '{' => depth += 1,
                            '}' if depth == 0 => break,
                            '}' => depth -= 1,
                            ',' if depth == 0 => item_starts = true,
                            _ if character.is_whitespace() => {}
                            _ => {
                                if item_starts {
                                    found.push(word(&group[at..]));
                                }
                                item_starts = false;
                            }
                        }
                    }
                }
            }
        }
    }
    found
}

fn layer_of(module: &str) -> Option<(usize, bool)> {
    LAYERS.iter().position(|(modules, _)| modules.contains(&module)).map(|at| (at, LAYERS[at].1))
}

#[test]
fn imports_go_downwards_only() {
    let mut wrong = Vec::new();
    for (file, module, text) in sources() {
        let Some((own, among_itself)) = layer_of(&module) else {
            continue;
        };
        // A group such as `use crate::{` may go over several lines: join until it closes.
        let mut statement = String::new();
        for (number, line) in code(&text) {
            statement.push_str(&line);
            statement.push(' ');
            if statement.matches('{').count() > statement.matches('}').count()
                && statement.trim_start().starts_with("use ")
            {
                continue;
            }
            for named in named_modules(&statement) {
                let Some((other, _)) = layer_of(&named) else {
                    continue;
                };
                let allowed = other < own || named == module || (other == own && among_itself);
                if !allowed {
                    wrong.push(format!("src/{file}:{number}: {module} may not name {named}"));
                }
            }
            statement.clear();
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Where a path leads that begins in this module: the modules and the name at its end, from the top.
fn resolved(module: &[String], path: &str) -> Option<Vec<String>> {
    let mut steps = path.split("::").peekable();
    let mut at = match *steps.peek()? {
        "crate" => {
            steps.next();
            Vec::new()
        }
        "super" => module.to_vec(),
        _ => return None,
    };
    while steps.next_if_eq(&"super").is_some() {
        at.pop();
    }
    at.extend(steps.map(str::to_owned));
    Some(at)
}

/// The paths that a `use` tree without spaces stands for.
fn expanded(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let Some((head, group)) = tree.split_once('{') else {
        return found.push(format!("{prefix}{tree}"));
    };
    let (mut depth, mut item) = (0, String::new());
    for character in group.chars() {
        match character {
            ',' | '}' if depth == 0 => {
                if !item.is_empty() {
                    expanded(&format!("{prefix}{head}"), &std::mem::take(&mut item), found);
                }
            }
            _ => {
                depth += i32::from(character == '{') - i32::from(character == '}');
                item.push(character);
            }
        }
    }
}

/// All paths from `super` or `crate` that a file's code names, those of its own tests aside.
fn paths(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code(text).map(|(_, line)| line + " ").collect();
    let mut found = Vec::new();
    for start in ["super::", "crate::"] {
        for (at, _) in code.match_indices(start) {
            if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':') {
                continue;
            }
            let mut depth = 0;
            let tree: String = code[at..]
                .chars()
                .filter(|next| !next.is_whitespace())
                .take_while(|next| {
                    depth += i32::from(*next == '{') - i32::from(*next == '}');
                    next.is_alphanumeric() || "_:".contains(*next) || depth > 0 || *next == '}'
                })
                .collect();
            expanded("", &tree, &mut found);
        }
    }
    found
}

/// For each module with modules in it: which of these names which.
fn neighbours() -> BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> {
    let files: Vec<(Vec<String>, String)> = sources()
        .into_iter()
        .filter(|(file, ..)| !file.contains("tests") && !file.ends_with("testing.rs"))
        .map(|(file, _, text)| {
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
            (module.split('/').map(str::to_owned).collect(), text)
        })
        .collect();
    let exists = |path: &[String]| files.iter().any(|(module, _)| module.starts_with(path));
    let mut all: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (module, text) in &files {
        for target in paths(text).iter().filter_map(|path| resolved(module, path)) {
            let shared = module.iter().zip(&target).take_while(|(own, other)| own == other).count();
            let (Some(own), Some(other)) = (module.get(shared), target.get(shared)) else { continue };
            if shared > 0 && exists(&target[..=shared]) {
                let room = all.entry(module[..shared].to_vec()).or_default();
                room.entry(own.clone()).or_default().insert(other.clone());
            }
        }
    }
    all
}

#[test]
fn no_two_modules_of_a_room_need_each_other() {
    let mut circles = Vec::new();
    for (room, names) in neighbours() {
        for start in names.keys() {
            let (mut reached, mut next) = (BTreeSet::new(), vec![start]);
            while let Some(at) = next.pop() {
                next.extend(names.get(at).into_iter().flatten().filter(|other| reached.insert(*other)));
            }
            if reached.contains(start) {
                circles.push(format!("{}::{start}", room.join("::")));
            }
        }
    }
    assert_eq!(circles, Vec::<String>::new(), "each of these leads back to itself");
}

#[test]
fn every_module_has_its_layer() {
    let unknown: Vec<_> = sources()
        .into_iter()
        .map(|(_, module, _)| module)
        .filter(|module| !matches!(module.as_str(), "main" | "lib") && layer_of(module).is_none())
        .collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn a_library_with_an_owner_is_named_by_nobody_else() {
    let mut wrong = Vec::new();
    for (file, module, text) in sources() {
        for (library, owners) in OWNED_LIBRARIES {
            if owners.contains(&module.as_str()) {
                continue;
            }
            for (number, line) in code(&text) {
                if line.contains(&format!("{library}::")) || line.contains(&format!("use {library}")) {
                    wrong.push(format!("src/{file}:{number}: only {owners:?} may name {library}"));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: BTreeMap<_, _> = sources()
        .into_iter()
        .map(|(file, _, text)| (file, text.lines().count()))
        // A simulation of a store or a provider is one idea, however long.
        .filter(|(file, lines)| *lines > LONGEST_FILE && !file.contains("/tests/"))
        .collect();
    assert_eq!(long, BTreeMap::new(), "split these by idea");
}

/// The methods that a file gives to its types outside traits, tests left out.
fn methods(text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut owner: Option<String> = None;
    for line in text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")) {
        if let Some(header) = line.strip_prefix("impl").filter(|header| !header.contains(" for ")) {
            // `impl<T: Trait<U>> Type<T> {`
            let mut depth = 0;
            let named = header.trim_start_matches(|next| {
                depth += match next {
                    '<' => 1,
                    '>' => -1,
                    _ => 0,
                };
                depth > 0 || !char::is_alphanumeric(next)
            });
            owner = Some(named.chars().take_while(|next| next.is_alphanumeric()).collect());
        } else if line.starts_with('}') {
            owner = None;
        }
        let item = line.strip_prefix("    ").filter(|item| !item.starts_with(' '));
        let is_method = item.is_some_and(|item| {
            item.starts_with("fn ")
                || ["pub", "const ", "async "].iter().any(|start| item.starts_with(start)) && item.contains(" fn ")
        });
        if let Some(owner) = owner.as_ref().filter(|_| is_method) {
            *found.entry(owner.clone()).or_default() += 1;
        }
    }
    found
}

#[test]
fn no_type_knows_too_much() {
    let mut all: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (file, module, text) in sources() {
        if file.contains("tests") {
            continue;
        }
        for (owner, count) in methods(&text) {
            *all.entry((module.clone(), owner)).or_default() += count;
        }
    }
    assert!(all.len() > 100, "the scan sees types");
    all.retain(|_, count| *count > MOST_METHODS);
    assert_eq!(all, BTreeMap::new(), "more than {MOST_METHODS} methods");
}

#[test]
fn the_scan_sees_methods_of_types_and_no_others() {
    let text = "impl<K: Hash<u8>> Ring<K> {\n    pub fn a() {}\n    pub(super) async fn b<T>(x: fn(T)) {\n        fn inner() {}\n    }\n}\n\
                impl Clone for Ring<u8> {\n    fn clone() {}\n}\nfn free() {}\n#[cfg(test)]\nimpl Ring<u8> {\n    fn c() {}\n}";
    assert_eq!(methods(text), BTreeMap::from([("Ring".to_owned(), 2)]));
}

#[test]
fn the_scan_sees_modules_however_they_are_named() {
    assert_eq!(named_modules("use crate::vault::Key;"), ["vault"]);
    assert_eq!(named_modules("use crate::{store, vault::{Key, Ring}, id::Id};"), ["store", "vault", "id"]);
    assert_eq!(named_modules("let a = crate::web::x(crate::proxy::y());"), ["web", "proxy"]);
    assert_eq!(named_modules("use pingora_crate::web;"), Vec::<String>::new());
    let seen = paths("use super::{a, b::{C, d::E}}; x(super::super::f::g()); crate::h::I");
    assert_eq!(seen, ["super::a", "super::b::C", "super::b::d::E", "super::super::f::g", "crate::h::I"]);
    let module = ["m".to_owned(), "n".to_owned(), "o".to_owned()];
    assert_eq!(resolved(&module, "super::super::f").unwrap(), ["m", "f"]);
    let lines: Vec<_> = code("// crate::web\nx(\"crate::web\")").map(|(_, line)| line).collect();
    assert_eq!(lines, ["", "x(\"\")"]);
}
