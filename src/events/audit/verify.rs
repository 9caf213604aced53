//! Looks at the whole log of a store, beside running replicas: every entry, what is signed, and anchors.

use super::{
    KeptError,
    chain::signer,
    check::{Checked, Finding, Whole},
    query::AuditReader,
};
use crate::{
    clock::Timestamp,
    store::{self, Logged, Shard},
    vault::{self, PublicKey, Root},
};

/// How often a shard is looked at again that was signed or cut meanwhile.
const ATTEMPTS: u32 = 4;

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many entries a signature speaks for.
    pub signed: u64,
    /// How many have come since, …
    pub unsigned: u64,
    /// … and since when.
    pub unsigned_since: Option<Timestamp>,
    /// How many are sealed by a key that is not configured: nothing can be said of what is in them.
    pub without_key: u64,
    /// How many anchors were held against it.
    pub anchors: usize,
    /// When the log was last signed.
    pub signed_at: Option<Timestamp>,
    /// What checks its signatures.
    pub key: PublicKey,
}

/// Looks at all. `lines` are those of a log with anchors; `began` is told how many entries there are to look at, and `progress` of
/// each that was.
///
/// # Errors
/// While the store is away.
pub async fn verify(
    reader: &AuditReader,
    root: &Root,
    lines: &str,
    began: impl FnOnce(u64),
    mut progress: impl FnMut(u64),
) -> Result<Report, store::Error> {
    let key = signer(root).public_key();
    let heads = reader.signed(None).await?;
    let whole = Whole::new(key, heads.as_deref(), lines.lines());
    began(whole.entries());
    let (mut all, mut without_key) = (Checked::default(), 0);
    for shard in Shard::all() {
        let (mut attempts, mut head) = (0, reader.signed(Some(shard)).await?);
        let (checked, unopened) = loop {
            let seen = look(reader, &whole, shard, head.as_deref(), &mut progress).await?;
            let now = reader.signed(Some(shard)).await?;
            attempts += 1;
            // What was cut off meanwhile is not missing.
            if seen.0.findings.is_empty() || now == head || attempts >= ATTEMPTS {
                break seen;
            }
            head = now;
        };
        all.findings.extend(checked.findings);
        all.signed += checked.signed;
        all.unsigned += checked.unsigned;
        let since = [all.unsigned_since, checked.unsigned_since];
        all.unsigned_since = since.into_iter().flatten().min();
        without_key += unopened;
    }
    let (anchors, signed_at) = (whole.anchors(), whole.signed_at());
    let mut findings = whole.into_findings();
    findings.append(&mut all.findings);
    let Checked { signed, unsigned, unsigned_since, .. } = all;
    Ok(Report { findings, signed, unsigned, unsigned_since, without_key, anchors, signed_at, key })
}

async fn look(
    reader: &AuditReader,
    whole: &Whole,
    shard: Shard,
    head: Option<&[u8]>,
    progress: &mut impl FnMut(u64),
) -> Result<(Checked, u64), store::Error> {
    let (mut check, mut behind) = (whole.shard(shard, head), None);
    let (mut damaged, mut without_key) = (Vec::new(), 0);
    loop {
        let page = reader.stored(shard, behind).await?;
        for logged in &page {
            check.entry(logged);
            match reader.try_open(shard, logged) {
                Ok(()) => {}
                Err(KeptError::Vault(vault::Error::UnknownKey { .. })) => without_key += 1,
                Err(_) => damaged.push(of_entry(shard, logged)),
            }
        }
        progress(page.len() as u64);
        match page.last() {
            Some(last) => behind = Some(last.position),
            None => break,
        }
    }
    let mut checked = check.end();
    checked.findings.extend(damaged);
    Ok((checked, without_key))
}

fn of_entry(shard: Shard, logged: &Logged) -> Finding {
    let what = "an entry was changed, or belongs elsewhere: it doesn't open".to_owned();
    Finding { shard: Some(shard), between: Some((logged.position, logged.position)), what }
}
