//! Many who want a name at the same moment.

use std::{collections::HashMap, sync::Arc, time::Duration};

use lease_core::{Acquired, FencingToken, LeaseName, LeaseStore};

use crate::calls::{acquired, claim, holder, release, request};

/// Longer than any race.
const TTL: Duration = Duration::from_secs(300);

/// Lets so many racers try to acquire a name at once, each by the next one of the stores, and releases it; then the next name. Returns
/// the winners' tokens in order.
///
/// # Panics
///
/// Panics unless each race has exactly one winner, all others are refused, and the tokens of each name rise.
pub async fn race(
    stores: &[Arc<dyn LeaseStore>],
    racers: usize,
    names: impl IntoIterator<Item = LeaseName>,
) -> Vec<FencingToken> {
    let (mut tokens, mut last) = (Vec::new(), HashMap::new());
    for name in names {
        let tasks: Vec<_> = (0..racers)
            .map(|racer| {
                let store = Arc::clone(&stores[racer % stores.len()]);
                let request = request(name.clone(), holder(&format!("racer-{racer}")), TTL);
                tokio::spawn(async move {
                    match acquired(&*store, &request).await {
                        Acquired::Granted(grant) => Some((store, request, grant)),
                        Acquired::Held { .. } => None,
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            winners.extend(task.await.expect("no panic"));
        }
        let [(store, request, grant)] = &winners[..] else {
            panic!(
                "{name} after {} races: {:?}",
                tokens.len(),
                winners.iter().map(|(.., grant)| grant).collect::<Vec<_>>()
            )
        };
        let before = last.insert(name, grant.token);
        assert!(before.is_none_or(|before| before < grant.token), "{before:?}, then {:?}", grant.token);
        tokens.push(grant.token);
        release(&**store, &claim(request, *grant)).await;
    }
    tokens
}
