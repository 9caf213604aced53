//! All services by name: the one set that everything reads, replaced whole when the configuration changes.

use std::{collections::BTreeMap, sync::Arc};

use super::Service;
use crate::id::ServiceName;

/// All services by name.
#[derive(Debug, Clone, Default)]
pub struct Services {
    by_name: BTreeMap<ServiceName, Arc<Service>>,
}

impl Services {
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
        Self { by_name: services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect() }
    }
}
