//! Scopes: how they are written, which includes which, what each allows in a person's words, and which calls need which.
//! Pure. A grant whose scopes are not known is never judged here.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{ProviderFields, provider::ScopeRule},
    operation::{Operation, Path, ways},
};

/// A set of scopes, as a provider or an application spells them. One text, because thousands of credentials hold one: the
/// scopes in alphabetical order, each followed by a space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSet(Box<str>);

/// Longest scope, and most of them in one text: beyond that it is no list of scopes.
const LENGTH_MAX: usize = 512;
const COUNT_MAX: usize = 200;

impl ScopeSet {
    /// Parses scopes between spaces or commas. What RFC 6749 §3.3 doesn't allow in a scope is left out.
    pub fn parse(text: &str) -> Self {
        Self::of(words(text))
    }

    /// The set of these words, none of which holds a space.
    fn of(mut words: Vec<String>) -> Self {
        words.sort_unstable();
        words.dedup();
        Self(words.iter().flat_map(|word| [word.as_str(), " "]).collect())
    }

    /// Whether the very spelling is there.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|held| held == scope)
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(' ')
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: AsRef<str>> FromIterator<S> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = S>>(list: I) -> Self {
        Self::of(list.into_iter().flat_map(|text| words(text.as_ref())).collect())
    }
}

/// The scopes in a text, between spaces or commas, each once and in its order.
pub fn words(text: &str) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for word in text.split([' ', ',', '\t', '\r', '\n']).filter(|word| well_formed(word)).take(COUNT_MAX) {
        if !scopes.iter().any(|scope| scope == word) {
            scopes.push(word.to_owned());
        }
    }
    scopes
}

/// Whether this is a scope token (RFC 6749 §3.3): `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// The same, of a bearable length.
pub(super) fn well_formed(word: &str) -> bool {
    word.len() <= LENGTH_MAX && is_token(word)
}

/// Whether this is one scope that can be asked for: well formed, and without the comma that some answers put between scopes.
pub fn is_scope(text: &str) -> bool {
    well_formed(text) && !text.contains(',')
}

/// What a provider's file says of scopes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScopeFacts {
    titles: BTreeMap<String, String>,
    aliases: BTreeMap<String, String>,
    /// Each scope with all that it includes, at any depth.
    closure: BTreeMap<String, BTreeSet<String>>,
    /// In the file's order: the first that speaks of a call counts. Looked through one by one rather than kept in a radix
    /// tree (`matchit`): that finds the most specific route, not the first, and has no place for two rules of one path, nor
    /// for `{name}:verb`. Such a tree would be needed for each method and each way of reading a path, while most of the two
    /// dozen rules that the longest file has are ruled out by their method.
    rules: Vec<Rule>,
    /// Whether every server reads the paths of all rules alike.
    alike: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    methods: Vec<String>,
    /// The path's segments, in each way of reading it, and at last as it is written.
    path: Vec<Vec<String>>,
    any_of: Vec<String>,
}

impl ScopeFacts {
    /// Takes the scope facts out of provider fields.
    pub fn new(fields: &ProviderFields) -> Self {
        let includes = fields.scope_includes.clone().unwrap_or_default();
        Self {
            titles: fields.scope_titles.clone().unwrap_or_default(),
            aliases: fields.scope_aliases.clone().unwrap_or_default(),
            closure: includes.keys().map(|scope| (scope.clone(), closure(scope, &includes))).collect(),
            alike: fields
                .scope_rules
                .iter()
                .flatten()
                .all(|rule| Path::parse(&rule.path).is_ok_and(|path| path.is_one())),
            rules: fields.scope_rules.iter().flatten().filter_map(Rule::new).collect(),
        }
    }

    /// The provider's own spelling.
    pub fn canonical<'s>(&'s self, scope: &'s str) -> &'s str {
        self.aliases.get(scope).map_or(scope, String::as_str)
    }

    /// What the scope allows, in a sentence.
    pub fn title(&self, scope: &str) -> Option<&str> {
        self.titles.get(self.canonical(scope)).map(String::as_str)
    }

    /// Whether this is a scope that the provider's file speaks of, under any spelling.
    pub fn knows(&self, scope: &str) -> bool {
        self.aliases.iter().any(|(alias, name)| alias == scope || name == scope)
            || self.titles.contains_key(scope)
            || self.closure.iter().any(|(wide, included)| wide == scope || included.contains(scope))
            || self.rules.iter().any(|rule| rule.any_of.iter().any(|needed| needed == scope))
    }

    /// Whether the granted scopes have this one, under any spelling or inside a wider one.
    pub fn covers(&self, granted: &ScopeSet, scope: &str) -> bool {
        let wanted = self.canonical(scope);
        granted
            .iter()
            .map(|held| self.canonical(held))
            .any(|held| held == wanted || self.closure.get(held).is_some_and(|included| included.contains(wanted)))
            || granted.iter().any(|held| is_respelled(held, wanted))
    }

    /// What of the required scopes the granted ones lack, in canonical spelling and the order given.
    pub fn missing<S: AsRef<str>>(&self, required: &[S], granted: &ScopeSet) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for scope in required.iter().map(AsRef::as_ref) {
            let scope = self.canonical(scope);
            if !self.covers(granted, scope) && !missing.iter().any(|known| known == scope) {
                missing.push(scope.to_owned());
            }
        }
        missing
    }

    /// Tells the scopes of which this call needs any one, narrowest first, for each rule that speaks of it: one at most,
    /// unless the call can be read in several ways, by its methods or its path. Of a call that isn't known (`None`), those
    /// that every call needs.
    pub fn needed<'s>(&'s self, operation: Option<Operation<'_>>, mut tell: impl FnMut(&'s [String])) {
        if self.rules.is_empty() {
            return;
        }
        let Some(operation) = operation else {
            self.rules.iter().find(|rule| rule.is_of_every_call()).into_iter().for_each(|rule| tell(&rule.any_of));
            return;
        };
        let path = operation.path;
        let ways = ways(self.alike && path.is_one());
        for method in operation.each_method() {
            let mut first = |path: &str, way: usize| {
                if let Some(rule) = self.rules.iter().find(|rule| rule.matches(method, path, way)) {
                    tell(&rule.any_of);
                }
            };
            for way in ways.clone() {
                first(path.by(way), way);
            }
            // An encoded colon is part of a name to some, and begins a verb to others.
            if !path.is_one() {
                first(path.as_str(), ways.end);
            }
        }
    }

    /// Which of several scopes, any of which would do, to ask a person for: the first that is wanted anyway, else the
    /// first that includes none of the others.
    pub fn narrowest<'s>(&self, any_of: &'s [String], wanted: &[String]) -> Option<&'s String> {
        let wider = |scope: &str| {
            self.closure
                .get(self.canonical(scope))
                .is_some_and(|included| any_of.iter().any(|other| included.contains(self.canonical(other))))
        };
        any_of
            .iter()
            .find(|scope| wanted.contains(scope))
            .or_else(|| any_of.iter().find(|scope| !wider(scope)))
            .or_else(|| any_of.first())
    }
}

/// Whether these are one scope but for letters' case or the resource before it, as Microsoft's token endpoint says
/// `mail.read` for `https://graph.microsoft.com/Mail.Read`.
fn is_respelled(one: &str, other: &str) -> bool {
    let tail = |scope: &str| scope.contains("://").then(|| scope.rfind('/').map_or(0, |at| at + 1));
    let (whole, from) = match (tail(one), tail(other)) {
        (Some(at), None) => (other, &one[at..]),
        (None, Some(at)) => (one, &other[at..]),
        _ => (one, other),
    };
    !from.is_empty() && whole.eq_ignore_ascii_case(from)
}

fn closure(scope: &str, includes: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![scope];
    while let Some(next) = open.pop() {
        for child in includes.get(next).into_iter().flatten() {
            if found.insert(child.clone()) {
                open.push(child);
            }
        }
    }
    found
}

impl Rule {
    /// `None`: no call has such a path.
    fn new(rule: &ScopeRule) -> Option<Self> {
        let path = Path::parse(&rule.path).ok()?;
        Some(Self {
            methods: rule.methods.iter().map(|method| method.to_ascii_uppercase()).collect(),
            path: ways(false)
                .map(|way| path.by(way))
                .chain([rule.path.as_str()])
                .map(|path| segments(path).map(str::to_owned).collect())
                .collect(),
            any_of: rule.any_of.clone(),
        })
    }

    fn is_of_every_call(&self) -> bool {
        self.methods.is_empty() && self.path.iter().all(|pattern| matches!(&pattern[..], [all] if all == "**"))
    }

    fn matches(&self, method: &str, path: &str, way: usize) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|known| known.eq_ignore_ascii_case(method)))
            && segments_match(&self.path[way], path)
    }
}

/// The segments of a path, without the empty ones before the first.
fn segments(path: &str) -> std::str::Split<'_, char> {
    path.trim_start_matches('/').split('/')
}

fn segments_match(pattern: &[String], path: &str) -> bool {
    let mut segments = segments(path);
    for wanted in pattern {
        if wanted == "**" {
            return true;
        }
        if !segments.next().is_some_and(|segment| segment_matches(wanted, segment)) {
            return false;
        }
    }
    segments.next().is_none()
}

/// `{name}` or `{name}:verb` against one segment. A placeholder alone does not take in a segment with a colon, which
/// vendors use for verbs.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    match pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((_, suffix)) => segment
            .strip_suffix(suffix)
            .is_some_and(|head| !(head.is_empty() || suffix.is_empty() && head.contains(':'))),
        None => pattern == segment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ScopeFacts {
        let fields = serde_json::from_value(serde_json::json!({
            "scope_titles": {"repo": "Read and write repositories"},
            "scope_includes": {"repo": ["public_repo", "repo:status"], "admin": ["write"], "write": ["read", "admin"]},
            "scope_aliases": {"https://example/email": "email"},
            "scope_rules": [
                {"methods": ["POST"], "path": "/messages/send", "any_of": ["send", "compose"]},
                {"methods": ["GET"], "path": "/messages/{id}", "any_of": ["read", "admin"]},
                {"path": "/sheets/{s}:clear", "any_of": ["write"]},
                {"path": "/admin/**", "any_of": ["admin"]},
            ],
        }))
        .unwrap();
        ScopeFacts::new(&fields)
    }

    #[test]
    fn scopes_are_parsed_from_every_usual_form() {
        let expected: ScopeSet = ["a", "b:c"].iter().collect();
        for text in ["a b:c", "a,b:c", "a, b:c", " b:c  a a ", "a\tb:c"] {
            assert_eq!(ScopeSet::parse(text), expected, "{text:?}");
        }
        assert!(ScopeSet::parse(" ,, ").is_empty());
        assert_eq!(ScopeSet::parse("a \"x\" b\\c ä b:c"), expected);
        assert_eq!(["a,b:c"].iter().collect::<ScopeSet>(), expected);
    }

    #[test]
    fn a_wider_scope_or_another_spelling_covers() {
        let (facts, parse) = (facts(), ScopeSet::parse);
        assert!(facts.covers(&parse("repo"), "public_repo"));
        assert!(!facts.covers(&parse("public_repo"), "repo"));
        assert!(facts.covers(&parse("https://example/email"), "email"));
        assert!(facts.covers(&parse("email"), "https://example/email"));
        assert!(facts.covers(&parse("admin"), "read"), "two steps down, and around a circle");
    }

    #[test]
    fn another_case_or_a_resource_in_front_is_the_same_scope() {
        let (facts, parse) = (facts(), ScopeSet::parse);
        let long = "https://graph.microsoft.com/Mail.Read";
        for granted in ["Mail.Read", "mail.read", "HTTPS://graph.microsoft.com/mail.read"] {
            assert!(facts.covers(&parse(granted), long), "{granted}");
        }
        assert!(facts.covers(&parse(long), "mail.read"));
        for granted in ["Mail.ReadWrite", "https://other.example/Mail.Read", "read", "Mail", "https://x.example/"] {
            assert!(!facts.covers(&parse(granted), long), "{granted}");
        }
        assert!(!facts.covers(&parse("https://mail.google.com/"), "x"));
    }

    #[test]
    fn a_scope_is_known_that_stands_anywhere_in_the_file() {
        let facts = facts();
        for scope in ["repo", "public_repo", "admin", "read", "https://example/email", "email", "compose"] {
            assert!(facts.knows(scope), "{scope}");
        }
        for scope in ["", "Repo", "http://evil.example/login", "repo:"] {
            assert!(!facts.knows(scope), "{scope}");
        }
    }

    #[test]
    fn missing_scopes_keep_their_order_and_come_once() {
        let granted = ScopeSet::parse("repo");
        assert_eq!(
            facts().missing(&["z", "repo:status", "y", "z", "https://example/email"], &granted),
            ["z", "y", "email"]
        );
        assert!(facts().missing::<&str>(&[], &granted).is_empty());
    }

    #[test]
    fn the_narrowest_of_several_scopes_is_asked_for() {
        let facts = facts();
        let any_of = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let list = any_of(&["repo", "public_repo"]);
        assert_eq!(facts.narrowest(&list, &[]).unwrap(), "public_repo");
        assert_eq!(facts.narrowest(&list, &any_of(&["repo"])).unwrap(), "repo");
        assert_eq!(facts.narrowest(&[], &[]), None);
    }
}
