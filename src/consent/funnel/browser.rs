//! Families of browsers, told by `User-Agent` (RFC 9110 §10.1.5): a closed list, for counting only. Nothing is ever allowed or
//! refused by it.

use serde::{Deserialize, Serialize};

/// Which browser, as far as it says so. The numbers are part of what is stored: never change one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// It doesn't say.
    #[default]
    None = 0,
    /// Chrome and Chromium.
    Chrome = 1,
    /// Firefox.
    Firefox = 2,
    /// Safari.
    Safari = 3,
    /// Edge.
    Edge = 4,
    /// Any other, and whatever is no browser.
    Other = 5,
}

impl Family {
    /// All of them, by their numbers.
    pub const ALL: [Self; 6] = [Self::None, Self::Chrome, Self::Firefox, Self::Safari, Self::Edge, Self::Other];

    /// By what a request says of itself.
    pub fn of(user_agent: Option<&str>) -> Self {
        let Some(text) = user_agent.map(str::trim).filter(|text| !text.is_empty()) else { return Self::None };
        let names = |products: &[&str]| products.iter().any(|product| text.contains(product));
        // Most name those before them, too, so that the rarest name decides.
        if names(&["OPR/", "SamsungBrowser/", "Vivaldi/", "YaBrowser/", "UCBrowser/", "DuckDuckGo/"]) {
            Self::Other
        } else if names(&["Edg/", "EdgA/", "EdgiOS/"]) {
            Self::Edge
        } else if names(&["Firefox/", "FxiOS/"]) {
            Self::Firefox
        } else if names(&["Chrome/", "CriOS/", "Chromium/"]) {
            Self::Chrome
        } else if text.contains("Safari/") && text.contains("Version/") {
            Self::Safari
        } else {
            Self::Other
        }
    }

    /// What people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::None => "browsers that don't say what they are",
            Self::Chrome => "Chrome",
            Self::Firefox => "Firefox",
            Self::Safari => "Safari",
            Self::Edge => "Edge",
            Self::Other => "other browsers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_told_by_what_it_alone_says() {
        let webkit = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";
        for (text, family) in [
            (format!("{webkit} Chrome/141.0.0.0 Safari/537.36"), Family::Chrome),
            (format!("{webkit} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0"), Family::Edge),
            (format!("{webkit} Chrome/141.0.0.0 Safari/537.36 OPR/120.0"), Family::Other),
            (format!("{webkit} Version/18.1 Safari/605.1.15"), Family::Safari),
            (format!("{webkit} CriOS/141.0 Mobile/15E148 Safari/604.1"), Family::Chrome),
            (format!("{webkit} FxiOS/130.0 Mobile/15E148 Safari/605.1.15"), Family::Firefox),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(), Family::Firefox),
            ("curl/8.14.1".into(), Family::Other),
            (" ".into(), Family::None),
        ] {
            assert_eq!(Family::of(Some(&text)), family, "{text}");
        }
        assert_eq!(Family::of(None), Family::None);
        assert!(Family::ALL.iter().enumerate().all(|(number, family)| *family as usize == number));
    }
}
