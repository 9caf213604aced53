//! All services by name: the one set that everything reads, replaced whole when the configuration changes.

use std::{collections::BTreeMap, sync::Arc};

use super::Service;
use crate::id::ServiceName;

/// All services by name.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Another set of this process has another number, a later one a greater.
    number: u32,
    by_name: BTreeMap<ServiceName, Arc<Service>>,
}

/// What tells a set of services from the one before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Names that are new.
    pub added: Vec<ServiceName>,
    /// Names that are no more.
    pub removed: Vec<ServiceName>,
    /// Names under which another service is reached.
    pub changed: Vec<ServiceName>,
}

impl Services {
    /// The same set in place of `before`: services that are no other than before are the very same values, so that whoever
    /// holds something made for one can tell by its address whether it still holds.
    #[must_use]
    pub fn in_place_of(mut self, before: &Self) -> Self {
        for (name, service) in &mut self.by_name {
            if let Some(same) = before.by_name.get(name).filter(|same| *same == service) {
                *service = Arc::clone(same);
            }
        }
        let same = self.difference(before) == Difference::default();
        self.number = if same { before.number } else { before.number.wrapping_add(1) };
        self
    }

    /// What tells this set from the one that it took the place of.
    pub fn difference(&self, before: &Self) -> Difference {
        let mut difference = Difference::default();
        for (name, service) in &self.by_name {
            match before.by_name.get(name) {
                None => difference.added.push(name.clone()),
                Some(other) if !Arc::ptr_eq(other, service) => difference.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.by_name.keys().filter(|name| !self.by_name.contains_key(*name));
        difference.removed.extend(gone.cloned());
        difference
    }

    /// Tells this set from those before and after it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// A service by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(name)
    }

    /// The service that owns this one's connections: itself, mostly.
    pub fn owner(&self, service: &Service) -> Option<&Arc<Service>> {
        self.by_name.get(&service.owner)
    }

    /// All that share this one's connections, itself among them, in alphabetical order.
    pub fn sharing<'s>(&'s self, service: &'s Service) -> impl Iterator<Item = &'s Arc<Service>> {
        self.by_name.values().filter(move |other| other.owner == service.owner)
    }

    /// All services, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_name.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

impl FromIterator<Service> for Services {
    fn from_iter<I: IntoIterator<Item = Service>>(services: I) -> Self {
        Self {
            number: 0,
            by_name: services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::testing::resolve;

    fn services(crm: Value) -> Services {
        resolve(json!({ "github": {"client_id": "c", "client_secret": "s"}, "crm": crm })).unwrap()
    }

    #[test]
    fn what_stays_is_the_very_same_and_what_changed_is_not() {
        let crm = json!({"base_url": "https://crm.example", "api_keys": {}});
        let before = services(crm.clone());
        let same = services(crm).in_place_of(&before);
        assert_eq!(same.number(), before.number());
        assert!(same.iter().zip(before.iter()).all(|(one, other)| Arc::ptr_eq(one, other)));
        let moved = services(json!({"base_url": "https://other.example", "api_keys": {}})).in_place_of(&before);
        assert_ne!(moved.number(), before.number());
        assert!(Arc::ptr_eq(moved.get("github").unwrap(), before.get("github").unwrap()));
        let crm = ServiceName::parse("crm").unwrap();
        assert_eq!(moved.difference(&before), Difference { changed: vec![crm], ..Difference::default() });
    }

    #[test]
    fn another_secret_is_another_service_also_for_those_that_share_it() {
        let with = |secret: &str| {
            resolve(json!({
                "gmail": {"client_id": "c", "client_secret": secret},
                "google-calendar": {"connection": "gmail"},
            }))
            .unwrap()
        };
        let before = with("one");
        let changed = with("two").in_place_of(&before).difference(&before).changed;
        assert_eq!(changed.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["gmail", "google-calendar"]);
    }

    #[test]
    fn what_comes_and_goes_is_told() {
        let before = services(json!({"base_url": "https://crm.example", "api_keys": {}}));
        let after = resolve(json!({ "slack": {"client_id": "c", "client_secret": "s"} })).unwrap().in_place_of(&before);
        let Difference { added, removed, changed } = after.difference(&before);
        assert_eq!((added.len(), removed.len(), changed.len()), (1, 2, 0));
    }
}
