//! How the nodes on one PostgreSQL divide budgets: implements the ledger's [`ledger::Leases`].
//!
//! A window's row is locked first and its leases are read after it, in statements of their own: so each sees what the one before
//! has divided. The arithmetic is the ledger's ([`ledger::divide`]).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ledger::{Answer, Ask, Beat, Grant, Leases, divide};
use policy::{Name, Timestamp};

use crate::database::{Dialect, Place, Session};
use crate::statements::text;
use crate::value::{Row, Value, foreign};
use crate::{Store, StoreError, bounded, currency};

/// A node that was not seen for so long is not counted on.
const LIVES: Duration = Duration::from_secs(5);
/// Somebody lacked money lately.
const LATELY: Duration = Duration::from_secs(5);
/// Windows are kept for so long after their end: what a clock that went back may still ask for.
const KEPT: Duration = Duration::from_secs(2 * 24 * 3600);
/// Who holds what was spent before there were leases.
const BEFORE: &str = "";

/// A gateway on this database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Of its data folder, for ever.
    pub id: Name,
    /// For people.
    pub name: Name,
    /// Of the program.
    pub version: Name,
    /// When its process started.
    pub started_at: Timestamp,
    /// When it was last seen, by the database's clock. Set when it shows itself.
    pub seen_at: Timestamp,
    /// What it serves of the environments that the console owns; see [`Store::revision`].
    pub revision: u64,
    /// It was seen within the last seconds.
    pub lives: bool,
}

/// One node's way to the leases.
pub struct Office {
    store: Store,
    node: Node,
}

impl Store {
    /// The leases as this node asks for them. PostgreSQL only: on SQLite there is one node.
    #[must_use]
    pub fn office(&self, node: Node) -> Office {
        Office { store: self.clone(), node }
    }

    /// Every node that was ever seen and not forgotten, by name; on SQLite none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        if self.database.dialect() == Dialect::Sqlite {
            return Ok(Vec::new());
        }
        self.fetch(&text::NODES, vec![micros(LIVES)]).await?.into_iter().map(read_node).collect()
    }

    /// Forgets a node that will not come back: what it held of budgets and was not known to have spent is the others' again.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none of that id that is gone.
    pub async fn forget_node(&self, id: &str) -> Result<(), StoreError> {
        let missing = || StoreError::Missing(format!("gateway `{id}` that does not run"));
        if self.database.dialect() == Dialect::Sqlite {
            return Err(missing());
        }
        bounded(async {
            let mut session = self.database.write(Place::Control).await?;
            if session.execute(&text::FORGET_NODE, vec![id.into(), micros(LIVES)]).await? == 0 {
                session.roll_back().await?;
                return Err(missing());
            }
            session.execute(&text::FREE_LEASES, vec![id.into()]).await?;
            session.commit().await
        })
        .await
    }

    /// Forgets the leases of windows that have long ended.
    pub(crate) async fn drop_old_leases(&self) -> Result<(), StoreError> {
        let before = self.clock.now().minus(KEPT);
        self.execute(&text::DROP_LEASES, vec![before.into()]).await?;
        self.execute(&text::DROP_WINDOWS, vec![before.into()]).await?;
        Ok(())
    }
}

impl Leases for Office {
    fn settle<'a>(
        &'a self,
        asks: &'a [Ask],
        turn: i64,
        nodes: u32,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Answer>, String>> + Send + 'a>> {
        Box::pin(async move {
            let settled = bounded(async {
                let mut session = self.store.database.write(Place::Control).await?;
                let mut answers = Vec::with_capacity(asks.len());
                for ask in asks {
                    answers.push(self.divide(&mut session, ask, turn, nodes).await?);
                }
                session.commit().await?;
                Ok(answers)
            });
            settled.await.map_err(|error| error.to_string())
        })
    }

    fn beat(&self) -> Pin<Box<dyn Future<Output = Result<Beat, String>> + Send + '_>> {
        Box::pin(async move { self.show().await.map_err(|error| error.to_string()) })
    }
}

impl Office {
    async fn divide(
        &self,
        session: &mut Session,
        ask: &Ask,
        turn: i64,
        nodes: u32,
    ) -> Result<Answer, StoreError> {
        let window = || {
            vec![foreign(&ask.scope), Value::from(ask.window_start), Value::from(ask.limit.currency.as_str())]
        };
        let mut values = window();
        values.extend([Value::from(ask.ends_at), micros(LATELY)]);
        let mut locked = session.fetch(&text::LOCK_WINDOW, values).await?;
        let tight = locked.pop().map_or(Ok(0), |mut row| row.int())? != 0;
        let (mut mine, mut before): (Option<i64>, i64) = (None, 0);
        let (mut elsewhere, mut free_elsewhere) = (0i64, 0i64);
        for mut row in session.fetch(&text::WINDOW_LEASES, window()).await? {
            let (node, granted, used, at) = (row.text()?, row.int()?, row.int()?, row.int()?);
            if *node == *self.node.id {
                if at >= turn {
                    return Ok(Answer::Passed { turn: at });
                }
                mine = Some(granted);
            } else {
                elsewhere = elsewhere.saturating_add(granted);
                free_elsewhere = free_elsewhere.saturating_add((granted - used).max(0));
                before = if *node == *BEFORE { granted } else { before };
            }
        }
        let set = |node: &str, granted: i64, used: i64, turn: i64| {
            let mut values = window();
            values.extend([node.into(), granted.into(), used.into(), turn.into()]);
            values
        };
        if mine.is_none() && before > 0 && ask.used > 0 {
            // What this node spent before there were leases is its own again, and not held twice.
            let taken_over = before.min(ask.used);
            elsewhere -= taken_over;
            let left = before - taken_over;
            session.execute(&text::SET_LEASE, set(BEFORE, left, left, 1)).await?;
        }
        let granted = divide(ask, mine.unwrap_or(0), elsewhere, nodes, tight);
        session.execute(&text::SET_LEASE, set(&self.node.id, granted, ask.used, turn)).await?;
        if granted < ask.least {
            session.execute(&text::WANT_WINDOW, window()).await?;
        }
        Ok(Answer::Grant(Grant { granted, elsewhere, free_elsewhere }))
    }

    async fn show(&self) -> Result<Beat, StoreError> {
        let Node { id, name, version, started_at, .. } = &self.node;
        let values = vec![id.into(), name.into(), version.into(), (*started_at).into()];
        if self.store.execute(&text::SHOW_NODE, values).await? == 0 {
            return Err(StoreError::Invalid(format!(
                "another gateway runs with the id of this one ({id}): a data folder was copied with its file `spool/node`"
            )));
        }
        let nodes = self.store.nodes().await?.iter().filter(|node| node.lives).count();
        let wanted = self.store.fetch(&text::WANTED_WINDOWS, vec![id.into(), micros(LATELY)]).await?;
        let read = |mut row: Row| Ok((row.text()?, row.time()?, currency(&row.text()?)?));
        Ok(Beat {
            nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
            wanted: wanted.into_iter().map(read).collect::<Result<_, StoreError>>()?,
        })
    }
}

fn read_node(mut row: Row) -> Result<Node, StoreError> {
    Ok(Node {
        id: row.text()?,
        name: row.text()?,
        version: row.text()?,
        started_at: row.time()?,
        seen_at: row.time()?,
        revision: row.count()?,
        lives: row.int()? != 0,
    })
}

fn micros(duration: Duration) -> Value {
    Value::Int(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
