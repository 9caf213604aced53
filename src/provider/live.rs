//! The services in force: the one handle by which everything that outlives a call or a round of work comes to them. What is
//! read from it is used for one operation and let go; nobody keeps it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Services;

/// The services in force. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub struct Live(Arc<ArcSwap<Services>>);

impl Live {
    /// These from the start.
    pub fn new(services: Arc<Services>) -> Self {
        Self(Arc::new(ArcSwap::new(services)))
    }

    /// The services, for one operation.
    pub fn services(&self) -> Arc<Services> {
        self.0.load_full()
    }

    /// Puts others in force. What has begun ends with those that it began with.
    pub fn replace(&self, services: Arc<Services>) {
        self.0.store(services);
    }
}
