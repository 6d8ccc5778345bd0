//! The registry: every statement that the product runs, by name, in one list. [`Store::verify`] has the database
//! read them all: a test does so on both databases, and `doctor` on the user's own.
//!
//! One text serves both. It is written in the common ground of SQLite 3.35+ and PostgreSQL 15+: `$1`, `ON CONFLICT`,
//! `RETURNING`, `CAST`, ordinals in `GROUP BY`. What only one of them knows (partitions, advisory locks, pragmas)
//! says so in [`Dialects`].
//!
//! Rows are inserted many at a time by a [`Bulk`] statement, whose text repeats its row for each size of
//! [`Bulk::SIZES`]; so a batch of any length is a handful of statements that stay prepared.

use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::database::day::Day;
use crate::database::{Dialect, Place};
use crate::{Store, StoreError};

/// The columns of a release, in the order in which they are read.
macro_rules! release_columns {
    () => {
        "environment, number, at, source, checksum, message, document, author, bound"
    };
}
pub(crate) use release_columns;

pub(crate) mod copies;
pub(crate) mod hosting;
pub(crate) mod identity;
pub(crate) mod text;

/// Which databases know a statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialects {
    Both,
    Sqlite,
    Postgres,
}

/// Where its tables are when the database is SQLite: PostgreSQL keeps everything in one database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Home {
    Control,
    Log,
    Responses,
}

/// One statement.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) home: Home,
    pub(crate) dialects: Dialects,
}

impl Statement {
    pub(crate) const fn control(name: &'static str, text: &'static str) -> Self {
        Self { name, text, home: Home::Control, dialects: Dialects::Both }
    }

    pub(crate) const fn log(name: &'static str, text: &'static str) -> Self {
        Self { name, text, home: Home::Log, dialects: Dialects::Both }
    }

    pub(crate) const fn responses(name: &'static str, text: &'static str) -> Self {
        Self { name, text, home: Home::Responses, dialects: Dialects::Both }
    }

    pub(crate) const fn postgres(name: &'static str, text: &'static str) -> Self {
        Self { name, text, home: Home::Control, dialects: Dialects::Postgres }
    }

    pub(crate) const fn sqlite(name: &'static str, text: &'static str) -> Self {
        Self { name, text, home: Home::Control, dialects: Dialects::Sqlite }
    }

    pub(crate) fn sql(&self) -> SqlStr {
        SqlStr::from_static(self.text)
    }
}

/// An insert of many rows, of which all have some values in common:
/// `INSERT INTO table (shared, columns) SELECT shared values, column1, … FROM (VALUES (…), (…)) AS rows WHERE true tail`.
///
/// Binding a text costs several times what storing it does, and most columns of a batch hold the same text in every
/// row (organization, workspace, environment, …). So those are bound once for all rows.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) name: &'static str,
    pub(crate) home: Home,
    table: &'static str,
    /// Comma-separated: the columns that have one value for all rows.
    shared: &'static str,
    /// Comma-separated: the columns that each row has a value for.
    columns: &'static str,
    /// `ON CONFLICT …`
    tail: &'static str,
    texts: [[OnceLock<SqlStr>; Bulk::SIZES.len()]; 2],
}

impl Bulk {
    /// How many rows a text may hold; the largest first, and 1 last so that every batch can be cut into these.
    pub(crate) const SIZES: [usize; 4] = [64, 16, 4, 1];

    pub(crate) const fn new(
        name: &'static str,
        home: Home,
        table: &'static str,
        shared: &'static str,
        columns: &'static str,
        tail: &'static str,
    ) -> Self {
        let texts = [const { [const { OnceLock::new() }; Self::SIZES.len()] }; 2];
        Self { name, home, table, shared, columns, tail, texts }
    }

    /// How many values a row has of its own.
    pub(crate) fn width(&self) -> usize {
        self.columns.split(',').count()
    }

    /// The text for `SIZES[size]` rows.
    pub(crate) fn sql(&self, dialect: Dialect, size: usize) -> SqlStr {
        let texts = &self.texts[usize::from(dialect == Dialect::Postgres)];
        texts[size].get_or_init(|| self.write(dialect, Self::SIZES[size])).clone()
    }

    /// Reads the table and columns that the insert names. The insert itself cannot be prepared without its values: only
    /// they tell PostgreSQL the types of the columns of `VALUES`.
    fn probe(&self) -> SqlStr {
        let sql = format!("SELECT {}, {} FROM {}", self.shared, self.columns, self.table);
        AssertSqlSafe(sql).into_sql_str()
    }

    /// Both databases name the columns of `VALUES` alike: `column1`, `column2`, … `WHERE true`: without it SQLite takes
    /// `ON` for the condition of a join.
    fn write(&self, dialect: Dialect, rows: usize) -> SqlStr {
        let width = self.width();
        let mut values = Placeholders { dialect, count: 0 };
        let shared = values.list(self.shared.split(',').count());
        let columns: Vec<String> = (1..=width).map(|column| format!("column{column}")).collect();
        let rows: Vec<String> = (0..rows).map(|_| format!("({})", values.list(width))).collect();
        let sql = format!(
            "INSERT INTO {} ({}, {}) SELECT {shared},{} FROM (VALUES {}) AS rows WHERE true {}",
            self.table,
            self.shared,
            self.columns,
            columns.join(","),
            rows.join(","),
            self.tail
        );
        // Shared and not owned: a clone of the text is a count, not a copy.
        AssertSqlSafe(std::sync::Arc::<str>::from(sql)).into_sql_str()
    }
}

/// PostgreSQL wants `$n`. SQLite takes `$n` as a *name* and walks the list of all names for each value it binds: with
/// a thousand values that walk costs more than the insert. Plain `?` has no name.
struct Placeholders {
    dialect: Dialect,
    count: usize,
}

impl Placeholders {
    fn list(&mut self, count: usize) -> String {
        let one = |n: usize| match self.dialect {
            Dialect::Sqlite => "?".to_owned(),
            Dialect::Postgres => format!("${n}"),
        };
        let list: Vec<String> = (self.count + 1..=self.count + count).map(one).collect();
        self.count += count;
        list.join(",")
    }
}

impl Home {
    fn place(self, day: Day) -> Place {
        match self {
            Self::Control => Place::Control,
            Self::Log => Place::Log(day),
            Self::Responses => Place::Responses,
        }
    }
}

impl Store {
    /// Has the database read every statement of this version, which shows whether its schema fits; how many it read.
    /// On SQLite those of the request log are left out while there is no log of today.
    ///
    /// # Errors
    /// [`StoreError::Refused`] names the first statement that does not fit.
    pub async fn verify(&self) -> Result<usize, StoreError> {
        let dialect = self.database.dialect();
        let known = |dialects: Dialects| match dialects {
            Dialects::Both => true,
            Dialects::Sqlite => dialect == Dialect::Sqlite,
            Dialects::Postgres => dialect == Dialect::Postgres,
        };
        let all = text::STATEMENTS.iter().chain(&identity::STATEMENTS).chain(&hosting::STATEMENTS);
        let all = all.chain(&copies::STATEMENTS);
        let single = all.filter(|statement| known(statement.dialects));
        let single = single.map(|statement| (statement.name, statement.home, statement.sql()));
        let bulk = text::BULKS.iter().map(|bulk| (bulk.name, bulk.home, bulk.probe()));
        let mut prepared = 0;
        for (name, home, sql) in single.chain(bulk) {
            let mut session = match self.database.read(home.place(Day::of(self.clock.now()))).await {
                Err(StoreError::Missing(_)) => continue,
                other => other?,
            };
            session.prepare(name, sql).await?;
            prepared += 1;
        }
        Ok(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_statement_numbers_its_values_across_rows() {
        static BULK: Bulk = Bulk::new("t", Home::Control, "t", "a, b", "c, d", "ON CONFLICT DO NOTHING");
        assert_eq!(
            BULK.sql(Dialect::Postgres, 2).as_str(),
            "INSERT INTO t (a, b, c, d) SELECT $1,$2,column1,column2 FROM (VALUES ($3,$4),($5,$6),($7,$8),($9,$10)) \
             AS rows WHERE true ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            BULK.sql(Dialect::Sqlite, 3).as_str(),
            "INSERT INTO t (a, b, c, d) SELECT ?,?,column1,column2 FROM (VALUES (?,?)) AS rows WHERE true \
             ON CONFLICT DO NOTHING"
        );
        assert_eq!(BULK.width(), 2);
    }
}
