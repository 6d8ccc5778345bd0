//! The move from SQLite to PostgreSQL: every row of every table, in batches, so that whoever is killed goes on.
//!
//! Tables and their columns are asked of SQLite itself, so what a later schema adds is moved too. Rows are read in the order of the primary
//! key; a batch and the mark of how far it came are one transaction of the target, and a row that is there already is left as it is. A
//! table without a primary key is a counter of one row, and is replaced whole. Numbers of entries are kept, so what was folded
//! stays folded. At the end both databases count their rows and sum up their columns, each by its own means; the source is only read.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::database::day::Day;
use crate::database::{Database, Place, Session, postgres::Server, sqlite::Files};
use crate::statements::{Statement, copies as text};
use crate::value::{Row, Value};
use crate::{Store, StoreError};

/// Columns are summed up modulo this prime, so that no sum can overflow.
const PRIME: i64 = 1_000_003;

/// What was moved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Moved {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// What all entries cost, by currency, in nano units.
    pub cost: Vec<(String, i64)>,
    /// What all budget windows have paid, by currency, in nano units.
    pub paid: Vec<(String, i64)>,
    /// An earlier call had moved everything: this one did nothing.
    pub before: bool,
}

struct Column {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Int,
    Text,
    Bytes,
}

/// A table of one file of the source.
struct Item {
    place: Place,
    table: String,
    columns: Vec<Column>,
    /// Which of the columns are the primary key, in its order.
    key: Vec<usize>,
}

impl Item {
    /// What the mark calls it: a table, or a day of one.
    fn name(&self) -> String {
        match self.place {
            Place::Log(day) => format!("{} {day}", self.table),
            _ => self.table.clone(),
        }
    }

    fn list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        names.join(", ")
    }

    /// How many rows at a time: few where a row may be long.
    fn batch(&self) -> usize {
        match (self.place, &*self.table) {
            (Place::Control, "entries" | "usage_sums" | "balance_sums" | "keys") => 500,
            (Place::Log(_), _) => 200,
            _ => 16,
        }
    }

    fn select(&self, after: bool) -> SqlStr {
        let key: Vec<String> = self.key.iter().map(|at| format!("\"{}\"", self.columns[*at].name)).collect();
        let places: Vec<&str> = key.iter().map(|_| "?").collect();
        let (key, places) = (key.join(", "), places.join(", "));
        let begin = if after { format!("WHERE ({key}) > ({places})") } else { String::new() };
        let order = if key.is_empty() { String::new() } else { format!("ORDER BY {key}") };
        sql(format!("SELECT {} FROM \"{}\" {begin} {order} LIMIT {}", self.list(), self.table, self.batch()))
    }

    fn insert(&self, rows: usize) -> SqlStr {
        let width = self.columns.len();
        let row = |row: usize| {
            let values: Vec<String> =
                (1..=width).map(|column| format!("${}", row * width + column)).collect();
            format!("({})", values.join(","))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        sql(format!(
            "INSERT INTO \"{}\" ({}) OVERRIDING SYSTEM VALUE VALUES {} ON CONFLICT DO NOTHING",
            self.table,
            self.list(),
            rows.join(",")
        ))
    }

    /// Rows, and each column's sum: of numbers modulo a prime, of the lengths of all else, and of what is absent.
    fn weigh(&self) -> SqlStr {
        let sum = |column: &Column| {
            let name = &column.name;
            let one = match column.kind {
                Kind::Int => format!("CAST(\"{name}\" AS BIGINT) % {PRIME}"),
                Kind::Text | Kind::Bytes => format!("LENGTH(\"{name}\")"),
            };
            format!("CAST(COALESCE(SUM(COALESCE({one}, 7)), 0) AS BIGINT)")
        };
        let sums: Vec<String> = self.columns.iter().map(sum).collect();
        sql(format!("SELECT COUNT(*), {} FROM \"{}\"", sums.join(", "), self.table))
    }
}

fn sql(text: String) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

impl Store {
    /// Moves everything from this store, on SQLite, to `target`, on PostgreSQL, and compares. Nobody else may write either. A call that
    /// was cut off is gone on with by the next one. `source` names whose data it is; `tell` hears of every batch: table, and rows of it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the target has data that is not of a move from `source`; [`StoreError::Corrupt`] when the two are not
    /// equal at the end.
    pub async fn move_to(
        &self,
        target: &Store,
        source: &str,
        tell: &mut (dyn FnMut(&str, u64) + Send),
    ) -> Result<Moved, StoreError> {
        let (Database::Sqlite(files), Database::Postgres(server)) = (&*self.database, &*target.database)
        else {
            return Err(StoreError::Invalid("data is moved from SQLite to PostgreSQL".into()));
        };
        let items = self.items(files, server).await?;
        let done = begin(server, source, &items).await?;
        if done {
            return Ok(Moved { before: true, ..Moved::default() });
        }
        for item in &items {
            if item.key.is_empty() {
                self.replace(server, item).await?;
            } else {
                self.copy(server, item, tell).await?;
            }
        }
        let moved = self.compare(target, &items).await?;
        let mut session = target.database.write(Place::Control).await?;
        patient(&mut session).await?;
        for statement in [&text::SET_NUMBER, &text::HOLD_WINDOWS, &text::HOLD_SPENT, &text::END_MOVE] {
            session.execute(statement, Vec::new()).await?;
        }
        session.commit().await?;
        Ok(moved)
    }

    /// Every table there is something to move of, and the days of the log.
    async fn items(&self, files: &Files, server: &Server) -> Result<Vec<Item>, StoreError> {
        let mut places = vec![Place::Control, Place::Responses];
        places.extend(files.days()?.into_iter().map(Place::Log));
        let mut items = Vec::new();
        for place in places {
            let mut session = self.database.read(place).await?;
            let rows = session.fetch(&text::TABLES, Vec::new()).await?;
            for mut row in rows {
                let table = row.text()?;
                // Who runs, and what was applied, is the target's own.
                if !["migrations", "nodes", "leases", "lease_windows"].contains(&&*table) {
                    items.push(item(&mut session, server, place, &table).await?);
                }
            }
        }
        Ok(items)
    }

    /// A table without a key, whole.
    async fn replace(&self, server: &Server, item: &Item) -> Result<(), StoreError> {
        let rows =
            self.database.read(item.place).await?.fetch_sql("read", item.select(false), Vec::new()).await?;
        if rows.len() == item.batch() {
            return Err(StoreError::Invalid(format!("`{}` has no key, and too many rows", item.table)));
        }
        let mut session = server.begin().await?;
        session.script("empty", sql(format!("DELETE FROM \"{}\"", item.table))).await?;
        put(&mut session, item, rows).await?;
        session.commit().await
    }

    async fn copy(
        &self,
        server: &Server,
        item: &Item,
        tell: &mut (dyn FnMut(&str, u64) + Send),
    ) -> Result<(), StoreError> {
        let name = item.name();
        let mut last = mark(server, &name).await?;
        let mut copied = 0;
        loop {
            let mut from = self.database.read(item.place).await?;
            let (select, after) = (item.select(last.is_some()), last.clone().unwrap_or_default());
            let rows = from.fetch_sql("read", select, after).await?;
            drop(from);
            if rows.is_empty() {
                return Ok(());
            }
            let rows: Vec<Row> = rows;
            let count = rows.len();
            copied += count as u64;
            if matches!(item.place, Place::Log(_)) {
                server.make_partitions(&days(item, &rows)).await?;
            }
            let mut session = server.begin().await?;
            let key = put(&mut session, item, rows).await?;
            let values = vec![name.as_str().into(), written(&key).into()];
            session.execute(&text::MARK_MOVE, values).await?;
            runtime::failpoint!("store.move.before_commit");
            session.commit().await?;
            tell(&name, copied);
            if count < item.batch() {
                return Ok(());
            }
            last = Some(key);
        }
    }

    /// Counts and sums on both sides.
    async fn compare(&self, target: &Store, items: &[Item]) -> Result<Moved, StoreError> {
        let mut here: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for item in items {
            let mut session = self.database.read(item.place).await?;
            let figures = weigh(&mut session, item).await?;
            let sum = here.entry(&item.table).or_insert_with(|| vec![0; figures.len()]);
            sum.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
        }
        let mut moved = Moved::default();
        let mut there = target.database.write(Place::Control).await?;
        patient(&mut there).await?;
        for (table, figures) in here {
            let Some(item) = items.iter().find(|item| item.table == table) else { continue };
            let theirs = weigh(&mut there, item).await?;
            if theirs != figures {
                return Err(StoreError::Corrupt(format!(
                    "`{table}` is not what it was: {figures:?} became {theirs:?}"
                )));
            }
            moved.rows.insert(table.to_owned(), u64::try_from(figures[0]).unwrap_or(0));
        }
        let mut own = self.database.read(Place::Control).await?;
        for (statement, into) in [(&text::COSTS, &mut moved.cost), (&text::PAID, &mut moved.paid)] {
            let (ours, theirs) = (sums(&mut own, statement).await?, sums(&mut there, statement).await?);
            if ours != theirs {
                return Err(StoreError::Corrupt(format!(
                    "{} is not what it was: {ours:?} became {theirs:?}",
                    statement.name
                )));
            }
            *into = ours;
        }
        there.roll_back().await?;
        Ok(moved)
    }
}

/// Looks whether the target may be written: empty, or begun by a move from the same source. Whether that move was finished.
async fn begin(server: &Server, source: &str, items: &[Item]) -> Result<bool, StoreError> {
    let mut session = server.begin().await?;
    session.execute(&text::MAKE_MOVES, Vec::new()).await?;
    if let Some(mut row) = session.fetch(&text::MOVE, Vec::new()).await?.pop() {
        let (from, done) = (row.text()?, row.text()?);
        if *from != *source {
            return Err(StoreError::Exists(format!("data of a move from another data folder (`{from}`)")));
        }
        session.commit().await?;
        return Ok(&*done == "done");
    }
    for item in items.iter().filter(|item| !item.key.is_empty()) {
        let any = sql(format!("SELECT 1 FROM \"{}\" LIMIT 1", item.table));
        if !session.fetch_sql("look", any, Vec::new()).await?.is_empty() {
            return Err(StoreError::Exists(format!(
                "data in `{}` of that database: it must be empty; it",
                item.table
            )));
        }
    }
    session.execute(&text::BEGIN_MOVE, vec![source.into()]).await?;
    session.commit().await?;
    Ok(false)
}

async fn item(session: &mut Session, server: &Server, place: Place, table: &str) -> Result<Item, StoreError> {
    let mut there = server.begin().await?;
    let mut kinds = BTreeMap::new();
    for mut row in there.fetch(&text::COLUMNS_THERE, vec![table.into()]).await? {
        let (name, kind) = (row.text()?, row.text()?);
        let kind = match &*kind {
            "bigint" | "integer" | "smallint" => Kind::Int,
            "bytea" => Kind::Bytes,
            _ => Kind::Text,
        };
        kinds.insert(name, kind);
    }
    there.roll_back().await?;
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    for mut row in session.fetch(&text::COLUMNS_HERE, vec![table.into()]).await? {
        let (name, place) = (row.text()?, row.int()?);
        let missing = || StoreError::Invalid(format!("the target has no column `{table}.{name}`"));
        let kind = *kinds.get(&name).ok_or_else(missing)?;
        if place > 0 {
            key.push((place, columns.len()));
        }
        columns.push(Column { name: name.to_string(), kind });
    }
    key.sort_unstable();
    Ok(Item { place, table: table.to_owned(), columns, key: key.into_iter().map(|(_, at)| at).collect() })
}

/// Writes rows; the key of the last.
async fn put(session: &mut Session, item: &Item, rows: Vec<Row>) -> Result<Vec<Value>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (count, width) = (rows.len(), item.columns.len());
    let values: Vec<Value> = rows.into_iter().flat_map(Row::into_values).collect();
    let last = &values[(count - 1) * width..];
    let key = item.key.iter().map(|at| last[*at].clone()).collect();
    let typed =
        values.into_iter().zip(item.columns.iter().cycle()).map(|(value, column)| typed(value, column.kind));
    session.execute_sql("move rows", item.insert(count), typed.collect::<Vec<_>>()).await?;
    Ok(key)
}

/// SQLite does not tell the type of what is absent, and PostgreSQL has to know it; nor may its texts hold NUL.
fn typed(value: Value, kind: Kind) -> Value {
    match (value, kind) {
        (Value::NoInt | Value::NoText | Value::NoBytes, Kind::Int) => Value::NoInt,
        (Value::NoInt | Value::NoText | Value::NoBytes, Kind::Bytes) => Value::NoBytes,
        (Value::NoInt | Value::NoText | Value::NoBytes, Kind::Text) => Value::NoText,
        (Value::Text(text), _) if text.as_bytes().contains(&0) => Value::from(text.replace('\0', "\u{FFFD}")),
        (value, _) => value,
    }
}

/// The days that lines of the log are kept by.
fn days(item: &Item, rows: &[Row]) -> HashSet<Day> {
    let at = item.columns.iter().position(|column| column.name == "at");
    let time = |row: &Row| match row.get(at?) {
        Some(Value::Int(micros)) => Some(Day::of(policy::Timestamp::from_micros(*micros))),
        _ => None,
    };
    rows.iter().filter_map(time).collect()
}

async fn weigh(session: &mut Session, item: &Item) -> Result<Vec<i64>, StoreError> {
    let mut rows = session.fetch_sql("sum up", item.weigh(), Vec::new()).await?;
    let mut row = rows.pop().ok_or_else(|| StoreError::Corrupt("a sum has no row".into()))?;
    (0..=item.columns.len()).map(|_| row.int()).collect()
}

async fn sums(session: &mut Session, statement: &Statement) -> Result<Vec<(String, i64)>, StoreError> {
    let rows = session.fetch(statement, Vec::new()).await?;
    rows.into_iter().map(|mut row| Ok((row.text()?.to_string(), row.int()?))).collect()
}

/// Sums over everything take longer than a statement of a serving gateway may.
async fn patient(session: &mut Session) -> Result<(), StoreError> {
    session.script("wait", SqlStr::from_static("SET LOCAL statement_timeout = 0")).await
}

/// The key that was copied last.
async fn mark(server: &Server, name: &str) -> Result<Option<Vec<Value>>, StoreError> {
    let mut session = server.begin().await?;
    let row = session.fetch(&text::MOVE_MARK, vec![name.into()]).await?.pop();
    session.roll_back().await?;
    row.map(|mut row| read(&row.text()?)).transpose()
}

/// A key as text: `[["int","5"],["bytes","00ff"]]`.
fn written(key: &[Value]) -> String {
    let one = |value: &Value| match value {
        Value::Int(number) => ["int".to_owned(), number.to_string()],
        Value::Text(text) => ["text".to_owned(), text.to_string()],
        Value::Bytes(bytes) => ["bytes".to_owned(), bytes.iter().map(|byte| format!("{byte:02x}")).collect()],
        // No column is a list: they are parameters only.
        Value::NoInt | Value::NoText | Value::NoBytes | Value::Ints(_) | Value::Texts(_) => {
            ["none".to_owned(), String::new()]
        }
    };
    serde_json::Value::from(key.iter().map(|value| serde_json::json!(one(value))).collect::<Vec<_>>())
        .to_string()
}

fn read(text: &str) -> Result<Vec<Value>, StoreError> {
    let corrupt = || StoreError::Corrupt("the mark of the move cannot be understood".into());
    let key: Vec<[String; 2]> = serde_json::from_str(text).map_err(|_| corrupt())?;
    let one = |[kind, value]: [String; 2]| match &*kind {
        "int" => value.parse().ok().map(Value::Int),
        "text" => Some(Value::Text(Arc::from(value))),
        "bytes" => (0..value.len() / 2)
            .map(|at| u8::from_str_radix(value.get(at * 2..at * 2 + 2)?, 16).ok())
            .collect::<Option<Vec<u8>>>()
            .map(Value::Bytes),
        _ => Some(Value::NoText),
    };
    key.into_iter().map(|pair| one(pair).ok_or_else(corrupt)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back() {
        let key = vec![Value::Int(-5), Value::from("a \"b\" ["), Value::Bytes(vec![0, 255]), Value::from("")];
        assert_eq!(read(&written(&key)).unwrap(), key);
        assert!(read("{").is_err());
    }
}
