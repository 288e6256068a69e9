//! Hints of releases, by `SUBSCRIBE`.

mod names;
mod session;
mod subscriber;

use std::sync::{Arc, Mutex, PoisonError};

use lease_core::{LeaseName, Wakeups};
use tokio::{
    runtime::{self, Handle},
    task::JoinHandle,
};

use self::subscriber::Subscriber;
use crate::{RedisStoreOptions, connections::Connections, keys::Keys};

/// Passes hints to the callers that wait.
///
/// The first waiter of a runtime starts a task with a connection of its own, which serves all waiters of that runtime and ends
/// with the store. A missed hint costs waiters time, never safety (S20): they poll as well.
pub(crate) struct Listener {
    connections: Arc<Connections>,
    keys: Keys,
    options: RedisStoreOptions,
    tasks: Mutex<Vec<Task>>,
}

/// The subscriptions of one runtime, or of none yet.
struct Task {
    runtime: Option<runtime::Id>,
    subscriber: Subscriber,
    handle: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn new(connections: Arc<Connections>, keys: Keys, options: &RedisStoreOptions) -> Self {
        Self { connections, keys, options: options.clone(), tasks: Mutex::default() }
    }

    /// Adds a waiter. Outside a runtime the subscription begins with the next waiter inside one.
    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let runtime = Handle::try_current().ok();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = self.task(&mut tasks, runtime.as_ref().map(Handle::id));
        let wakeups = task.subscriber.subscribe(name);
        if let Some(runtime) = runtime.filter(|_| task.has_ended()) {
            task.subscriber.reset();
            task.runtime = Some(runtime.id());
            task.handle = Some(runtime.spawn(task.subscriber.clone().run()));
        }
        wakeups
    }

    /// Returns the task of this runtime, or else one whose runtime has ended, or else a new one.
    fn task<'a>(&self, tasks: &'a mut Vec<Task>, here: Option<runtime::Id>) -> &'a mut Task {
        tasks.retain_mut(|task| !task.has_ended() || task.subscriber.has_waiters());
        let is_here = |task: &Task| here.is_none_or(|here| task.runtime == Some(here)) && !task.has_ended();
        let at = tasks.iter().position(is_here).or_else(|| tasks.iter().position(Task::has_ended));
        let at = at.unwrap_or_else(|| {
            let (connections, keys, options) = (Arc::clone(&self.connections), self.keys.clone(), self.options.clone());
            tasks.push(Task { runtime: None, subscriber: Subscriber::new(connections, keys, options), handle: None });
            tasks.len() - 1
        });
        &mut tasks[at]
    }
}

impl Task {
    fn has_ended(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}
