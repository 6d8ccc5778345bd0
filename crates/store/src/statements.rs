//! The registry: every statement that the product runs, by name, in one list. [`Store::verify`] has the database
//! prepare them all: a test does so on both databases, and `doctor` on the user's own.
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

/// An insert of many rows: `INSERT INTO table (columns) VALUES (…), (…) tail`.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) name: &'static str,
    pub(crate) home: Home,
    table: &'static str,
    /// Comma-separated, in the order in which the values come.
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
        columns: &'static str,
        tail: &'static str,
    ) -> Self {
        let texts = [const { [const { OnceLock::new() }; Self::SIZES.len()] }; 2];
        Self { name, home, table, columns, tail, texts }
    }

    /// How many values a row has.
    pub(crate) fn width(&self) -> usize {
        self.columns.split(',').count()
    }

    /// The text for `SIZES[size]` rows.
    pub(crate) fn sql(&self, dialect: Dialect, size: usize) -> SqlStr {
        let texts = &self.texts[usize::from(dialect == Dialect::Postgres)];
        texts[size].get_or_init(|| self.write(dialect, Self::SIZES[size])).clone()
    }

    /// PostgreSQL wants `$n`. SQLite takes `$n` as a *name* and walks the list of all names for each value it
    /// binds: with a thousand values that walk costs more than the insert. Plain `?` has no name.
    fn write(&self, dialect: Dialect, rows: usize) -> SqlStr {
        let width = self.width();
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.table, self.columns);
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..width {
                if column > 0 {
                    sql.push(',');
                }
                match dialect {
                    Dialect::Sqlite => sql.push('?'),
                    Dialect::Postgres => sql.push_str(&format!("${}", row * width + column + 1)),
                }
            }
            sql.push(')');
        }
        sql.push(' ');
        sql.push_str(self.tail);
        // Shared and not owned: a clone of the text is a count, not a copy.
        AssertSqlSafe(std::sync::Arc::<str>::from(sql)).into_sql_str()
    }
}

impl Home {
    fn place(self, day: Day) -> Place {
        match self {
            Self::Control => Place::Control,
            Self::Log => Place::Log(day),
        }
    }
}

impl Store {
    /// Has the database prepare every statement of this version, which shows whether its schema fits; how many it
    /// prepared. On SQLite those of the request log are left out while there is no log of today.
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
        let single = text::STATEMENTS.iter().filter(|statement| known(statement.dialects));
        let single = single.map(|statement| (statement.name, statement.home, statement.sql()));
        let bulk = text::BULKS.iter().flat_map(|bulk| {
            (0..Bulk::SIZES.len()).map(move |size| (bulk.name, bulk.home, bulk.sql(dialect, size)))
        });
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
        static BULK: Bulk = Bulk::new("t", Home::Control, "t", "a, b", "ON CONFLICT DO NOTHING");
        assert_eq!(
            BULK.sql(Dialect::Postgres, 2).as_str(),
            "INSERT INTO t (a, b) VALUES ($1,$2), ($3,$4), ($5,$6), ($7,$8) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            BULK.sql(Dialect::Sqlite, 3).as_str(),
            "INSERT INTO t (a, b) VALUES (?,?) ON CONFLICT DO NOTHING"
        );
        assert_eq!(BULK.width(), 2);
    }
}
