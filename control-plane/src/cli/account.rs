//! Users, groups and the accounts of programs.

use super::Desk;
use super::failure::Failure;
use super::service::{put, something};
use super::session::{ask_password, hand_over, may_save, password_from_stdin};
use super::table::{cell, moment};
use super::token::{NewToken, revoke, tokens};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// What can be done with users.
#[derive(Subcommand, Debug)]
pub enum User {
    /// Create a user; without --password-stdin a password is made and shown this once
    #[command(after_help = "Example:\n  castoff user create dana --display-name 'Dana Data'")]
    Create {
        /// The name to log in with
        name: String,
        /// The full name
        #[arg(long)]
        display_name: Option<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// A new file for a password that is made, readable by you alone
        #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
        save: Option<PathBuf>,
    },
    /// All users
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff user list")]
    List,
    /// End a user's sessions and tokens, and let them in no more
    #[command(after_help = "Example:\n  castoff user disable dana")]
    Disable {
        /// The user
        user: String,
    },
    /// Let a user in again
    #[command(after_help = "Example:\n  castoff user enable dana")]
    Enable {
        /// The user
        user: String,
    },
    /// Set a password: your own, or as an admin somebody's
    #[command(after_help = "Example:\n  castoff user password dana")]
    Password {
        /// The user
        user: String,
        /// Read the new password from standard input; for your own, the current one stands on the line before
        #[arg(long)]
        password_stdin: bool,
    },
    /// Delete a user
    #[command(visible_alias = "rm", after_help = "Example:\n  castoff user delete dana")]
    Delete {
        /// The user
        user: String,
    },
}

/// What can be done with groups.
#[derive(Subcommand, Debug)]
pub enum Group {
    /// Create a group
    #[command(after_help = "Example:\n  castoff group create data-scientists --create-service")]
    Create {
        /// The name
        name: String,
        /// Its members may create services
        #[arg(long)]
        create_service: bool,
        /// Its members are platform admins
        #[arg(long)]
        admin: bool,
    },
    /// All groups
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff group list")]
    List,
    /// Change what a group's members may do everywhere
    #[command(after_help = "Example:\n  castoff group set data-scientists --create-service false")]
    Set {
        /// The group
        group: String,
        /// Whether its members may create services
        #[arg(long)]
        create_service: Option<bool>,
        /// Whether its members are platform admins
        #[arg(long)]
        admin: Option<bool>,
    },
    /// The members of a group
    #[command(after_help = "Example:\n  castoff group members data-scientists")]
    Members {
        /// The group
        group: String,
    },
    /// Add members
    #[command(after_help = "Example:\n  castoff group add data-scientists dana omar")]
    Add(Members),
    /// Remove members
    #[command(after_help = "Example:\n  castoff group remove data-scientists omar")]
    Remove(Members),
    /// Delete a group
    #[command(
        visible_alias = "rm",
        after_help = "Example:\n  castoff group delete data-scientists"
    )]
    Delete {
        /// The group
        group: String,
    },
}

/// A group and some accounts.
#[derive(Args, Debug)]
pub struct Members {
    /// The group
    group: String,
    /// Users or service accounts
    #[arg(required = true)]
    accounts: Vec<String>,
}

/// What can be done with the accounts of programs.
#[derive(Subcommand, Debug)]
pub enum ServiceAccount {
    /// Create an account for a program
    #[command(after_help = "Example:\n  castoff service-account create ci --description 'the build pipeline'")]
    Create {
        /// The name
        name: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
    },
    /// All accounts of programs
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff service-account list")]
    List,
    /// Make a token for it; it is shown this once
    #[command(after_help = "Example:\n  castoff service-account token ci github --expires 90d --save token.txt")]
    Token {
        /// The account
        account: String,
        #[command(flatten)]
        token: NewToken,
    },
    /// Its tokens
    #[command(after_help = "Example:\n  castoff service-account tokens ci")]
    Tokens {
        /// The account
        account: String,
    },
    /// Take a token back
    #[command(after_help = "Example:\n  castoff service-account revoke-token ci github")]
    RevokeToken {
        /// The account
        account: String,
        /// The token, by name
        token: String,
    },
    /// Delete the account with its tokens
    #[command(visible_alias = "rm", after_help = "Example:\n  castoff service-account delete ci")]
    Delete {
        /// The account
        account: String,
    },
}

impl User {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create {
                name,
                display_name,
                password_stdin,
                save,
            } => {
                may_save(save.as_deref())?;
                let mut body = Map::new();
                put(&mut body, "name", Some(&name));
                put(&mut body, "display_name", display_name);
                if password_stdin {
                    put(&mut body, "password", Some(password_from_stdin()?.expose()));
                }
                let made = desk.server.post(&["users"], &[], Some(&body.into())).await?.body;
                if made.get("password").is_none() {
                    return desk.out.done(&made, &format!("created user {name}"));
                }
                desk.out.note(&format!("created user {name}"));
                hand_over(desk.out, &made, "password", save.as_deref())
            }
            Self::List => {
                let items = desk.server.list(&["users"], &[], usize::MAX).await?;
                let row = |item: &Value| {
                    let disabled = item.get("disabled").and_then(Value::as_bool) == Some(true);
                    vec![
                        cell(item, "/name"),
                        cell(item, "/display_name"),
                        if disabled { "disabled" } else { "active" }.to_owned(),
                        cell(item, "/groups"),
                        moment(item, "/created_at"),
                    ]
                };
                desk.out
                    .list(&items, &["NAME", "DISPLAY NAME", "STATE", "GROUPS", "CREATED"], row)
            }
            Self::Disable { user } => able(desk, &user, true).await,
            Self::Enable { user } => able(desk, &user, false).await,
            Self::Password { user, password_stdin } => password(desk, &user, password_stdin).await,
            Self::Delete { user } => {
                let deleted = desk.server.delete(&["users", &user]).await;
                // What is in the way is that the user owns services.
                deleted.map_err(|no| {
                    no.hint(409, || {
                        "see whose they are: castoff service list; hand one over: castoff service set SERVICE --owner NAME"
                            .to_owned()
                    })
                })?;
                desk.out.done(&Value::Null, &format!("deleted user {user}"))
            }
        }
    }
}

async fn able(desk: &Desk, user: &str, disabled: bool) -> Result<(), Failure> {
    let changed = desk
        .server
        .patch(&["users", user], &[], &json!({"disabled": disabled}))
        .await?
        .body;
    let word = if disabled { "disabled" } else { "enabled" };
    desk.out.done(&changed, &format!("{word} user {user}"))
}

async fn password(desk: &Desk, user: &str, stdin: bool) -> Result<(), Failure> {
    let who = desk.server.get(&["whoami"], &[]).await?;
    let oneself = cell(&who, "/name") == user;
    let (current, new) = if stdin {
        let text = super::credentials::read_text("-".as_ref())?;
        let mut lines = text.lines().map(str::to_owned);
        let current = if oneself { lines.next() } else { None };
        (current, lines.next().unwrap_or_default())
    } else {
        let current = match oneself {
            true => Some(ask_password("Current password: ")?.expose().to_owned()),
            false => None,
        };
        let new = ask_password("New password: ")?;
        if new.expose() != ask_password("New password again: ")?.expose() {
            return Err(Failure::Usage("the two are not the same".to_owned()));
        }
        (current, new.expose().to_owned())
    };
    let mut body = Map::new();
    put(&mut body, "current", current);
    put(&mut body, "password", Some(new));
    desk.server
        .put(&["users", user, "password"], Some(&body.into()))
        .await?;
    desk.out.done(&Value::Null, &format!("set the password of {user}"))
}

impl Group {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create {
                name,
                create_service,
                admin,
            } => {
                let body = json!({"name": name, "create_service": create_service, "admin": admin});
                let made = desk.server.post(&["groups"], &[], Some(&body)).await?.body;
                desk.out.done(&made, &format!("created group {name}"))
            }
            Self::List => {
                let items = desk.server.list(&["groups"], &[], usize::MAX).await?;
                // Only platform admins are told what a group may do everywhere; an empty column would look like a no.
                if items.iter().all(|item| item.get("admin").is_none()) {
                    return desk.out.list(&items, &["NAME"], |item| vec![cell(item, "/name")]);
                }
                desk.out
                    .list(&items, &["NAME", "CREATES SERVICES", "PLATFORM ADMIN"], |item| {
                        ["/name", "/create_service", "/admin"].map(|at| cell(item, at)).to_vec()
                    })
            }
            Self::Set {
                group,
                create_service,
                admin,
            } => {
                let mut body = Map::new();
                for (name, value) in [("create_service", create_service), ("admin", admin)] {
                    if let Some(value) = value {
                        body.insert(name.to_owned(), Value::Bool(value));
                    }
                }
                something(&body)?;
                let changed = desk.server.patch(&["groups", &group], &[], &body.into()).await?.body;
                desk.out.done(&changed, &format!("changed group {group}"))
            }
            Self::Members { group } => {
                let items = desk
                    .server
                    .list(&["groups", &group, "members"], &[], usize::MAX)
                    .await?;
                let row = |item: &Value| vec![cell(item, "/name"), cell(item, "/kind")];
                desk.out.list(&items, &["NAME", "KIND"], row)
            }
            Self::Add(Members { group, accounts }) => {
                for account in &accounts {
                    desk.server.put(&["groups", &group, "members", account], None).await?;
                }
                desk.out
                    .done(&Value::Null, &format!("added {} to group {group}", accounts.join(", ")))
            }
            Self::Remove(Members { group, accounts }) => {
                for account in &accounts {
                    desk.server.delete(&["groups", &group, "members", account]).await?;
                }
                desk.out.done(
                    &Value::Null,
                    &format!("removed {} from group {group}", accounts.join(", ")),
                )
            }
            Self::Delete { group } => {
                desk.server.delete(&["groups", &group]).await?;
                desk.out.done(&Value::Null, &format!("deleted group {group}"))
            }
        }
    }
}

impl ServiceAccount {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        const KIND: &str = "service-accounts";
        match self {
            Self::Create { name, description } => {
                let mut body = Map::new();
                put(&mut body, "name", Some(&name));
                put(&mut body, "description", description);
                let made = desk.server.post(&[KIND], &[], Some(&body.into())).await?.body;
                desk.out.done(&made, &format!("created service account {name}"))
            }
            Self::List => {
                let items = desk.server.list(&[KIND], &[], usize::MAX).await?;
                desk.out
                    .list(&items, &["NAME", "DESCRIPTION", "DISABLED", "GROUPS"], |item| {
                        ["/name", "/description", "/disabled", "/groups"]
                            .map(|at| cell(item, at))
                            .to_vec()
                    })
            }
            Self::Token { account, token } => token.make(desk, &[KIND, &account, "tokens"]).await,
            Self::Tokens { account } => tokens(desk, &[KIND, &account, "tokens"]).await,
            Self::RevokeToken { account, token } => revoke(desk, &[KIND, &account, "tokens", &token], &token).await,
            Self::Delete { account } => {
                desk.server.delete(&[KIND, &account]).await?;
                desk.out
                    .done(&Value::Null, &format!("deleted service account {account}"))
            }
        }
    }
}
