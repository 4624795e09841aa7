//! Lists in pages, by key rather than by offset: a page costs the same wherever it lies.

use crate::domain::Invalid;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Which page is asked for.
#[derive(Clone, Debug)]
pub struct PageRequest {
    after: Option<String>,
    limit: u64,
}

/// One page, and where the next begins.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the order of their key.
    pub items: Vec<T>,
    /// To be given back for the next page; absent on the last.
    pub next: Option<String>,
}

/// The most rows in one page.
pub const MOST: u64 = 200;
/// The rows in a page when nothing is said.
pub const DEFAULT: u64 = 50;

impl PageRequest {
    /// Reads what a caller asks for.
    ///
    /// # Errors
    /// A limit out of bounds, or a cursor that is not one of ours.
    pub fn parse(cursor: Option<&str>, limit: Option<u64>) -> Result<Self, Invalid> {
        let limit = limit.unwrap_or(DEFAULT);
        if !(1..=MOST).contains(&limit) {
            return Err(Invalid::new("/limit", format!("must be 1 to {MOST}")));
        }
        let after = match cursor {
            None => None,
            Some(cursor) => Some(
                URL_SAFE_NO_PAD
                    .decode(cursor)
                    .ok()
                    .filter(|bytes| bytes.len() <= 256)
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .filter(|text| !text.contains('\0'))
                    .ok_or_else(|| Invalid::new("/cursor", "is not one that a list gave"))?,
            ),
        };
        Ok(Self { after, limit })
    }

    /// The key that the page begins after.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// One row more than the page holds tells whether there is a next.
    pub(super) fn fetch(&self) -> u64 {
        self.limit + 1
    }

    /// Cuts what was fetched to the page.
    pub(super) fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| URL_SAFE_NO_PAD.encode(key(row)));
        Page { items: rows, next }
    }
}

impl Default for PageRequest {
    fn default() -> Self {
        Self {
            after: None,
            limit: DEFAULT,
        }
    }
}

impl<T> Page<T> {
    /// The same page of something else.
    pub fn map<U>(self, map: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(map).collect(),
            next: self.next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another() {
        let first = PageRequest::parse(None, Some(2)).unwrap();
        let page = first.cut(vec!["a", "b", "c"], |row| (*row).to_owned());
        assert_eq!(page.items, ["a", "b"]);
        let second = PageRequest::parse(page.next.as_deref(), Some(2)).unwrap();
        assert_eq!(second.after(), Some("b"));
        assert!(second.cut(vec!["c"], |row| (*row).to_owned()).next.is_none());
        assert!(PageRequest::parse(Some("!"), None).is_err());
        assert!(PageRequest::parse(None, Some(0)).is_err());
    }
}
