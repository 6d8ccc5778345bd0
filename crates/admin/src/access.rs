//! Who may call what.
//!
//! This version has two doors and no tokens: the owner-only socket in the data folder, whose file mode is the
//! proof, and the network, which may see nothing but what is public. The permission stands beside each route
//! in the table, so sign-in has one place to plug into, and a route without one cannot be written.

/// The door by which a request came in.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// `data_dir/control.sock`, mode 0600: whoever can open it owns the process anyway.
    Socket,
    /// TCP: public routes only.
    Network,
}

/// What a caller must hold for a route.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Permission {
    /// Anyone who reaches the port.
    Public,
    /// See keys (never their secrets).
    ReadKeys,
    /// Make, rotate and revoke keys.
    WriteKeys,
    /// See sums of tokens and money.
    ReadUsage,
    /// See who asked what, when.
    ReadLogs,
    /// See numbered releases and their documents.
    ReadReleases,
    /// See where requests would go.
    ReadRoutes,
    /// See how the process is doing.
    ReadStatus,
    /// Forget gateways that will not come back.
    WriteNodes,
}

impl Permission {
    /// The word used in the OpenAPI document.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Public => "public",
            Permission::ReadKeys => "keys:read",
            Permission::WriteKeys => "keys:write",
            Permission::WriteNodes => "nodes:write",
            Permission::ReadUsage => "usage:read",
            Permission::ReadLogs => "logs:read",
            Permission::ReadReleases => "releases:read",
            Permission::ReadRoutes => "routes:read",
            Permission::ReadStatus => "status:read",
        }
    }
}

impl Access {
    /// Whether this door grants the permission. Default is deny: the network holds none but the public one.
    pub fn grants(self, permission: Permission) -> bool {
        match self {
            Access::Socket => true,
            Access::Network => permission == Permission::Public,
        }
    }
}
