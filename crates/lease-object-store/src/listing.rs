//! Pages of keys.

use std::{collections::BTreeSet, fmt, sync::Arc};

use futures::TryStreamExt;
use lease_core::LeaseName;
use object_store::{
    ObjectMeta, ObjectStore,
    list::{PaginatedListOptions, PaginatedListStore},
    path::Path,
};

use crate::{
    call::{Call, Observed},
    keys::Keys,
};

/// The most keys that a service returns in one page.
const LARGEST_PAGE: usize = 1000;

/// How keys are listed.
pub(crate) enum Listing {
    /// By pages, from a prefix that may end within a name.
    Pages(Arc<dyn PaginatedListStore>),
    /// By the stream of a store that has nothing better.
    Stream(Arc<dyn ObjectStore>),
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pages(_) => "Pages",
            Self::Stream(_) => "Stream",
        })
    }
}

/// A page.
#[derive(Debug)]
pub(crate) struct Keyed {
    /// The names of its keys, in order. Keys that have no name are left out.
    pub(crate) names: Vec<LeaseName>,
    /// Whether there may be keys after these.
    pub(crate) has_more: bool,
    /// Where the service goes on.
    pub(crate) token: Option<String>,
}

impl Listing {
    /// Returns a page of names after a name, or after the page that had this token.
    pub(crate) async fn page(
        &self,
        keys: &Keys,
        prefix: &str,
        after: Option<&LeaseName>,
        token: Option<String>,
        limit: usize,
    ) -> Result<Keyed, (object_store::Error, Observed)> {
        let (begins, after) = (keys.keys_with(prefix), after.map(|name| keys.key(name)));
        // Not every service knows of a beginning; and none must return what comes before it.
        let name = |object: &ObjectMeta| {
            let key = object.location.as_ref();
            let is_wanted = key.starts_with(&begins) && after.as_deref().is_none_or(|after| key > after);
            if is_wanted { keys.name(key) } else { None }
        };
        match self {
            Self::Pages(store) => {
                // The driver leaves out the object of Azure whose key is the prefix itself: it may be a folder. So the prefix that
                // it is asked for is a letter shorter. A key is ASCII.
                let asked = if prefix.is_empty() { &begins } else { &begins[..begins.len() - 1] };
                let call = Call::default();
                let options = PaginatedListOptions {
                    offset: after.clone().filter(|_| token.is_none()),
                    max_keys: Some(limit.min(LARGEST_PAGE)),
                    page_token: token,
                    extensions: call.extensions(),
                    ..PaginatedListOptions::default()
                };
                let page = store.list_paginated(Some(asked), options).await;
                let page = page.map_err(|error| (error, call.observed()))?;
                let names = page.result.objects.iter().filter_map(name).collect();
                Ok(Keyed { names, has_more: page.page_token.is_some(), token: page.page_token })
            }
            Self::Stream(store) => {
                let folder = keys.folder();
                let objects = match after.as_deref().and_then(|after| Path::parse(after).ok()) {
                    Some(after) => store.list_with_offset(Some(&folder), &after),
                    None => store.list(Some(&folder)),
                };
                let mut objects = objects.map_err(|error| (error, Observed::default()));
                // The driver promises no order: the first ones are known at the end.
                let (mut names, mut has_more) = (BTreeSet::new(), false);
                while let Some(object) = objects.try_next().await? {
                    names.extend(name(&object));
                    if names.len() > limit {
                        names.pop_last();
                        has_more = true;
                    }
                }
                Ok(Keyed { names: names.into_iter().collect(), has_more, token: None })
            }
        }
    }
}
