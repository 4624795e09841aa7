//! The client commands of `castoff`, thin over REST: what a command does, curl could do.
//!
//! Apart, because they know the server by its API alone and share no type with it. A secret never stands on a command
//! line: keys, tokens and passwords come by file, by standard input or by the environment of the process.

mod account;
mod advice;
mod ask;
mod client;
mod cluster_settings;
mod credentials;
mod declare;
mod deploy;
mod deployment;
mod events;
mod failure;
mod infra;
mod key_bounds;
mod keys;
mod logs;
mod manifest;
mod output;
mod pack;
mod probe;
mod query;
mod service;
mod session;
mod span;
mod suggestion;
mod table;
mod token;
mod upgrade;
mod version;
mod wait;

#[cfg(test)]
mod tests;

pub use advice::advise;
pub use failure::AFTER_HELP;
pub use output::Format;

use clap::{Args, Subcommand};
use client::{Client, Proof};
use failure::Failure;
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;

/// What every client command understands.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Client options")]
pub struct Globals {
    /// The server [default: the one logged in to, else http://127.0.0.1:8400]
    #[arg(long, global = true, env = "CASTOFF_URL", value_name = "URL")]
    url: Option<String>,

    /// A file with an access token; or set CASTOFF_TOKEN to the token itself
    #[arg(long, global = true, env = "CASTOFF_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// How results are shown
    #[arg(short, long, global = true, env = "CASTOFF_OUTPUT", value_enum, default_value_t)]
    output: Format,

    /// No remarks, no progress: results and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// The client commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Log in with a password; keeps an access token for this account on this machine
    Login(session::Login),
    /// Take back the token of this machine's login
    #[command(after_help = "Example:\n  castoff logout")]
    Logout,
    /// Who the server takes you for
    #[command(after_help = "Example:\n  castoff whoami")]
    Whoami,
    /// Services: what can be deployed
    #[command(
        subcommand,
        visible_alias = "services",
        after_help = "Examples:\n  castoff service create iris\n  castoff service grant iris devops read deploy"
    )]
    Service(service::Command),
    /// Versions of a service: the packages
    #[command(
        subcommand,
        visible_alias = "versions",
        after_help = "Example:\n  castoff version push iris v1 iris.onnx"
    )]
    Version(version::Command),
    /// Infrastructures: where deployments run
    #[command(
        subcommand,
        visible_alias = "infrastructure",
        after_help = "Examples:\n  castoff infra create dev --kind local --stage dev\n  castoff infra grant dev data-scientists deploy"
    )]
    Infra(infra::Command),
    /// Bring a version of a service to an infrastructure
    Deploy(deploy::Deploy),
    /// Bring the server to what files of YAML say
    Apply(declare::Apply),
    /// Show what `apply` would do, and whether you may
    Plan(declare::Plan),
    /// Write what is there as YAML for `apply`
    Export(declare::Export),
    /// How the deployments are, or one of them with its nodes
    Status(deployment::Status),
    /// Deployments: switch on and off, roll back, delete
    #[command(
        subcommand,
        visible_alias = "deployments",
        after_help = "Examples:\n  castoff deployment history iris-on-dev\n  castoff deployment rollback iris-on-dev --to 1"
    )]
    Deployment(deployment::Command),
    /// What the nodes of a deployment log
    Logs(logs::Logs),
    /// What happens to deployments, as it happens
    Events(events::Events),
    /// The keys that open a deployment or a service
    #[command(
        subcommand,
        visible_alias = "key",
        after_help = "Examples:\n  castoff keys create web-shop --deployment iris-on-dev --save key.txt\n  castoff keys revoke web-shop --deployment iris-on-dev"
    )]
    Keys(keys::Command),
    /// Call a deployment with a key
    Query(query::Query),
    /// Ask whether you may do something, and why
    CanI(ask::CanI),
    /// How to call a deployment from a program
    Sample(deployment::Sample),
    /// Who changed what
    Audit(ask::Audit),
    /// Users (for platform admins)
    #[command(
        subcommand,
        visible_alias = "users",
        after_help = "Example:\n  castoff user create dana"
    )]
    User(account::User),
    /// Groups and their members (for platform admins)
    #[command(
        subcommand,
        visible_alias = "groups",
        after_help = "Examples:\n  castoff group create data-scientists --create-service\n  castoff group add data-scientists dana"
    )]
    Group(account::Group),
    /// Accounts of programs (for platform admins)
    #[command(
        subcommand,
        visible_alias = "service-accounts",
        after_help = "Examples:\n  castoff service-account create ci\n  castoff service-account token ci github --save token.txt"
    )]
    ServiceAccount(account::ServiceAccount),
    /// Your own access tokens
    #[command(
        subcommand,
        visible_alias = "tokens",
        after_help = "Example:\n  castoff token create notebook --save token.txt"
    )]
    Token(token::Command),
    Probe(probe::Probe),
    /// Print a script that completes commands in a shell
    #[command(after_help = "Example:\n  castoff completion bash > ~/.local/share/bash-completion/completions/castoff")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What a command works with: the server and where to print.
#[derive(Debug)]
struct Desk {
    server: Client,
    /// The server's address, as given.
    url: String,
    out: Output,
}

/// Runs a client command. `whole` makes the description of the whole program, for the completion.
pub async fn run(command: Command, globals: Globals, whole: fn() -> clap::Command) -> ExitCode {
    match dispatch(command, globals, whole).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.lines().iter().for_each(|line| output::complain(line));
            ExitCode::from(failure.code())
        }
    }
}

async fn dispatch(command: Command, globals: Globals, whole: fn() -> clap::Command) -> Result<(), Failure> {
    let out = Output::new(globals.output, globals.quiet);
    if let Command::Completion { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut whole(), "castoff", &mut script);
        return out.text(&String::from_utf8_lossy(&script));
    }
    let (url, token) = credentials::choose(globals.url.as_deref(), globals.token_file.as_deref())?;
    let proof = token.map_or(Proof::None, Proof::Token);
    let server = Client::new(&format!("{url}/api/v1"), proof)?;
    if server.unprotected() {
        out.note(&format!(
            "warning: what goes to {url} can be read on the way; use https"
        ));
    }
    let desk = Desk { server, url, out };
    let mut done = desk.run(command).await;
    if let Err(failure) = &mut done {
        suggestion::add(&desk.server, failure).await;
    }
    done
}

impl Desk {
    async fn run(&self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Login(login) => login.run(self).await,
            Command::Logout => session::logout(self).await,
            Command::Whoami => session::whoami(self).await,
            Command::Service(command) => command.run(self).await,
            Command::Version(command) => command.run(self).await,
            Command::Infra(command) => command.run(self).await,
            Command::Deploy(deploy) => deploy.run(self).await,
            Command::Apply(apply) => apply.run(self).await,
            Command::Plan(plan) => plan.run(self).await,
            Command::Export(export) => export.run(self).await,
            Command::Status(status) => status.run(self).await,
            Command::Deployment(command) => command.run(self).await,
            Command::Logs(logs) => logs.run(self).await,
            Command::Events(events) => events.run(self).await,
            Command::Keys(command) => command.run(self).await,
            Command::Query(query) => query.run(self).await,
            Command::CanI(can_i) => can_i.run(self).await,
            Command::Sample(sample) => sample.run(self).await,
            Command::Audit(audit) => audit.run(self).await,
            Command::User(command) => command.run(self).await,
            Command::Group(command) => command.run(self).await,
            Command::ServiceAccount(command) => command.run(self).await,
            Command::Token(command) => command.run(self).await,
            Command::Probe(probe) => probe.run(self).await,
            Command::Completion { .. } => Ok(()),
        }
    }
}
