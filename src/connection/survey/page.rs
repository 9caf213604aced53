//! Lists of all connections, a page at a time. Their order is that of the store's own walk, which says nothing of them and stays as
//! it is while connections come and go: one that is there all along is on some page. One may come twice where the store rearranges
//! itself in between.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{Filter, Survey, Surveyed, Uses};
use crate::{connection::model::Unavailable, id::CallerId, store::Key};

/// How many batches one page looks at: then it ends, also where it has found nothing.
const BATCHES: usize = 16;

/// A page.
#[derive(Debug)]
pub struct SurveyPage {
    /// The connections of it.
    pub connections: Vec<Surveyed>,
    /// How many records no key of the vault opens, of those that were looked at.
    pub unreadable: usize,
    /// Where the next page begins; `None`: that was all.
    pub next: Option<String>,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    /// The cursor is none that a page gave.
    #[error("this is no cursor of this list")]
    Cursor,
    /// The store or the keys are away.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<SurveyError> for Unavailable {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Unavailable(unavailable) => unavailable,
            // Of a walk's own cursors the store knows each.
            SurveyError::Cursor => Self::Store,
        }
    }
}

/// Where a page begins: in which batch, and where that was cut, behind which record of which batch.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    batch: Option<String>,
    behind: Option<(Key, [u8; 8])>,
}

impl Place {
    fn written(&self) -> String {
        let batch = self.batch.as_deref().unwrap_or_default();
        let text = match &self.behind {
            Some((key, digest)) => format!("{batch}/{key}/{}", URL_SAFE_NO_PAD.encode(digest)),
            None => format!("{batch}/"),
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    fn read(cursor: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let mut parts = text.split('/');
        let batch = Some(parts.next()?).filter(|batch| !batch.is_empty()).map(str::to_owned);
        let behind = match (parts.next()?, parts.next()) {
            ("", None) => None,
            (key, Some(digest)) => {
                let digest = URL_SAFE_NO_PAD.decode(digest).ok()?.try_into().ok()?;
                Some((Key::from_hex(key.as_bytes())?, digest))
            }
            (_, None) => return None,
        };
        parts.next().is_none().then_some(Self { batch, behind })
    }
}

/// Tells a batch of these records from others.
fn digest(keys: &[Key]) -> [u8; 8] {
    let mut hash = Sha256::new();
    keys.iter().for_each(|key| hash.update(key.to_bytes()));
    let mut short = [0; 8];
    short.copy_from_slice(&hash.finalize()[..8]);
    short
}

impl Survey {
    /// At most `limit` of the connections that are meant, from `cursor` on (`None`: from the beginning). A page may have fewer, also
    /// none, before the last one: each looks at a few thousand records only.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub async fn page(&self, filter: &Filter, cursor: Option<&str>, limit: usize) -> Result<SurveyPage, SurveyError> {
        let mut place = match cursor {
            Some(cursor) => Place::read(cursor).ok_or(SurveyError::Cursor)?,
            None => Place::default(),
        };
        if let (Some(subject), Some(issuer)) = (&filter.user, &filter.issuer) {
            let caller = CallerId { issuer: issuer.clone(), subject: subject.clone() };
            let found = self.of_caller(filter, &caller).await?;
            let behind = place.behind.map(|(key, _)| key);
            let rest = found.into_iter().filter(|(key, _)| behind.is_none_or(|behind| *key > behind)).collect();
            let (connections, last) = cut(rest, limit);
            let next = last.map(|key| Place { batch: None, behind: Some((key, [0; 8])) }.written());
            return Ok(SurveyPage { connections, unreadable: 0, next });
        }
        let (mut connections, mut unreadable) = (Vec::new(), 0);
        for _ in 0..BATCHES {
            let batch = self.batch(filter, place.batch.clone(), Uses::All).await?;
            let digest = digest(&batch.keys);
            // What was cut is gone on with, unless it is no longer what it was: then it comes again, so that nothing is left out.
            let behind = place.behind.filter(|(_, of)| *of == digest).map(|(key, _)| key);
            let rest = batch.found.into_iter().filter(|(key, _)| behind.is_none_or(|behind| *key > behind)).collect();
            let (more, last) = cut(rest, limit - connections.len());
            connections.extend(more);
            unreadable += batch.unreadable;
            if let Some(key) = last {
                place.behind = Some((key, digest));
                return Ok(SurveyPage { connections, unreadable, next: Some(place.written()) });
            }
            let Some(next) = batch.next else { return Ok(SurveyPage { connections, unreadable, next: None }) };
            place = Place { batch: Some(next), behind: None };
            if connections.len() >= limit {
                break;
            }
        }
        Ok(SurveyPage { connections, unreadable, next: Some(place.written()) })
    }
}

/// At most so many, and where the rest begins: behind which record.
fn cut(mut found: Vec<(Key, Surveyed)>, limit: usize) -> (Vec<Surveyed>, Option<Key>) {
    let is_cut = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|(key, _)| *key).filter(|_| is_cut);
    (found.into_iter().map(|(_, one)| one).collect(), last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{OwnerId, RecordId};

    #[test]
    fn a_place_is_read_back_from_its_cursor_and_from_nothing_else() {
        let key = Key { owner: OwnerId([7; 16]), record: RecordId([9; 16]) };
        for place in [
            Place::default(),
            Place { batch: Some("3.129".into()), behind: None },
            Place { batch: None, behind: Some((key, [5; 8])) },
            Place { batch: Some("3.129".into()), behind: Some((key, [5; 8])) },
        ] {
            assert_eq!(Place::read(&place.written()).as_ref(), Some(&place));
        }
        for bad in ["", "x", "!", "YQ", &URL_SAFE_NO_PAD.encode("a/b"), &URL_SAFE_NO_PAD.encode("a/b/c/d")] {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }
}
