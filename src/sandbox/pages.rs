//! Pages: newest first, led on by a token that only this sandbox can make.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    message::Pagination,
    refusal::Refusal,
    scalar::{Int32, Object},
};

/// What a page holds where nothing is said, as the contract states it.
const DEFAULT_SIZE: usize = 25;

/// The most that a page holds, whatever is asked for: this bounds a reply even without the rules.
const MAX_SIZE: usize = 100;

/// Enough of the hash to keep anybody from guessing one in a test.
const SEAL: usize = 12;

/// Makes and reads tokens.
#[derive(Debug)]
pub(super) struct Pages {
    key: Uuid,
}

/// What a first-generation client says of the page in the URL's query.
#[derive(Debug, Default)]
pub(super) struct Query {
    token: Option<String>,
    page_size: Option<String>,
}

/// A list that a token belongs to: one organization's objects of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shelf {
    pub(super) organization: Uuid,
    pub(super) kind: &'static str,
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Absent at the end.
    pub(super) next: Option<NextPage>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NextPage {
    next_token: String,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "token" => found.token = Some(value.into_owned()),
                "pageSize" => found.page_size = Some(value.into_owned()),
                _ => {}
            }
        }
        found
    }

    /// The page that body and query ask for together: the query goes first.
    pub(super) fn over(&self, body: Option<Object<Pagination>>) -> Result<Object<Pagination>, Refusal> {
        let Object(mut pagination) = body.unwrap_or_default();
        if let Some(token) = self.token.as_ref().filter(|token| !token.is_empty()) {
            pagination.token = Some(token.clone());
        }
        if let Some(size) = &self.page_size {
            let size = size.parse().map_err(|_| Refusal::invalid("pageSize", "not a whole number"))?;
            pagination.page_size = Some(Int32(size));
        }
        Ok(Object(pagination))
    }
}

impl Pages {
    pub(super) fn new() -> Self {
        Self { key: Uuid::new_v4() }
    }

    /// Cuts the page that is asked for from `items`, which have falling numbers.
    pub(super) fn cut<T>(
        &self,
        shelf: Shelf,
        asked: Option<&Object<Pagination>>,
        items: impl Iterator<Item = (u64, T)>,
    ) -> Result<Page<T>, Refusal> {
        let asked = asked.map(|Object(pagination)| pagination);
        let token = asked.and_then(|asked| asked.token.as_deref()).filter(|token| !token.is_empty());
        let after = token.map(|token| self.open(shelf, token)).transpose()?;
        let size = match asked.and_then(|asked| asked.page_size) {
            Some(Int32(size)) if size > 0 => usize::try_from(size).unwrap_or(MAX_SIZE).min(MAX_SIZE),
            _ => DEFAULT_SIZE,
        };
        let mut items = items.skip_while(|(number, _)| after.is_some_and(|after| *number >= after));
        let mut last = 0;
        let page = items
            .by_ref()
            .take(size)
            .map(|(number, item)| {
                last = number;
                item
            })
            .collect();
        let next = items.next().map(|_| NextPage { next_token: self.seal(shelf, last) });
        Ok(Page { items: page, next })
    }

    fn seal(&self, shelf: Shelf, last: u64) -> String {
        let mut token = last.to_be_bytes().to_vec();
        token.extend(self.sign(shelf, &token));
        URL_SAFE_NO_PAD.encode(token)
    }

    fn open(&self, shelf: Shelf, token: &str) -> Result<u64, Refusal> {
        let invalid = || Refusal::invalid("pagination.token", "not a token of this list");
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let (last, seal) = token.split_first_chunk::<8>().ok_or_else(invalid)?;
        if seal != self.sign(shelf, last) {
            return Err(invalid());
        }
        Ok(u64::from_be_bytes(*last))
    }

    fn sign(&self, shelf: Shelf, last: &[u8]) -> Vec<u8> {
        let hash = Sha256::new()
            .chain_update(self.key)
            .chain_update(shelf.organization)
            .chain_update(shelf.kind)
            .chain_update(last)
            .finalize();
        hash.iter().copied().take(SEAL).collect()
    }
}
