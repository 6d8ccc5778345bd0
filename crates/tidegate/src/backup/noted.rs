//! What a backup says of itself: when and by which version it was written, how many rows each table has, and what was spent.

use policy::Money;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{Contents, StoreError};

/// The last file in a backup.
pub(super) const FILE: &str = "contents.json";
pub(super) const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Noted {
    pub(super) format: u32,
    /// Of the program that wrote it.
    pub(crate) version: String,
    /// When it was begun: everything that was acknowledged before is in it.
    pub(crate) at: String,
    /// `sqlite`, or `postgres`: then the database itself is not in it.
    pub(crate) store: String,
    /// Bytes by file.
    pub(crate) files: BTreeMap<String, u64>,
    #[serde(flatten)]
    pub(crate) sums: Sums,
}

/// What its databases hold together.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Sums {
    /// Rows by table.
    pub(crate) rows: BTreeMap<String, u64>,
    /// What all entries cost, by currency.
    pub(crate) cost: BTreeMap<String, String>,
    /// What all budget windows have paid, by currency.
    pub(crate) paid: BTreeMap<String, String>,
}

impl Sums {
    /// Adds what one file holds.
    pub(super) fn add(&mut self, contents: Contents) -> Result<(), StoreError> {
        for (table, rows) in contents.rows {
            // Each file has its own list of what was applied to it.
            if table != "migrations" {
                *self.rows.entry(table).or_default() += rows;
            }
        }
        for (into, from) in [(&mut self.cost, contents.cost), (&mut self.paid, contents.paid)] {
            for (code, nano) in from {
                let currency =
                    code.parse().map_err(|_| StoreError::Corrupt(format!("`{code}` is not a currency")))?;
                into.insert(code, Money { currency, nano }.decimal().to_string());
            }
        }
        Ok(())
    }

    /// In words, for people.
    pub(crate) fn words(&self) -> String {
        let count = |table: &str, one: &str, many: &str| {
            let rows = self.rows.get(table).copied().unwrap_or(0);
            format!("{} {}", crate::table::grouped(rows), if rows == 1 { one } else { many })
        };
        let mut words = vec![
            count("entries", "record of usage", "records of usage"),
            count("keys", "key", "keys"),
            count("releases", "release", "releases"),
            count("request_log", "line of the request log", "lines of the request log"),
        ];
        words.extend(self.cost.iter().map(|(currency, cost)| format!("cost {cost} {currency}")));
        words.extend(self.paid.iter().map(|(currency, paid)| format!("paid by budgets {paid} {currency}")));
        words.join(", ")
    }
}
