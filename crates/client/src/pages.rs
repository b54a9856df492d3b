//! Answers page by page.

use crate::{Client, Error, Filter};
use gpu_session_api::{AllocationHistory, Allocations, Devices, SessionHistory, Sessions, Users};
use std::collections::BTreeSet;

/// A document that comes in pages.
pub trait Paged {
    /// What to ask for the next page with, where there is one.
    fn next_cursor(&self) -> Option<&str>;
}

macro_rules! paged {
    ($($document:ty),*) => {
        $(impl Paged for $document {
            fn next_cursor(&self) -> Option<&str> {
                self.next_cursor.as_deref()
            }
        })*
    };
}

paged!(Sessions, Devices, Users, Allocations, SessionHistory, AllocationHistory);

/// The pages of an answer; ends after the last one and after an error.
pub struct Pages<'a, D> {
    client: &'a Client,
    filter: Option<Filter>,
    ask: fn(&Client, &Filter) -> Result<D, Error>,
    /// What was asked with.
    seen: BTreeSet<String>,
}

impl<'a, D: Paged> Pages<'a, D> {
    pub(crate) fn new(
        client: &'a Client,
        filter: Filter,
        ask: fn(&Client, &Filter) -> Result<D, Error>,
    ) -> Self {
        Self { client, filter: Some(filter), ask, seen: BTreeSet::new() }
    }
}

impl<D: Paged> Iterator for Pages<'_, D> {
    type Item = Result<D, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let filter = self.filter.take()?;
        let page = match (self.ask)(self.client, &filter) {
            Ok(page) => page,
            Err(error) => return Some(Err(error)),
        };
        if let Some(cursor) = page.next_cursor() {
            if !self.seen.insert(cursor.to_owned()) {
                return Some(Err(self.client.repeated()));
            }
            self.filter = Some(filter.cursor(cursor));
        }
        Some(Ok(page))
    }
}
