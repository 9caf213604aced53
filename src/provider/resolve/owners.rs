//! Whose connection each service uses.

use std::collections::BTreeMap;

use crate::{
    config::{Context, Path, RawService, finding, nearest},
    id::ServiceName,
};

/// Whose connection each service shares, where it shares one. One hop only, so that a link always leads to the client that
/// holds the grant.
pub fn owners(
    raw: &BTreeMap<String, RawService>,
    services: &Path,
    cx: &mut Context<'_>,
) -> BTreeMap<String, ServiceName> {
    let mut owners = BTreeMap::new();
    for (name, service) in raw {
        let Some(owner) = &service.connection else { continue };
        let path = services.key(name).key("connection");
        let finding = match raw.get(owner) {
            _ if owner == name => finding("A service can't share its own connection").hint("take this key away"),
            None if cx.report.is_broken(&services.key(owner)) => continue,
            None => {
                let finding = finding("There is no service of this name");
                match nearest(owner, raw.keys().map(String::as_str).filter(|known| known != name)) {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint("name one of the services here"),
                }
            }
            Some(owner) if owner.connection.is_some() => {
                finding("That service shares another's connection itself").hint("name the one that owns the connection")
            }
            Some(_) => {
                owners.extend(ServiceName::parse(owner).ok().map(|owner| (name.clone(), owner)));
                continue;
            }
        };
        cx.report.problem(&path, finding);
    }
    owners
}
