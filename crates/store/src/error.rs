//! What can go wrong, in the words its readers act upon: wait, rename, correct, or read the server's message.
//!
//! The split matters to callers: the drain waits on [`StoreError::Unavailable`] and never on the others, and
//! the admin API turns each into its own status. Messages never carry bound values: they may be secrets.

use ledger::DrainError;
use sqlx::error::{DatabaseError, ErrorKind};

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is busy, full or restarting. Trying again later may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Something of that name or number is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// There is nothing of that name or id.
    #[error("there is no {0}")]
    Missing(String),
    /// What was asked, or what the settings say, cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The database understood and refused; trying again will not help.
    #[error("the database refused `{statement}`: {message}")]
    Refused {
        /// The statement's name in the registry.
        statement: String,
        /// The database's own message, without bound values.
        message: String,
        /// Whether the values are to blame, and not the statement or the state of the database.
        values: bool,
    },
    /// A row holds what we never wrote: another program's hand, or damage.
    #[error("the database holds an unreadable row: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(crate) fn from_sqlx(statement: &str, error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::from_database(statement, error.as_ref()),
            sqlx::Error::PoolTimedOut => {
                Self::Unavailable("no connection was free or could be opened within 5 s".into())
            }
            sqlx::Error::PoolClosed => Self::Unavailable("the store is closed".into()),
            sqlx::Error::Configuration(_) => {
                Self::Invalid("the settings of the database are not valid".into())
            }
            sqlx::Error::Encode(error) | sqlx::Error::Decode(error) => {
                Self::Refused { statement: statement.into(), message: error.to_string(), values: true }
            }
            // Sockets, TLS, a broken protocol, a worker that ended: whatever is left is about the connection.
            other => Self::Unavailable(other.to_string()),
        }
    }

    fn from_database(statement: &str, error: &dyn DatabaseError) -> Self {
        if error.kind() == ErrorKind::UniqueViolation {
            return Self::Exists(error.table().unwrap_or("the row").into());
        }
        let code = error.code().unwrap_or_default();
        if is_passing(&code) {
            return Self::Unavailable(error.message().into());
        }
        let values = blames_values(&code);
        Self::Refused { statement: statement.into(), message: error.message().into(), values }
    }
}

/// Whether a code (SQLSTATE, or SQLite's extended result code in decimal) tells of the server's state rather
/// than of the statement. Sources: PostgreSQL 15 manual, appendix A; SQLite, "Result and Error Codes".
fn is_passing(code: &str) -> bool {
    if let Ok(number) = code.parse::<u32>()
        && code.len() != 5
    {
        // Primary code in the low byte: BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
        return matches!(number & 0xff, 5 | 6 | 7 | 8 | 9 | 10 | 13 | 14 | 15);
    }
    // Connection, insufficient resources, operator intervention, system error, rolled back, lock not available,
    // a server in recovery (read only).
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "08" | "53" | "57" | "58" | "40")
        || matches!(code, "55P03" | "25006" | "28000" | "28P01" | "3D000")
}

/// Whether a code says that a value cannot be stored: PostgreSQL's data exceptions and constraints; SQLite's TOOBIG,
/// CONSTRAINT, MISMATCH and RANGE.
fn blames_values(code: &str) -> bool {
    match code.parse::<u32>() {
        Ok(number) if code.len() != 5 => matches!(number & 0xff, 18 | 19 | 20 | 25),
        _ => matches!(code.get(..2), Some("22" | "23")),
    }
}

impl From<StoreError> for DrainError {
    fn from(error: StoreError) -> Self {
        let poison = matches!(error, StoreError::Refused { values: true, .. });
        Self { message: error.to_string(), poison }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_are_told_from_those_that_stay() {
        for code in ["5", "261", "517", "13", "14", "57P01", "57014", "08006", "53300", "55P03", "40001"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["22021", "23514", "19", "1299", "20"] {
            assert!(blames_values(code), "{code}");
        }
        for code in ["11", "1", "42601", "XX001"] {
            assert!(!blames_values(code), "{code}");
        }
        // Syntax, unknown column, out of range, a constraint, corruption.
        for code in ["1", "19", "1299", "11", "42601", "42703", "22003", "23502", ""] {
            assert!(!is_passing(code), "{code}");
        }
    }
}
