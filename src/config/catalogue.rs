//! What the configuration must know of providers, whose files lie above it: their names, and what a service that is built
//! on one has without writing it.

use super::ProviderFields;

/// The providers that a service may be built on.
pub trait Catalogue {
    /// Their names, for suggestions.
    fn names(&self) -> Vec<&str>;

    /// All fields of a service of this name that is built on a provider: the provider's, with those that the service
    /// writes inline over them. `None` where there is no such provider.
    fn whole(&self, provider: &str, service: &str, inline: &ProviderFields) -> Option<ProviderFields>;
}

/// A catalogue without providers: every service is a custom one.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProviders;

impl Catalogue for NoProviders {
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn whole(&self, _: &str, _: &str, _: &ProviderFields) -> Option<ProviderFields> {
        None
    }
}
