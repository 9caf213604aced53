//! Going through all connections for a command: with a progress bar, beside running replicas, each connection once.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;

use super::{
    Outcome,
    output::{WARNING, complain, note, styled},
};
use crate::{
    connection::{Connections, Holder, Unavailable},
    id::{ConnectionId, ServiceName},
    provider::Loaded,
    serve::Heart,
};

/// Between two pages, so that calls beside it don't feel it.
const PACE: Duration = Duration::from_millis(5);

/// Does `work` on what the configuration describes, without serving anything.
pub fn with_heart(loaded: &Loaded, work: impl AsyncFnOnce(&Heart) -> Outcome) -> Outcome {
    let Ok(runtime) = Runtime::new() else {
        complain("The system gives no threads");
        return Outcome::Failed;
    };
    let heart = match Heart::for_command(loaded, &runtime) {
        Ok(heart) => heart,
        Err(error) => {
            complain(error);
            return Outcome::Failed;
        }
    };
    let outcome = runtime.block_on(work(&heart));
    runtime.block_on(heart.close());
    runtime.shutdown_background();
    outcome
}

/// All connections to the services that `wanted` names, each once, in order.
pub async fn take(
    connections: &Connections,
    wanted: impl Fn(&ServiceName) -> bool,
) -> Result<Vec<Holder>, Unavailable> {
    let bar = ProgressBar::new(connections.api_keys.count().await?);
    if let Ok(style) = ProgressStyle::with_template("{bar:40.green} {percent:>3} %  {pos} connections  (left: {eta})") {
        bar.set_style(style);
    }
    let mut all = BTreeMap::new();
    let (mut cursor, mut unreadable) = (None, 0);
    loop {
        let page = connections.api_keys.holders(cursor).await?;
        bar.inc(page.records as u64);
        unreadable += page.unreadable;
        for holder in page.holders.into_iter().filter(|holder| wanted(&holder.id.service)) {
            let ConnectionId { caller, service, account } = &holder.id;
            let place = (
                service.to_string(),
                caller.issuer.to_string(),
                caller.subject.as_str().to_owned(),
                account.to_string(),
            );
            all.insert(place, holder);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        tokio::time::sleep(PACE).await;
    }
    bar.finish_and_clear();
    if unreadable > 0 {
        let warning = styled(WARNING, "warning:");
        note(format_args!("{warning} {unreadable} records are opened by no key of the vault, and not counted"));
    }
    Ok(all.into_values().collect())
}
