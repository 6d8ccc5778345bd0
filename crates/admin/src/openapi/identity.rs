//! The schemas of people: what signs in, and what is told of it.

use super::{list, maybe, object, text, time};
use crate::permissions::Role;
use serde_json::{Value, json};

type Fields = Vec<(&'static str, Value)>;

pub(super) fn schemas() -> Value {
    let mut all = serde_json::Map::new();
    for part in [signing_in(), being_signed_in(), members(), tokens(), organizations()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

/// Fields and more fields.
fn with(fields: &Fields, more: &[(&'static str, Value)]) -> Fields {
    fields.iter().chain(more).cloned().collect()
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn secret() -> Value {
    json!({ "type": "string", "description": "shown this once" })
}

fn password() -> Value {
    json!({ "type": "string", "minLength": 10, "format": "password" })
}

fn role() -> Value {
    json!({ "type": "string", "enum": Role::ALL.map(Role::as_str) })
}

fn user() -> Value {
    let fields = [
        ("id", text()),
        ("email", text()),
        ("name", text()),
        ("second_factor", boolean()),
        ("created_at", time()),
    ];
    object(&fields, &["id", "email"])
}

fn signing_in() -> Value {
    let named = object(&[("id", text()), ("name", text()), ("handle", text())], &["id", "name", "handle"]);
    let key = object(&[("id", text()), ("name", text()), ("secret", secret())], &["id", "name", "secret"]);
    let new_account =
        [("email", text()), ("password", password()), ("name", text()), ("organization", text())];
    let signed_up = [
        ("organization", named.clone()),
        ("workspace", named.clone()),
        ("environment", named),
        ("user", user()),
        ("key", key),
        ("csrf_token", text()),
    ];
    let signed_in = [
        ("user", user()),
        ("csrf_token", text()),
        ("expires_at", time()),
        ("mfa_required", boolean()),
        ("challenge", text()),
    ];
    let letter = [("at", time()), ("to", text()), ("subject", text()), ("text", text())];
    let whole = ["organization", "workspace", "environment", "user", "key", "csrf_token"];
    json!({
        "NewAccount": object(&new_account, &["email", "password"]),
        "SignedUp": object(&signed_up, &whole),
        "Credentials": object(&[("email", text()), ("password", text())], &["email", "password"]),
        "SignedIn": object(&signed_in, &["expires_at"]),
        "SignedOut": object(&[("signed_out", boolean())], &["signed_out"]),
        "Answered": object(&[("challenge", text()), ("code", text())], &["challenge", "code"]),
        "Forgotten": object(&[("email", text())], &["email"]),
        "PasswordReset": object(&[("token", secret()), ("link", text()), ("expires_at", time())], &["token", "link", "expires_at"]),
        "Requested": object(&[("requested", boolean())], &["requested"]),
        "Mailbox": object(&[("letters", list(&object(&letter, &["to", "subject", "text"])))], &["letters"]),
        "Reset": object(&[("token", text()), ("password", password())], &["token", "password"]),
    })
}

fn being_signed_in() -> Value {
    let session = [
        ("id", text()),
        ("address", text()),
        ("agent", text()),
        ("second_factor", boolean()),
        ("created_at", time()),
        ("seen_at", time()),
        ("expires_at", time()),
        ("current", boolean()),
    ];
    let any = json!({ "type": "object" });
    let me = [
        ("via", json!({ "type": "string", "enum": ["session", "token", "socket"] })),
        ("user", json!({ "oneOf": [user(), { "type": "null" }] })),
        ("csrf_token", maybe("string")),
        ("second_factor_needed", boolean()),
        ("permissions", list(&text())),
        ("memberships", list(&any)),
        ("environments", list(&any)),
    ];
    json!({
        "Me": object(&me, &["via", "permissions", "memberships", "environments"]),
        "SessionList": object(&[("sessions", list(&object(&session, &["id", "current"])))], &["sessions"]),
        "Ended": any,
        "NewPassword": object(&[("current", text()), ("password", password())], &["current", "password"]),
        "Changed": object(&[("changed", boolean())], &["changed"]),
        "Confirmed": object(&[("password", password())], &["password"]),
        "Code": object(&[("code", text())], &["code"]),
        "Enrolled": object(&[("secret", secret()), ("uri", text())], &["secret", "uri"]),
        "RecoveryCodes": object(&[("recovery_codes", list(&secret()))], &["recovery_codes"]),
    })
}

fn members() -> Value {
    let place = vec![("organization", text()), ("workspace", maybe("string")), ("role", role())];
    let member =
        with(&place, &[("id", text()), ("user", json!({ "type": "object" })), ("created_at", time())]);
    let states = json!({ "type": "string", "enum": ["waiting", "accepted", "revoked", "expired"] });
    let invitation = with(
        &place,
        &[
            ("id", text()),
            ("email", maybe("string")),
            ("state", states),
            ("made_by", maybe("string")),
            ("created_at", time()),
            ("expires_at", time()),
        ],
    );
    let invited = with(&invitation, &[("token", secret()), ("link", text()), ("mailed", boolean())]);
    let new_invitation = [
        ("email", text()),
        ("role", role()),
        ("organization", text()),
        ("workspace", text()),
        ("expires_in", text()),
    ];
    let acceptance = [("token", text()), ("email", text()), ("password", password()), ("name", text())];
    let joined = with(&place, &[("member", text()), ("csrf_token", text())]);
    let members = list(&object(&member, &["id", "role", "user"]));
    json!({
        "MemberList": object(&[("organization", text()), ("members", members)], &["members"]),
        "NewRole": object(&[("role", role())], &["role"]),
        "NewInvitation": object(&new_invitation, &["role"]),
        "Invited": object(&invited, &["id", "role", "token", "link", "expires_at"]),
        "InvitationList": object(&[("invitations", list(&object(&invitation, &["id", "role", "state"])))], &["invitations"]),
        "Acceptance": object(&acceptance, &["token"]),
        "Joined": object(&joined, &["member", "organization", "role"]),
    })
}

fn tokens() -> Value {
    let token = vec![
        ("id", text()),
        ("kind", json!({ "type": "string", "enum": ["personal", "service"] })),
        ("name", text()),
        ("hint", text()),
        ("organization", maybe("string")),
        ("workspace", maybe("string")),
        ("scopes", list(&text())),
        ("made_by", maybe("string")),
        ("created_at", time()),
        ("expires_at", maybe("string")),
        ("used_at", maybe("string")),
    ];
    let new_token = vec![("name", text()), ("scopes", list(&text())), ("expires_at", text())];
    let new_service = with(&new_token, &[("organization", text()), ("workspace", text())]);
    json!({
        "NewToken": object(&new_token, &["name", "scopes"]),
        "NewServiceToken": object(&new_service, &["name", "scopes"]),
        "TokenList": object(&[("tokens", list(&object(&token, &["id", "kind", "name", "scopes"])))], &["tokens"]),
        "TokenWithSecret": object(&with(&token, &[("secret", secret())]), &["id", "secret"]),
    })
}

fn organizations() -> Value {
    let policy = [
        ("mfa_required", boolean()),
        ("session_hours", maybe("integer")),
        ("allowed_domains", list(&text())),
        ("open_sign_up", maybe("boolean")),
        ("trial_credit", maybe("string")),
    ];
    let policy = object(&policy, &[]);
    let organization = [
        ("id", text()),
        ("name", text()),
        ("handle", text()),
        ("policy", policy.clone()),
        ("created_at", time()),
    ];
    json!({
        "Organization": object(&organization, &["id", "name", "policy"]),
        "OrganizationChange": object(&[("name", text()), ("policy", policy)], &[]),
    })
}
