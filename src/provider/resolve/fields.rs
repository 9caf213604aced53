//! What a service is built on: its provider's fields, or the owner's of the connection that it shares, with those that it
//! writes inline over them.

use std::collections::BTreeMap;

use crate::{
    config::{Context, Path, ProviderFields, RawService, finding, nearest},
    provider::{catalogue, overlay::overlay},
};

/// What a service is built on.
pub struct Base {
    /// The provider; none where every field is the operator's.
    pub provider: Option<String>,
    /// All fields of the service; `None` where there is no such provider.
    pub fields: Option<ProviderFields>,
}

/// What each of the services is built on, in their order.
pub fn bases(raw: &BTreeMap<String, RawService>, services: &Path, cx: &mut Context<'_>) -> Vec<Base> {
    let bases = raw.iter().map(|(name, service)| {
        let base = provided(name, service, &services.key(name).key("provider"), cx);
        match (&base, owner(service, raw)) {
            // Of an unknown name that shares a connection: as its owner, but for what tells them apart.
            (Base { provider: None, fields: Some(_) }, Some((owner_name, owner))) => {
                let of_owner = fields_of(owner_name, owner).map(|fields| ProviderFields {
                    title: None,
                    base_url: None,
                    base_url_env: None,
                    scopes: None,
                    scope_rules: None,
                    ..fields
                });
                Base { provider: None, fields: of_owner.map(|below| overlay(&below, &service.fields)) }
            }
            _ => base,
        }
    });
    bases.collect()
}

/// The service whose connection this one shares, where that is one that can be shared.
fn owner<'r>(service: &RawService, all: &'r BTreeMap<String, RawService>) -> Option<(&'r String, &'r RawService)> {
    let (name, owner) = all.get_key_value(service.connection.as_ref()?)?;
    owner.connection.is_none().then_some((name, owner))
}

/// All fields of a service that has connections of its own. What is wrong with them is told where it stands.
fn fields_of(name: &str, service: &RawService) -> Option<ProviderFields> {
    match &service.provider {
        Some(provider) => catalogue::whole(provider, name, &service.fields),
        None => Some(catalogue::whole(name, name, &service.fields).unwrap_or_else(|| service.fields.clone())),
    }
}

/// The provider of a service by its `provider` key, or by its own name, and all fields of the service.
fn provided(name: &str, service: &RawService, path: &Path, cx: &mut Context<'_>) -> Base {
    if cx.report.is_broken(path) {
        return Base { provider: None, fields: None };
    }
    let fields = fields_of(name, service);
    let Some(provider) = &service.provider else {
        return Base { provider: catalogue::fields(name).map(|_| name.to_owned()), fields };
    };
    if fields.is_none() {
        let finding = finding("There is no provider of this name");
        let finding = match nearest(provider, catalogue::names()) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None => finding.hint("`valetkey providers` lists them; a custom service has no `provider`"),
        };
        cx.report.problem(path, finding);
    }
    Base { provider: Some(provider.clone()), fields }
}
