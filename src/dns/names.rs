//! Names that are looked up by their text, bounded in number.

use quick_cache::sync::Cache;

use super::Name;

/// How many names are remembered: those of the configuration's own addresses, and of what issuers and providers are found to name.
const REMEMBERED: usize = 256;

/// Names by their text, with what is known of each. Their addresses have port 0.
#[derive(Debug)]
pub struct Names(Cache<String, Name>);

impl Default for Names {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Names {
    /// The name with this text; resolves nothing yet.
    pub fn get(&self, host: &str) -> Name {
        self.0.get(host).unwrap_or_else(|| {
            let name = Name::new(host, 0);
            self.0.insert(host.to_owned(), name.clone());
            name
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_asked_for_once_by_whoever_looks_it_up() {
        let names = Names::default();
        let now = std::time::Instant::now();
        assert_eq!(names.get("localhost").at_once(0, now), None);
        let addresses = names.get("localhost").resolve().await.unwrap();
        assert_eq!(names.get("localhost").at_once(0, now), Some(addresses[0]));
        assert_eq!(addresses[0].port(), 0);
    }
}
