//! What each class of errors means, and what to do about it, in a sentence. docs/OPERATIONS.md says more, under the class's name.

/// Each class and its sentence.
const MEANINGS: [(&str, &str); 10] = [
    ("denied", "People say no at the provider: look at what is asked for, and whether the page says why."),
    (
        "provider_error",
        "The provider refuses before anybody is asked: check scopes, redirect URI and client in its console.",
    ),
    ("used", "A link's grant was stored meanwhile: somebody uses old tabs. Nothing has to be done."),
    ("not_stored", "A grant came and could not be stored: look at the store."),
    (
        "exchange_refused",
        "The provider refuses the code: check client_id, client_secret and token_url of this service.",
    ),
    ("exchange_failed", "The provider's token endpoint fails for now, or can't be reached from here."),
    ("refresh_failed", "Tokens are not renewed for now; no connection is lost, but calls fail once tokens have ended."),
    (
        "client_refused",
        "The provider refuses your OAuth client: its secret was changed or has run out. Put the new one into place.",
    ),
    ("invalidated", "People lose their connections and must connect again: was the app changed, or access withdrawn?"),
    ("revocation_failed", "The provider could not be asked to revoke what was given up: tokens may live on there."),
];

/// The class of an error: what stands before the provider's word.
pub(super) fn class(error: &str) -> &str {
    error.split_once(':').map_or(error, |(class, _)| class)
}

/// What an error means and what to do.
pub(super) fn of(error: &str) -> &'static str {
    let class = class(error);
    MEANINGS.iter().find(|(known, _)| *known == class).map_or("Look at the log.", |(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_section_in_the_runbook() {
        let page = include_str!("../../../docs/OPERATIONS.md");
        for (class, _) in MEANINGS {
            assert!(page.contains(&format!("\n### {class}\n")), "{class}");
        }
        assert_eq!(of("exchange_refused:invalid_client"), of("exchange_refused"));
    }
}
