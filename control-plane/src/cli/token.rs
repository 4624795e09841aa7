//! Access tokens: one's own, and what service accounts share with them.

use super::Desk;
use super::failure::Failure;
use super::service::put;
use super::session::{hand_over, may_save};
use super::span::When;
use super::table::{cell, moment};
use crate::clock::Clock;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What can be done with one's own tokens.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make a token; it is shown this once
    #[command(after_help = "Example:\n  castoff token create notebook --expires 30d --save token.txt")]
    Create(NewToken),
    /// Your tokens
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff token list")]
    List,
    /// Take a token back
    #[command(visible_alias = "rm", after_help = "Example:\n  castoff token revoke notebook")]
    Revoke {
        /// The token, by name
        token: String,
    },
}

/// A token to make.
#[derive(Args, Debug)]
pub struct NewToken {
    /// What to call it
    name: String,
    /// When it ends: a time, a span from now, or never
    #[arg(long, value_name = "WHEN", default_value = "90d")]
    expires: When,
    /// A new file for it, readable by you alone; else it is printed
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

impl Command {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create(token) => token.make(desk, &["tokens"]).await,
            Self::List => tokens(desk, &["tokens"]).await,
            Self::Revoke { token } => revoke(desk, &["tokens", &token], &token).await,
        }
    }
}

impl NewToken {
    /// Makes the token and hands it over.
    pub(super) async fn make(self, desk: &Desk, path: &[&str]) -> Result<(), Failure> {
        may_save(self.save.as_deref())?;
        let mut body = Map::new();
        put(&mut body, "name", Some(&self.name));
        let expires = self.expires.ahead(Clock::default().now()).map(|time| time.to_string());
        put(&mut body, "expires_at", expires);
        let made = desk.server.post(path, &[], Some(&body.into())).await?.body;
        hand_over(desk.out, &made, "token", self.save.as_deref())
    }
}

/// Shows the tokens of an account.
pub(super) async fn tokens(desk: &Desk, path: &[&str]) -> Result<(), Failure> {
    let items = desk.server.list(path, &[], usize::MAX).await?;
    desk.out.list(
        &items,
        &["NAME", "ENDS WITH", "CREATED", "EXPIRES", "LAST USED"],
        |item| {
            vec![
                cell(item, "/name"),
                cell(item, "/hint"),
                moment(item, "/created_at"),
                moment(item, "/expires_at"),
                moment(item, "/last_used_at"),
            ]
        },
    )
}

/// Takes a token back.
pub(super) async fn revoke(desk: &Desk, path: &[&str], name: &str) -> Result<(), Failure> {
    desk.server.delete(path).await?;
    desk.out.done(&Value::Null, &format!("token {name} works no more"))
}
