//! Whoever calls: found out in one place, for every route, before its handler runs.
//!
//! A caller holds what its roles give where they are held; a token holds no more than its scopes, and of those only what
//! whoever made it still holds. Handlers ask `Caller::scope` which environments a permission reaches and name it to every
//! query, so that what is another tenant's is as if it did not exist.

use crate::permissions::{Permission, Reach, Role};
use crate::{Admin, ApiError};
use axum::extract::FromRequestParts;
use http::request::Parts;
use policy::Name;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{PlaceRow, SessionRow, TokenRow, UserRow};

/// The host's own organization: its owners may see to the process.
pub const HOST_ORGANIZATION: &str = "local";

/// Whoever calls, with what they may do.
#[derive(Clone)]
pub struct Caller(Arc<Held>);

pub(crate) struct Held {
    pub(crate) who: Who,
    pub(crate) grants: Vec<Grant>,
    /// Every environment of the organizations that the grants are in.
    pub(crate) places: Vec<PlaceRow>,
    /// What a token is confined to.
    pub(crate) scopes: Option<BTreeSet<Permission>>,
    /// An organization that asks for a second factor, which this session has not shown.
    pub(crate) lacks_second: bool,
}

/// Who it is.
pub enum Who {
    /// Whoever owns the process.
    Host,
    /// Somebody.
    Nobody,
    /// A person, signed in; with the secret's own CSRF token.
    Person(Box<(SessionRow, UserRow)>),
    /// A program.
    Token(Box<TokenRow>),
}

/// A role in a place.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The organization's id.
    pub(crate) organization: Name,
    /// Its handle.
    pub(crate) handle: Name,
    /// The workspace's id; empty for the whole organization.
    pub(crate) workspace: Name,
    pub(crate) role: Role,
}

impl Grant {
    fn gives(&self, permission: Permission) -> bool {
        let process = permission.reach() == Reach::Process;
        let host = &*self.handle == HOST_ORGANIZATION && self.workspace.is_empty();
        self.role.gives(permission) && (!process || host)
    }
}

/// Which environments a caller reaches with a permission, by handle.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// All there are.
    All,
    /// These.
    Only(BTreeSet<Name>),
}

impl Scope {
    /// Whether this environment is among them.
    pub fn contains(&self, environment: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(handles) => handles.contains(environment),
        }
    }

    /// As the store's filters take it.
    pub fn within(&self) -> Option<Vec<Name>> {
        match self {
            Scope::All => None,
            Scope::Only(handles) => Some(handles.iter().cloned().collect()),
        }
    }
}

impl Caller {
    pub(crate) fn new(held: Held) -> Self {
        Self(Arc::new(held))
    }

    /// Somebody without any right.
    pub(crate) fn nobody() -> Self {
        Self::plain(Who::Nobody)
    }

    /// Whoever owns the process.
    pub(crate) fn host() -> Self {
        Self::plain(Who::Host)
    }

    /// Somebody who is not here, with what they hold.
    pub(crate) fn with(grants: Vec<Grant>) -> Self {
        Self::new(Held { who: Who::Nobody, grants, places: Vec::new(), scopes: None, lacks_second: false })
    }

    fn plain(who: Who) -> Self {
        Self::new(Held { who, grants: Vec::new(), places: Vec::new(), scopes: None, lacks_second: false })
    }

    /// Who it is.
    pub(crate) fn who(&self) -> &Who {
        &self.0.who
    }

    /// Whether it is whoever owns the process.
    pub(crate) fn is_host(&self) -> bool {
        matches!(self.0.who, Who::Host)
    }

    /// The person who is signed in.
    pub(crate) fn person(&self) -> Result<(&SessionRow, &UserRow), ApiError> {
        match &self.0.who {
            Who::Person(person) => Ok((&person.0, &person.1)),
            _ => Err(ApiError::Unauthorized),
        }
    }

    /// The id of the person, or of whoever made the token; empty for the host.
    pub(crate) fn user_id(&self) -> Name {
        match &self.0.who {
            Who::Person(person) => person.1.id.clone(),
            Who::Token(token) => token.user.clone(),
            Who::Host | Who::Nobody => "".into(),
        }
    }

    pub(crate) fn grants(&self) -> &[Grant] {
        &self.0.grants
    }

    pub(crate) fn places(&self) -> &[PlaceRow] {
        &self.0.places
    }

    pub(crate) fn lacks_second(&self) -> bool {
        self.0.lacks_second
    }

    fn in_scopes(&self, permission: Permission) -> bool {
        self.0.scopes.as_ref().is_none_or(|scopes| scopes.contains(&permission))
    }

    /// Lets the caller through to a route, or says what is missing.
    pub(crate) fn admit(&self, permission: Permission) -> Result<(), ApiError> {
        let allowed = match (permission, &self.0.who) {
            (Permission::Public, _) => true,
            (_, Who::Nobody) => return Err(ApiError::Unauthorized),
            (Permission::Known, _) => true,
            (Permission::Session, who) => matches!(who, Who::Person(_)),
            (_, Who::Host) => true,
            (_, Who::Person(_) | Who::Token(_)) => self.holds_somewhere(permission),
        };
        match allowed {
            true => Ok(()),
            false if self.0.lacks_second => Err(ApiError::SecondFactorNeeded),
            false => Err(ApiError::Forbidden(format!("this needs the permission `{}`", permission.as_str()))),
        }
    }

    /// Whether it is held for the whole process.
    pub(crate) fn holds_process(&self, permission: Permission) -> bool {
        self.is_host() || self.holds_somewhere(permission)
    }

    fn holds_somewhere(&self, permission: Permission) -> bool {
        self.in_scopes(permission) && self.0.grants.iter().any(|grant| grant.gives(permission))
    }

    /// Whether the permission is held in a workspace of an organization (ids), or in the whole organization where
    /// `workspace` is empty.
    pub(crate) fn holds(&self, permission: Permission, organization: &str, workspace: &str) -> bool {
        let reaches = |grant: &&Grant| {
            *grant.organization == *organization
                && (grant.workspace.is_empty() || *grant.workspace == *workspace)
        };
        self.is_host()
            || self.in_scopes(permission)
                && self.0.grants.iter().filter(reaches).any(|grant| grant.gives(permission))
    }

    /// Whether the permission is held somewhere in an organization, by id.
    pub(crate) fn holds_in(&self, permission: Permission, organization: &str) -> bool {
        let mut there = self.0.grants.iter().filter(|grant| *grant.organization == *organization);
        self.is_host() || self.in_scopes(permission) && there.any(|grant| grant.gives(permission))
    }

    /// Which environments the permission reaches.
    pub(crate) fn scope(&self, permission: Permission) -> Scope {
        if self.is_host() {
            return Scope::All;
        }
        let held = self
            .0
            .places
            .iter()
            .filter(|place| self.holds(permission, &place.organization, &place.workspace));
        Scope::Only(held.map(|place| place.handle.clone()).collect())
    }

    /// Whether usage of a workspace, by handles, may be seen.
    pub(crate) fn sees_workspace(&self, organization: &str, workspace: &str) -> bool {
        let mut places = self.0.places.iter();
        self.is_host()
            || places.any(|place| {
                *place.organization_handle == *organization
                    && *place.workspace_handle == *workspace
                    && self.holds(Permission::ReadUsage, &place.organization, &place.workspace)
            })
    }

    /// Whether usage of a whole organization, by its handle, may be seen.
    pub(crate) fn sees_organization(&self, handle: &str) -> bool {
        let mut grants = self.0.grants.iter().filter(|grant| *grant.handle == *handle);
        self.is_host() || grants.any(|grant| self.holds(Permission::ReadUsage, &grant.organization, ""))
    }

    /// Whether everything that a role would give in a place is held there already: nobody gives more than they have.
    pub(crate) fn may_give(&self, role: Role, organization: &str, workspace: &str) -> bool {
        // A role in the whole of the host's own organization gives what concerns the process, too.
        let mut grants = self.0.grants.iter().filter(|grant| *grant.organization == *organization);
        let process = workspace.is_empty() && grants.any(|grant| &*grant.handle == HOST_ORGANIZATION);
        let asked = Permission::given().filter(|permission| role.gives(*permission));
        asked
            .filter(|permission| process || permission.reach() != Reach::Process)
            .all(|permission| self.holds(permission, organization, workspace))
    }

    /// The handle of an environment that is named by its handle or its id.
    pub(crate) fn handle_of(&self, asked: &str) -> Name {
        let found = self.0.places.iter().find(|place| *place.id == *asked);
        found.map_or_else(|| asked.into(), |place| place.handle.clone())
    }
}

impl FromRequestParts<Admin> for Caller {
    type Rejection = ApiError;

    /// What the door found out; whoever came past no door is nobody.
    async fn from_request_parts(parts: &mut Parts, _: &Admin) -> Result<Self, ApiError> {
        parts.extensions.get::<Caller>().cloned().ok_or(ApiError::Unauthorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(organization: &str, workspace: &str, handle: &str) -> PlaceRow {
        PlaceRow {
            organization: organization.into(),
            organization_handle: organization.into(),
            organization_name: organization.into(),
            workspace: workspace.into(),
            workspace_handle: workspace.into(),
            workspace_name: workspace.into(),
            id: format!("env_{handle}").into(),
            handle: handle.into(),
            name: handle.into(),
            layer: "development".into(),
        }
    }

    fn caller(grants: Vec<Grant>, scopes: Option<BTreeSet<Permission>>) -> Caller {
        let places = vec![place("a", "w1", "dev"), place("a", "w2", "prod"), place("b", "w3", "other")];
        let token = TokenRow {
            id: "tok".into(),
            kind: "personal".into(),
            organization: "".into(),
            workspace: "".into(),
            user: "usr".into(),
            name: "".into(),
            hash: "".into(),
            hint: "".into(),
            scopes: "".into(),
            created_at: policy::Timestamp::from_micros(0),
            expires_at: None,
            used_at: None,
            revoked_at: None,
        };
        Caller::new(Held { who: Who::Token(Box::new(token)), grants, places, scopes, lacks_second: false })
    }

    fn grant(organization: &str, workspace: &str, role: Role) -> Grant {
        Grant {
            organization: organization.into(),
            handle: organization.into(),
            workspace: workspace.into(),
            role,
        }
    }

    #[test]
    fn a_role_reaches_its_place_and_no_other() {
        let one = caller(vec![grant("a", "w1", Role::Owner)], None);
        assert!(one.scope(Permission::WriteKeys).contains("dev"));
        for other in ["prod", "other", ""] {
            assert!(!one.scope(Permission::WriteKeys).contains(other), "{other}");
        }
        assert!(!one.holds(Permission::WriteMembers, "a", ""), "a workspace is not its organization");
        let whole = caller(vec![grant("a", "", Role::Owner)], None);
        let both = whole.scope(Permission::WriteKeys);
        assert!(both.contains("dev") && both.contains("prod") && !both.contains("other"));
    }

    #[test]
    fn only_owners_of_the_hosts_organization_see_to_the_process() {
        for (organization, workspace, role, sees) in [
            ("local", "", Role::Owner, true),
            ("local", "w1", Role::Owner, false),
            ("local", "", Role::Admin, false),
            ("a", "", Role::Owner, false),
        ] {
            let one = caller(vec![grant(organization, workspace, role)], None);
            assert_eq!(one.admit(Permission::ReadStatus).is_ok(), sees, "{organization}/{workspace}");
        }
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let admin = caller(vec![grant("a", "", Role::Admin)], None);
        assert!(!admin.may_give(Role::Owner, "a", ""));
        assert!(admin.may_give(Role::Admin, "a", "") && admin.may_give(Role::Viewer, "a", "w1"));
        assert!(!admin.may_give(Role::Viewer, "b", "w3"));
        let within = caller(vec![grant("a", "w1", Role::Owner)], None);
        assert!(within.may_give(Role::Owner, "a", "w1") && !within.may_give(Role::Viewer, "a", ""));
    }

    #[test]
    fn a_token_has_its_scopes_and_no_more_than_its_maker() {
        let scopes = BTreeSet::from([Permission::ReadKeys, Permission::WriteMembers]);
        let one = caller(vec![grant("a", "", Role::Viewer)], Some(scopes));
        assert!(one.admit(Permission::ReadKeys).is_ok());
        assert!(one.admit(Permission::ReadUsage).is_err(), "not in its scopes");
        assert!(one.admit(Permission::WriteMembers).is_err(), "not its maker's");
        assert!(one.admit(Permission::Session).is_err() && one.admit(Permission::Known).is_ok());
    }
}
