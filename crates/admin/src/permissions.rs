//! Roles and permissions: one table says what each role may do, and nobody may do what stands nowhere in it.
//!
//! A role is held in an organization or in one of its workspaces, and gives there what its column says. What concerns the
//! whole process (its nodes, its state) is for whoever owns the organization `local`, which is the host's own.

use std::fmt::Write;

/// What a caller must hold for a route.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Permission {
    /// Anyone who reaches the port.
    Public,
    /// Whoever is signed in, or brings a token.
    Known,
    /// A person who is signed in: what a token may never do.
    Session,
    /// See keys (never their secrets).
    ReadKeys,
    /// Make, rotate and revoke keys.
    WriteKeys,
    /// See sums of tokens and money.
    ReadUsage,
    /// See who asked what, when.
    ReadLogs,
    /// See prompts and answers, where they are kept.
    ReadBodies,
    /// See numbered releases and their documents.
    ReadReleases,
    /// Make releases: of the `development` layer they are in force at once.
    WriteReleases,
    /// Put releases into force, and go back.
    PublishReleases,
    /// Approve what others made.
    ApproveReleases,
    /// Make environments, say how many approve.
    WriteEnvironments,
    /// Name secrets and files of this host in a document.
    UseHostSecrets,
    /// See where requests would go.
    ReadRoutes,
    /// See providers and how they are.
    ReadProviders,
    /// See who has which role.
    ReadMembers,
    /// Invite, change roles, remove.
    WriteMembers,
    /// See service tokens.
    ReadTokens,
    /// Make and revoke service tokens.
    WriteTokens,
    /// See the organization's policy.
    ReadOrganization,
    /// Change it.
    WriteOrganization,
    /// See how the process is doing.
    ReadStatus,
    /// Forget gateways that will not come back.
    WriteNodes,
    /// Make links with which users of any organization set a new password.
    WriteUsers,
}

/// A set of permissions that a member is given.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Role {
    /// Everything, other owners too.
    Owner,
    /// Everything but policy and owners.
    Admin,
    /// Builds: keys, logs, prompts.
    Developer,
    /// Looks at usage and logs with what was said.
    Analyst,
    /// Looks at who did what, and at no prompt.
    Auditor,
    /// Looks at money.
    Billing,
    /// Looks on.
    Viewer,
}

/// Where a permission holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Reach {
    /// At the door: no role gives it.
    Door,
    /// In the place of the role.
    Place,
    /// In the whole process.
    Process,
}

/// One line of the table.
pub struct Line {
    /// The permission.
    pub permission: Permission,
    /// Its word, in scopes, answers and the OpenAPI document.
    pub word: &'static str,
    /// Where it holds.
    pub reach: Reach,
    /// Which roles give it, in the order of [`Role::ALL`].
    pub roles: [bool; 7],
    /// What it lets one do.
    pub meaning: &'static str,
}

const Y: bool = true;
const N: bool = false;

const fn line(
    permission: Permission,
    word: &'static str,
    reach: Reach,
    roles: [bool; 7],
    meaning: &'static str,
) -> Line {
    Line { permission, word, reach, roles, meaning }
}

/// The whole matrix. `Process` holds only for owners of the organization `local`.
#[rustfmt::skip]
pub const TABLE: &[Line] = {
    use Permission::*;
    use Reach::*;
    &[
        //                                                        own adm dev ana aud bil vie
        line(Public,            "public",             Door,    [ N,  N,  N,  N,  N,  N,  N ], "whatever is open to all who reach the port"),
        line(Known,             "known",              Door,    [ N,  N,  N,  N,  N,  N,  N ], "see who one is"),
        line(Session,           "session",            Door,    [ N,  N,  N,  N,  N,  N,  N ], "manage one's own password, sessions, second factor and tokens"),
        line(ReadKeys,          "keys:read",          Place,   [ Y,  Y,  Y,  N,  Y,  N,  Y ], "see keys, never their secrets"),
        line(WriteKeys,         "keys:write",         Place,   [ Y,  Y,  Y,  N,  N,  N,  N ], "make, rotate and revoke keys"),
        line(ReadUsage,         "usage:read",         Place,   [ Y,  Y,  Y,  Y,  Y,  Y,  Y ], "see usage, costs and budgets"),
        line(ReadLogs,          "logs:read",          Place,   [ Y,  Y,  Y,  Y,  Y,  N,  Y ], "see requests, without what was said"),
        line(ReadBodies,        "bodies:read",        Place,   [ Y,  Y,  Y,  Y,  N,  N,  N ], "see prompts and answers, where they are kept"),
        line(ReadReleases,      "releases:read",      Place,   [ Y,  Y,  Y,  Y,  Y,  N,  Y ], "see releases"),
        line(WriteReleases,     "releases:write",     Place,   [ Y,  Y,  Y,  N,  N,  N,  N ], "make releases, which `development` publishes at once"),
        line(PublishReleases,   "releases:publish",   Place,   [ Y,  Y,  N,  N,  N,  N,  N ], "put releases into force, for all or for some, and go back"),
        line(ApproveReleases,   "releases:approve",   Place,   [ Y,  Y,  N,  N,  N,  N,  N ], "approve releases that others made"),
        line(WriteEnvironments, "environments:write", Place,   [ Y,  Y,  N,  N,  N,  N,  N ], "make environments, say how many must approve"),
        line(ReadRoutes,        "routes:read",        Place,   [ Y,  Y,  Y,  Y,  Y,  N,  Y ], "ask where a request would go"),
        line(ReadProviders,     "providers:read",     Place,   [ Y,  Y,  Y,  Y,  Y,  N,  Y ], "see providers and how they are"),
        line(ReadMembers,       "members:read",       Place,   [ Y,  Y,  Y,  Y,  Y,  Y,  Y ], "see who has which role"),
        line(WriteMembers,      "members:write",      Place,   [ Y,  Y,  N,  N,  N,  N,  N ], "invite, change roles, remove; never beyond one's own"),
        line(ReadTokens,        "tokens:read",        Place,   [ Y,  Y,  N,  N,  Y,  N,  N ], "see service tokens"),
        line(WriteTokens,       "tokens:write",       Place,   [ Y,  Y,  N,  N,  N,  N,  N ], "make and revoke service tokens"),
        line(ReadOrganization,  "organization:read",  Place,   [ Y,  Y,  Y,  Y,  Y,  Y,  Y ], "see the organization's policy"),
        line(WriteOrganization, "organization:write", Place,   [ Y,  N,  N,  N,  N,  N,  N ], "change the organization's policy"),
        line(ReadStatus,        "status:read",        Process, [ Y,  N,  N,  N,  N,  N,  N ], "see the process, its nodes and its database"),
        line(UseHostSecrets,    "host:secrets",       Process, [ Y,  N,  N,  N,  N,  N,  N ], "name environment variables and files of the host in documents"),
        line(WriteNodes,        "nodes:write",        Process, [ Y,  N,  N,  N,  N,  N,  N ], "forget gateways that will not come back"),
        line(WriteUsers,        "users:write",        Process, [ Y,  N,  N,  N,  N,  N,  N ], "give somebody a link that sets a new password; see letters that are not sent"),
    ]
};

impl Permission {
    fn line(self) -> Option<&'static Line> {
        TABLE.iter().find(|line| line.permission == self)
    }

    /// The word used in the OpenAPI document.
    pub fn as_str(self) -> &'static str {
        self.line().map_or("", |line| line.word)
    }

    /// Where it holds. What has no line holds nowhere.
    pub fn reach(self) -> Reach {
        self.line().map_or(Reach::Door, |line| line.reach)
    }

    /// The permission of this word.
    pub fn named(word: &str) -> Option<Permission> {
        TABLE.iter().find(|line| line.word == word).map(|line| line.permission)
    }

    /// Those that roles give, in the order of the table.
    pub fn given() -> impl Iterator<Item = Permission> {
        TABLE.iter().filter(|line| line.reach != Reach::Door).map(|line| line.permission)
    }
}

impl Role {
    /// Every role, the strongest first.
    pub const ALL: [Role; 7] = [
        Role::Owner,
        Role::Admin,
        Role::Developer,
        Role::Analyst,
        Role::Auditor,
        Role::Billing,
        Role::Viewer,
    ];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Developer => "developer",
            Role::Analyst => "analyst",
            Role::Auditor => "auditor",
            Role::Billing => "billing",
            Role::Viewer => "viewer",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether its column has the permission.
    pub fn gives(self, permission: Permission) -> bool {
        let column = Role::ALL.iter().position(|role| *role == self);
        permission.line().zip(column).is_some_and(|(line, column)| line.roles[column])
    }
}

/// The table as people read it: a page of the guide.
pub fn page() -> String {
    let mut page = String::from(
        "# Roles\n\nWhat each role may do, in the organization or workspace that it is held in. What has no mark is refused. This page is made from the\n\
         table that the program decides by.\n\n| Permission | Lets one |",
    );
    let words = |page: &mut String, words: &mut dyn Iterator<Item = String>| {
        for word in words {
            // Writing to a text cannot fail.
            let _ = write!(page, " {word} |");
        }
        page.push('\n');
    };
    words(&mut page, &mut Role::ALL.iter().map(|role| role.as_str().to_owned()));
    page.push_str("|---|---|");
    words(&mut page, &mut Role::ALL.iter().map(|_| ":-:".to_owned()));
    for line in TABLE.iter().filter(|line| line.reach != Reach::Door) {
        let process = if line.reach == Reach::Process { " (owners of `local` alone)" } else { "" };
        let _ = write!(page, "| `{}` | {}{process} |", line.word, line.meaning);
        words(&mut page, &mut line.roles.iter().map(|held| if *held { "✓" } else { "" }.to_owned()));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_has_one_line_and_every_word_one_permission() {
        for line in TABLE {
            let same =
                TABLE.iter().filter(|other| other.permission == line.permission || other.word == line.word);
            assert_eq!(same.count(), 1, "{}", line.word);
            assert_eq!(Permission::named(line.word), Some(line.permission));
        }
    }

    #[test]
    fn an_owner_has_everything_and_a_viewer_writes_nothing() {
        for permission in Permission::given() {
            assert!(Role::Owner.gives(permission), "{permission:?}");
            let writes = permission.as_str().ends_with(":write");
            for role in [Role::Analyst, Role::Auditor, Role::Billing, Role::Viewer] {
                assert!(!(writes && role.gives(permission)), "{role:?} {permission:?}");
            }
        }
        for line in TABLE.iter().filter(|line| line.reach == Reach::Door) {
            assert_eq!(line.roles, [false; 7]);
        }
    }
}
