//! The state that all clones of a store share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lease_core::{Error, LeaseName, Result, Wakeups};

use crate::{
    PostgresStoreOptions,
    batch::Rows,
    error::classify,
    failure::{Access, Failure, answer_to_another_call},
    notification::{Listener, Notifier},
    server::Connections,
    sql::{Fitness, State, Statements, Table, Value, position},
};

/// The table, its statements, and the connections.
pub(crate) struct Shared {
    table: Table,
    /// Whether the table was checked.
    is_fit: AtomicBool,
    statements: Arc<Statements>,
    connections: Connections,
    notifier: Option<Arc<Notifier>>,
    listener: Option<Listener>,
}

impl Shared {
    pub(crate) fn new(options: &PostgresStoreOptions, table: Table, connections: Connections) -> Self {
        let statements = Arc::new(Statements::new(&table));
        let channel = table.channel();
        let pool = connections.pool();
        let notifier = options
            .notifications
            .then(|| Arc::new(Notifier::new(Arc::clone(pool), Arc::clone(&statements), channel.clone())));
        // If a connection was opened already, a pooler has been found.
        let listens = options.notifications && !pool.connector().is_behind_pooler();
        let listener = listens.then(|| Listener::new(Arc::clone(pool.connector()), channel, table.listener_lock()));
        Self { table, is_fit: AtomicBool::new(false), statements, connections, notifier, listener }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn statements(&self) -> &Statements {
        &self.statements
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Checks once whether the table can keep the rules, before anything is granted by it. A missing table passes: the statement
    /// itself then fails, and says what to do.
    pub(crate) async fn check_table(&self, operation: &'static str) -> Result<()> {
        if self.is_fit.load(Ordering::Relaxed) {
            return Ok(());
        }
        let names = self.table.schema_and_name().map(Value::from);
        let rows = self.connections.run(Access::Read, &self.statements.fitness, &names).await;
        let rows = rows.map_err(|failure| self.error(operation, failure))?;
        let Some(row) = rows.first() else { return Ok(()) };
        let fitness = Fitness::read(row).map_err(|error| self.error(operation, Failure::unreadable(error)))?;
        fitness.check(operation, &self.table)?;
        self.is_fit.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the newest state of a name.
    pub(crate) async fn read_state(&self, name: &LeaseName) -> Result<Option<State>, Failure> {
        let rows = self.connections.run(Access::Read, &self.statements.read_state, &[name.as_str().into()]).await?;
        // There is always one row: an answer without it proves nothing (S19, S25).
        let row = rows.first().ok_or_else(|| Failure::unreadable(answer_to_another_call()))?;
        State::read(row).map_err(Failure::unreadable)
    }

    /// Returns whether this store receives notifications.
    pub(crate) fn listens(&self) -> bool {
        self.listener.is_some()
    }

    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        self.listener.as_ref().map_or_else(Wakeups::never, |listener| listener.subscribe(name))
    }

    /// Hints to the waiters of these names, after the operation was answered.
    pub(crate) fn notify<'a>(&self, names: impl IntoIterator<Item = &'a LeaseName>) {
        if let Some(notifier) = &self.notifier {
            notifier.notify(names);
        }
    }

    /// Returns the error for a failed call.
    pub(crate) fn error(&self, operation: &'static str, failure: Failure) -> Error {
        classify(operation, &format!("the table {}", self.table.quoted()), failure)
    }
}

impl Rows for Shared {
    async fn locked(&self, names: &[&str]) -> Result<Vec<usize>, Failure> {
        let values = [names.iter().copied().collect()];
        // The statement locks rows, for which the transaction must be allowed to write, but it changes nothing.
        let rows = self.connections.run(Access::Write, &self.statements.locked, &values).await;
        let rows = rows.map_err(|failure| Failure { access: Access::Read, ..failure })?;
        rows.iter().map(position).collect()
    }

    fn error(&self, operation: &'static str, failure: Failure) -> Error {
        self.error(operation, failure)
    }
}
