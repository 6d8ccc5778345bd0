//! How the nodes on one PostgreSQL divide budgets: implements the ledger's [`ledger::Leases`].
//!
//! The rows of windows are locked first and their leases are read after that, in statements of their own: so each sees what the one
//! before has divided. All windows of a turn go in one of each statement, so that a turn takes the same few round trips however many
//! they are. With the first of them goes who asks: a process that another has replaced gets nothing, and neither does one whose node
//! was forgotten. The arithmetic is the ledger's ([`ledger::divide`]).

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ledger::{Answer, Ask, Beat, Grant, Leases, Seen, Turn, divide};
use policy::{Name, Timestamp};

use crate::database::{Dialect, Place, Session};
use crate::statements::text;
use crate::value::{Row, Value, storable};
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
        turn: Turn,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Answer>, String>> + Send + 'a>> {
        Box::pin(async move {
            let settled = bounded(async {
                let mut session = self.store.database.write(Place::Control).await?;
                let answers = self.divide(&mut session, asks, turn).await?;
                session.commit().await?;
                Ok(answers)
            });
            settled.await.map_err(|error| error.to_string())
        })
    }

    fn beat(&self) -> Pin<Box<dyn Future<Output = Result<Seen, String>> + Send + '_>> {
        Box::pin(async move { self.show().await.map_err(|error| error.to_string()) })
    }
}

/// A window in the tables: scope, start, currency.
type Window = (Name, Timestamp, Name);

/// How a window stands while it is divided.
#[derive(Default)]
struct Standing {
    /// Somebody lately lacked money in it.
    tight: bool,
    /// What this node holds, and the turn in which it last asked.
    mine: Option<i64>,
    turn: i64,
    elsewhere: i64,
    free_elsewhere: i64,
    away: i64,
    /// What was spent before there were leases.
    before: i64,
}

/// What is to be written of windows.
#[derive(Default)]
struct Writes {
    /// Window, node, granted, used, turn.
    leases: Vec<(Window, Name, [i64; 3])>,
    wanted: Vec<Window>,
}

impl Office {
    async fn divide(
        &self,
        session: &mut Session,
        asks: &[Ask],
        turn: Turn,
    ) -> Result<Vec<Answer>, StoreError> {
        let windows: Vec<Window> = asks.iter().map(window).collect();
        let mut standings = self.look(session, asks, &windows, turn.epoch).await?;
        let mut writes = Writes::default();
        let mut answers = Vec::with_capacity(asks.len());
        for (ask, window) in asks.iter().zip(windows) {
            let standing = standings.entry(window.clone()).or_default();
            if standing.mine.is_some() && standing.turn >= turn.number {
                answers.push(Answer::Passed { turn: standing.turn });
                continue;
            }
            if standing.mine.is_none() && standing.before > 0 && ask.used > 0 {
                // What this node spent before there were leases is its own again, and not held twice.
                let taken_over = standing.before.min(ask.used);
                standing.elsewhere -= taken_over;
                let left = standing.before - taken_over;
                writes.leases.push((window.clone(), BEFORE.into(), [left, left, 1]));
            }
            let mine = standing.mine.unwrap_or(0);
            let granted = divide(ask, mine, standing.elsewhere, turn.nodes, standing.tight);
            (standing.mine, standing.turn) = (Some(granted), turn.number);
            writes.leases.push((window.clone(), self.node.id.clone(), [granted, ask.used, turn.number]));
            if granted < ask.least {
                writes.wanted.push(window);
            }
            let Standing { elsewhere, free_elsewhere, away, .. } = *standing;
            answers.push(Answer::Grant(Grant { granted, elsewhere, free_elsewhere, away }));
        }
        writes.write(session).await?;
        Ok(answers)
    }

    /// Locks the windows, and then reads how they stand.
    async fn look(
        &self,
        session: &mut Session,
        asks: &[Ask],
        windows: &[Window],
        epoch: i64,
    ) -> Result<HashMap<Window, Standing>, StoreError> {
        // One statement meets no row twice. Where several have the same window the first of them says its end.
        let mut distinct: HashMap<&Window, Option<Timestamp>> = HashMap::with_capacity(windows.len());
        for (window, ask) in windows.iter().zip(asks) {
            distinct.entry(window).or_insert(ask.ends_at);
        }
        let (windows, ends): (Vec<&Window>, Vec<_>) = distinct.into_iter().unzip();
        let mut values = columns(windows.iter().copied());
        values.push(Value::Ints(ends.into_iter().map(|end| end.map(Timestamp::as_micros)).collect()));
        values.extend([micros(LATELY), (&self.node.id).into(), self.node.started_at.into(), epoch.into()]);
        let locked = session.fetch(&text::LOCK_WINDOWS, values).await?;
        if locked.is_empty() {
            let what = "the gateway of this id is another one now, or was forgotten";
            return Err(StoreError::Invalid(what.into()));
        }
        let mut standings = HashMap::with_capacity(locked.len());
        for mut row in locked {
            let window = (row.text()?, row.time()?, row.text()?);
            standings.insert(window, Standing { tight: row.flag()?, ..Standing::default() });
        }
        let mut values = columns(windows.into_iter());
        values.push(micros(LIVES));
        for mut row in session.fetch(&text::WINDOW_LEASES, values).await? {
            let window = (row.text()?, row.time()?, row.text()?);
            let (node, granted, used, at) = (row.text()?, row.int()?, row.int()?, row.int()?);
            let lives = row.flag()?;
            let Some(standing) = standings.get_mut(&window) else { continue };
            if node == self.node.id {
                (standing.mine, standing.turn) = (Some(granted), at);
                continue;
            }
            standing.elsewhere = standing.elsewhere.saturating_add(granted);
            let free = if lives { &mut standing.free_elsewhere } else { &mut standing.away };
            *free = free.saturating_add((granted - used).max(0));
            if *node == *BEFORE {
                standing.before = granted;
            }
        }
        Ok(standings)
    }

    async fn show(&self) -> Result<Seen, StoreError> {
        let Node { id, name, version, started_at, .. } = &self.node;
        let values = vec![id.into(), name.into(), version.into(), (*started_at).into()];
        let Some(mut shown) = self.store.fetch(&text::SHOW_NODE, values).await?.pop() else {
            return Ok(Seen::Replaced(format!(
                "another gateway runs with the id of this one ({id}): a data folder was copied with its file `spool/node`"
            )));
        };
        let nodes = self.store.nodes().await?.iter().filter(|node| node.lives).count();
        let wanted = self.store.fetch(&text::WANTED_WINDOWS, vec![id.into(), micros(LATELY)]).await?;
        let read = |mut row: Row| Ok((row.text()?, row.time()?, currency(&row.text()?)?));
        Ok(Seen::Among(Beat {
            nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
            epoch: shown.int()?,
            wanted: wanted.into_iter().map(read).collect::<Result<_, StoreError>>()?,
        }))
    }
}

impl Writes {
    async fn write(self, session: &mut Session) -> Result<(), StoreError> {
        if !self.leases.is_empty() {
            let mut values = columns(self.leases.iter().map(|(window, ..)| window));
            values.push(Value::Texts(self.leases.iter().map(|(_, node, _)| node.clone()).collect()));
            for column in 0..3 {
                let numbers = self.leases.iter().map(|(.., numbers)| Some(numbers[column]));
                values.push(Value::Ints(numbers.collect()));
            }
            session.execute(&text::SET_LEASES, values).await?;
        }
        if !self.wanted.is_empty() {
            session.execute(&text::WANT_WINDOWS, columns(self.wanted.iter())).await?;
        }
        Ok(())
    }
}

fn window(ask: &Ask) -> Window {
    (storable(&ask.scope), ask.window_start, ask.limit.currency.as_str().into())
}

/// Windows as the parameters of one statement.
fn columns<'w>(windows: impl Iterator<Item = &'w Window> + Clone) -> Vec<Value> {
    vec![
        Value::Texts(windows.clone().map(|(scope, ..)| scope.clone()).collect()),
        Value::Ints(windows.clone().map(|(_, start, _)| Some(start.as_micros())).collect()),
        Value::Texts(windows.map(|(.., currency)| currency.clone()).collect()),
    ]
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
