//! `tidegate users`: who may do what, invitations, and passwords that were forgotten.

use super::keys::text;
use crate::cli::Shape;
use crate::client::Control;
use crate::located::Place;
use crate::outcome::Outcome;
use crate::table::{Lean, Table};
use crate::terminal::{Terminal, Tone};
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List who has which role
    #[command(after_help = "Example:\n  tidegate users list --json")]
    List(List),
    /// Make an invitation; its link works once
    #[command(after_help = "Examples:
  tidegate users invite ann@example.com --role owner
  tidegate users invite --role developer --expires 2d       for whoever opens the link")]
    Invite(Invite),
    /// Print a link with which somebody sets a new password, once
    #[command(after_help = "Example:\n  tidegate users reset-password ann@example.com")]
    ResetPassword(Reset),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Which organization, by id [default: your own; on the host, `local`]
    #[arg(long, value_name = "ID")]
    organization: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
struct Invite {
    /// For this e-mail alone
    email: Option<String>,
    /// owner, admin, developer, analyst, auditor, billing or viewer
    #[arg(long, value_name = "ROLE")]
    role: String,
    /// Which organization, by id [default: your own; on the host, `local`]
    #[arg(long, value_name = "ID")]
    organization: Option<String>,
    /// Only in this workspace, by id
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// How long it waits [default: 7d]
    #[arg(long, value_name = "SPAN")]
    expires: Option<String>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, clap::Args)]
struct Reset {
    /// Their e-mail
    email: String,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) async fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let control = Control::of(place)?;
    let mut terminal = Terminal::stdout();
    match args.what {
        What::List(ask) => list(&control, &ask, &mut terminal).await,
        What::Invite(ask) => {
            let mut body = json!({ "role": ask.role });
            let more = [
                ("email", ask.email),
                ("organization", ask.organization),
                ("workspace", ask.workspace),
                ("expires_in", ask.expires),
            ];
            for (name, value) in more {
                if let Some(value) = value {
                    body[name] = value.into();
                }
            }
            let made = control.post("/api/invitations", &body).await?;
            tell(&mut terminal, ask.shape, &made, "Whoever opens this link gets the role")
        }
        What::ResetPassword(ask) => {
            let made = control.post("/api/password-resets", &json!({ "email": ask.email })).await?;
            tell(
                &mut terminal,
                ask.shape,
                &made,
                "Whoever opens this link sets the password, and every session ends",
            )
        }
    }
}

/// A link that is told once.
fn tell(terminal: &mut Terminal, shape: Shape, made: &Value, what: &str) -> anyhow::Result<Outcome> {
    if shape.json {
        terminal.json(made)?;
        return Ok(Outcome::Done);
    }
    terminal.line(&format!("{what}, until {}:", text(&made["expires_at"])))?;
    let link = terminal.paint(Tone::Accent, &text(&made["link"]));
    terminal.line(&format!("\n  {link}\n"))?;
    terminal.line("It works once, and is shown this once.")?;
    Ok(Outcome::Done)
}

async fn list(control: &Control, ask: &List, terminal: &mut Terminal) -> anyhow::Result<Outcome> {
    let answer = control.get("/api/members", &[("organization", ask.organization.clone())]).await?;
    let members = answer["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ask.shape.json {
        for member in members {
            terminal.json(member)?;
        }
        return Ok(Outcome::Done);
    }
    if members.is_empty() {
        terminal.line("Nobody yet. Sign up, or: tidegate users invite EMAIL --role owner")?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(&[
        ("E-MAIL", Lean::Left),
        ("NAME", Lean::Left),
        ("ROLE", Lean::Left),
        ("WORKSPACE", Lean::Left),
        ("SINCE", Lean::Left),
        ("ID", Lean::Left),
    ]);
    for member in members {
        let since: String = text(&member["created_at"]).chars().take(10).collect();
        table.row(vec![
            (text(&member["user"]["email"]), Tone::Strong),
            (text(&member["user"]["name"]), Tone::Plain),
            (text(&member["role"]), Tone::Plain),
            (text(&member["workspace"]), Tone::Quiet),
            (since, Tone::Quiet),
            (text(&member["id"]), Tone::Quiet),
        ]);
    }
    table.print(terminal)?;
    Ok(Outcome::Done)
}
