//! The providers that come with the program: `config/providers/*.yaml`, embedded.
//!
//! A file is named for its provider and holds [`ProviderFields`], as a service may write them inline. Beside them it may
//! hold `services`: presets by service name, each of them fields that go over the file's own. So `google.yaml` says once
//! how Google's OAuth works, and its `services` say where Gmail and Calendar lie. Presets are providers, too: a service
//! named `gmail` needs no more than a client, whether it says `provider: google` or nothing, and one named `inbox` may say
//! `provider: gmail`.

use std::{collections::BTreeMap, sync::LazyLock};

use include_dir::{Dir, include_dir};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Value;

use super::overlay::overlay;
use crate::config::ProviderFields;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/config/providers");

static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(files()).expect("a test parses every embedded file"));

/// The providers and presets by name.
struct Catalogue {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    fields: ProviderFields,
    /// For a preset: the provider whose file it stands in.
    provider: Option<String>,
}

/// The fields of a provider or preset.
pub fn fields(name: &str) -> Option<&'static ProviderFields> {
    CATALOGUE.entries.get(name).map(|entry| &entry.fields)
}

/// The fields on which a service is built: the preset that bears the service's name in this provider's file, else the
/// provider's own.
pub fn fields_for(provider: &str, service: &str) -> Option<&'static ProviderFields> {
    let preset = CATALOGUE.entries.get(service).filter(|entry| entry.provider.as_deref() == Some(provider));
    preset.map(|entry| &entry.fields).or_else(|| fields(provider))
}

/// All fields of a service of this name that is built on a provider: the provider's or preset's, with those that the
/// service writes inline over them. `None` where there is no such provider.
pub fn whole(provider: &str, service: &str, inline: &ProviderFields) -> Option<ProviderFields> {
    fields_for(provider, service).map(|base| overlay(base, inline))
}

/// The names of all providers and presets, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.entries.keys().map(String::as_str)
}

/// The presets of a provider, in alphabetical order.
pub fn presets(provider: &str) -> impl Iterator<Item = &'static str> {
    CATALOGUE
        .entries
        .iter()
        .filter(move |(_, entry)| entry.provider.as_deref() == Some(provider))
        .map(|(name, _)| name.as_str())
}

fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.files().filter_map(|file| {
        let name = file.path().file_name()?.to_str()?.strip_suffix(".yaml")?;
        Some((name, file.contents_utf8()?))
    })
}

impl Catalogue {
    fn parse<'t>(files: impl Iterator<Item = (&'t str, &'t str)>) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        for (provider, text) in files {
            let told = |error: &dyn std::fmt::Display| format!("{provider}.yaml: {error}");
            let mut file = yaml(text).map_err(|error| told(&error))?;
            let services = file.as_object_mut().and_then(|file| file.remove("services")).unwrap_or_default();
            let base: ProviderFields = serde_path_to_error::deserialize(file).map_err(|error| told(&error))?;
            let services: Option<BTreeMap<String, ProviderFields>> =
                serde_path_to_error::deserialize(services).map_err(|error| told(&error))?;
            for (name, fields) in services.into_iter().flatten() {
                let entry = Entry { fields: overlay(&base, &fields), provider: Some(provider.to_owned()) };
                if entries.insert(name.clone(), entry).is_some() {
                    return Err(told(&format!("the name {name} is taken")));
                }
            }
            if entries.insert(provider.to_owned(), Entry { fields: base, provider: None }).is_some() {
                return Err(told(&"the name is taken by a preset"));
            }
        }
        Ok(Self { entries })
    }
}

/// One YAML document as JSON.
fn yaml(text: &str) -> Result<Value, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    let [document] = documents.as_slice() else { return Err("is not one document".into()) };
    json(document)
}

fn json(node: &Yaml<'_>) -> Result<Value, String> {
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => Value::Bool(*value),
        Yaml::Value(Scalar::Integer(value)) => Value::from(*value),
        Yaml::Value(Scalar::FloatingPoint(value)) => Value::from(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => Value::from(value.as_ref()),
        Yaml::Sequence(list) => Value::Array(list.iter().map(json).collect::<Result<_, _>>()?),
        Yaml::Mapping(map) => Value::Object(
            map.iter()
                .map(|(key, value)| {
                    let key = key.as_str().ok_or("has a key that is no text")?;
                    Ok((key.to_owned(), json(value)?))
                })
                .collect::<Result<_, String>>()?,
        ),
        _ => return Err("has a tag, an alias or a malformed value".into()),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every entry, for tests over all files.
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static ProviderFields)> {
        CATALOGUE.entries.iter().map(|(name, entry)| (name.as_str(), &entry.fields))
    }

    #[test]
    fn every_embedded_file_parses() {
        let catalogue = Catalogue::parse(files()).unwrap();
        for name in ["github", "google", "gmail", "slack"] {
            assert!(catalogue.entries.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_preset_goes_over_its_provider() {
        let gmail = fields("gmail").unwrap();
        assert_eq!(gmail.base_url.as_deref(), Some("https://gmail.googleapis.com"));
        assert_eq!(gmail.token_url, fields("google").unwrap().token_url);
        assert!(presets("google").any(|name| name == "google-calendar"));
    }

    #[test]
    fn a_service_is_built_on_the_preset_of_its_name() {
        let title = |provider, service| fields_for(provider, service).unwrap().title.as_deref().unwrap();
        assert_eq!(title("google", "gmail"), "Gmail");
        assert_eq!(title("gmail", "inbox"), "Gmail");
        assert_eq!(title("slack", "gmail"), "Slack", "another provider's preset does not count");
        assert!(fields_for("nobody", "gmail").is_none());
    }

    #[test]
    fn faults_of_a_file_are_told_with_its_name() {
        let fault = |text| Catalogue::parse([("x", text)].into_iter()).err().unwrap();
        assert!(fault("titel: X").starts_with("x.yaml: "));
        assert!(fault("services: {x: {title: X}}").contains("taken"));
        assert!(fault("a: [").starts_with("x.yaml: "));
        assert!(fault("title: !t X").starts_with("x.yaml: "));
    }
}
