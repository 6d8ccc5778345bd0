//! Keys that the settings file declares: the file owns what they may do, the database owns what became of them.
//!
//! So a declared key takes its models, limits and budgets from the file, but a revocation stays whatever the
//! file says: rolling a file back never revives a key. A key that the file no longer declares ends; declared
//! again, it works again, since nobody revoked it.

use policy::{FileKey, KeyOrigin, KeyRecord, Timestamp};

/// What the file's keys change among the known ones.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Records to put in force and to keep.
    pub(crate) changed: Vec<KeyRecord>,
    /// What its author should know.
    pub(crate) remarks: Vec<String>,
}

/// Decides. `known` is every key there is, revoked ones too.
pub(crate) fn decide(declared: &[FileKey], known: &[KeyRecord], now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for key in declared {
        let before = known.iter().find(|record| record.id == key.id);
        let namesake = known.iter().find(|record| {
            record.id != key.id
                && record.revoked_at.is_none()
                && record.environment == key.environment
                && record.name == key.name
        });
        if namesake.is_some() {
            plan.remarks.push(format!(
                "key `{}` of the file is left aside: a key of that name was made with `tidegate keys create`; \
                 revoke that one or rename this one",
                key.name
            ));
            continue;
        }
        if before.is_some_and(|record| record.revoked_at.is_some()) {
            plan.remarks.push(format!("key `{}` stays revoked; declare it under another name", key.name));
            continue;
        }
        let after = merged(key, before, now);
        if before != Some(&after) {
            plan.changed.push(after);
        }
    }
    let gone = known.iter().filter(|record| {
        record.origin == KeyOrigin::File
            && record.revoked_at.is_none()
            && record.expires_at.is_none_or(|at| at > now)
            && !declared.iter().any(|key| key.id == record.id)
    });
    for record in gone {
        plan.remarks.push(format!("key `{}` is no longer in the file and stops working", record.name));
        plan.changed.push(KeyRecord { expires_at: Some(now), ..record.clone() });
    }
    plan
}

fn merged(key: &FileKey, before: Option<&KeyRecord>, now: Timestamp) -> KeyRecord {
    let fresh = key.record(now);
    let Some(before) = before else { return fresh };
    let keeps_secret = key.hash.is_none() || key.hash == before.hash;
    KeyRecord {
        created_at: before.created_at,
        hash: if keeps_secret { before.hash } else { fresh.hash },
        hint: if keeps_secret { before.hint.clone() } else { fresh.hint.clone() },
        previous: if keeps_secret { before.previous } else { None },
        ..fresh
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use policy::{KeyHash, KeyId, Limits};

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn declared(name: &str, hash: Option<u8>) -> FileKey {
        FileKey {
            id: KeyId::of_file_key("dev", name),
            environment: "dev".into(),
            name: name.into(),
            hash: hash.map(|byte| KeyHash([byte; 32])),
            hint: "hint".into(),
            models: Vec::new(),
            limits: Limits::default(),
            budgets: Vec::new(),
            durable: false,
        }
    }

    #[test]
    fn a_new_key_is_added_and_an_unchanged_one_is_left_alone() {
        let key = declared("app", Some(1));
        let plan = decide(std::slice::from_ref(&key), &[], NOW);
        assert_eq!(plan.changed.len(), 1);
        let again = decide(&[key], &plan.changed, Timestamp::from_micros(2_000_000));
        assert!(again.changed.is_empty(), "{again:?}");
    }

    #[test]
    fn a_revoked_key_is_never_revived() {
        let mut record = declared("app", Some(1)).record(NOW);
        record.revoked_at = Some(NOW);
        let plan = decide(&[declared("app", Some(2))], &[record], NOW);
        assert!(plan.changed.is_empty());
        assert!(plan.remarks[0].contains("stays revoked"));
    }

    #[test]
    fn a_key_without_a_declared_secret_keeps_the_one_it_was_given() {
        let mut record = declared("app", None).record(NOW);
        record.hash = Some(KeyHash([9; 32]));
        let mut key = declared("app", None);
        key.durable = true;
        let plan = decide(&[key], &[record], NOW);
        assert_eq!(plan.changed[0].hash, Some(KeyHash([9; 32])));
        assert!(plan.changed[0].durable);
    }

    #[test]
    fn a_key_taken_out_of_the_file_ends_and_comes_back_with_it() {
        let record = declared("app", Some(1)).record(NOW);
        let gone = decide(&[], std::slice::from_ref(&record), NOW);
        assert_eq!(gone.changed[0].expires_at, Some(NOW));
        let back = decide(&[declared("app", Some(1))], &gone.changed, NOW);
        assert_eq!(back.changed.first().unwrap().expires_at, None);
    }

    #[test]
    fn a_live_key_of_the_same_name_is_not_taken_over() {
        let mut live = declared("app", Some(1)).record(NOW);
        live.id = KeyId::new([7; 13]);
        live.origin = KeyOrigin::Live;
        let plan = decide(&[declared("app", Some(2))], &[live], NOW);
        assert!(plan.changed.is_empty() && plan.remarks[0].contains("left aside"));
    }
}
