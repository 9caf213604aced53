//! A service's mark: its provider's, where a free drawing of it is known, else its initial on a colour of its own.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::provider::Service;

/// Drawings by provider, as SVG path data in a square of 24 (assets/LICENSES.md says whose they are).
static PATHS: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("assets/marks.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect()
});

/// How a service is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// A drawing, …
    pub path: Option<&'static str>,
    /// … or a letter …
    pub initial: String,
    /// … on one of the style sheet's six colours.
    pub hue: usize,
}

impl Mark {
    /// A service's.
    pub fn of(service: &Service) -> Self {
        let path = service.provider.as_deref().and_then(|provider| PATHS.get(provider)).copied();
        let hue = service.name.as_str().bytes().map(usize::from).sum::<usize>() % 6;
        Self { path, initial: initial(&service.title), hue }
    }
}

/// The first letter of a name, in upper case.
pub(super) fn initial(name: &str) -> String {
    name.chars().find(|c| c.is_alphanumeric()).map(|c| c.to_uppercase().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::testing::service;

    #[test]
    fn every_drawing_is_path_data_and_nothing_else() {
        assert!(PATHS.contains_key("github") && PATHS.contains_key("google"));
        for (provider, path) in PATHS.iter() {
            let fine = path.chars().all(|c| c.is_ascii_digit() || "MmLlHhVvCcSsQqTtAaZz,.- ".contains(c));
            assert!(fine && path.starts_with(['M', 'm']), "{provider}: {path}");
        }
    }

    #[test]
    fn a_service_has_its_providers_mark_else_its_initial() {
        let fields = json!({"provider": "github", "client_id": "id", "client_secret": "secret"});
        assert!(Mark::of(&service("code", fields)).path.is_some());
        let own = json!({
            "title": "éclair", "base_url": "https://a.example", "authorize_url": "https://a.example/a",
            "token_url": "https://a.example/t", "client_id": "id", "client_secret": "secret",
        });
        let mark = Mark::of(&service("own", own));
        assert_eq!((mark.path, mark.initial.as_str()), (None, "É"));
        assert_eq!((initial("«acme»"), initial("…")), ("A".into(), String::new()));
    }
}
