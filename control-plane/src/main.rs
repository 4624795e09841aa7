//! `castoff`: the control plane, its tools on the machine, and the client commands.

use castoff_control_plane::{admin, app, cli, config};
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Gives back what a burst of log-ins took: the system's allocator keeps 19 MiB of Argon2 for each thread that hashed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deploys ONNX models as protected services
#[derive(Parser)]
#[command(name = "castoff", version, after_help = cli::AFTER_HELP)]
struct Castoff {
    #[command(flatten)]
    globals: cli::Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant)]
enum Command {
    /// Run the control plane
    Serve(config::Serve),
    /// Move the database's schema
    Migrate(admin::Migrate),
    /// Keys with all rights, made on the machine itself
    AdminKey(admin::AdminKey),
    /// The epoch of configs
    Epoch(admin::Epoch),
    /// Delete the Secret of a control plane that is gone, from a pod of its namespace
    #[command(hide = true)]
    ForgetSecret {
        /// As --own-secret
        name: String,
    },
    /// Print the OpenAPI document
    #[command(hide = true)]
    Openapi,
    #[command(flatten)]
    Client(cli::Command),
}

#[tokio::main]
async fn main() -> ExitCode {
    let castoff = Castoff::try_parse().unwrap_or_else(|error| {
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        cli::advise(error, &Castoff::command(), &words.collect::<Vec<_>>()).exit()
    });
    // One provider for every TLS connection of this process. A second call would only say that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match castoff.command {
        Command::Client(command) => return cli::run(command, castoff.globals, Castoff::command).await,
        Command::Serve(serve) => app::serve(serve).await,
        Command::Migrate(migrate) => migrate.run().await,
        Command::AdminKey(key) => key.run().await,
        Command::Epoch(epoch) => epoch.run().await,
        Command::ForgetSecret { name } => forget(&name).await,
        Command::Openapi => {
            print!("{}", castoff_control_plane::http::document_text());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("castoff: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn forget(name: &str) -> Result<(), String> {
    castoff_control_plane::launch::kubernetes::OwnSecret::open(name)?
        .delete()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Castoff::command().debug_assert();
    }

    /// Every command, with what was typed before it.
    fn commands(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        let shown = |sub: &&clap::Command| sub.get_name() != "help" && !sub.is_hide_set();
        for sub in command.get_subcommands().filter(shown) {
            let path = [path, &[sub.get_name().to_owned()]].concat();
            commands(sub, &path, found);
            found.push(path);
        }
    }

    /// What is said of a command line that cannot be read.
    fn refused(words: &[String]) -> String {
        let Err(error) = Castoff::try_parse_from(words) else {
            panic!("{words:?} is a command");
        };
        cli::advise(error, &Castoff::command(), words).to_string()
    }

    #[test]
    fn a_command_that_is_typed_wrongly_says_how_it_is_typed() {
        let mut found = Vec::new();
        commands(&Castoff::command(), &["castoff".to_owned()], &mut found);
        for mut path in found {
            let typed = path.join(" ");
            path.push("--nonsense".to_owned());
            let said = refused(&path);
            assert!(said.contains(&format!("tip: for example: {typed}")), "{typed}: {said}");
        }
        for (typed, tip) in [
            ("castoff login admin", "castoff login --name"),
            ("castoff deploy iris --to dev", "castoff deploy iris v"),
            ("castoff keys create iris-on-dev demo", "castoff keys create"),
            ("castoff rollback iris-on-dev", "castoff deployment rollback"),
            ("castoff delete deployment iris-on-dev", "castoff deployment delete"),
            ("castoff push iris v1 iris.onnx", "castoff version push"),
        ] {
            let words: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            let said = refused(&words);
            assert!(said.contains(&format!("tip: for example: {tip}")), "{typed}: {said}");
        }
        let nowhere = ["castoff", "frobnicate"].map(str::to_owned);
        assert!(!refused(&nowhere).contains("for example"));
    }

    #[test]
    fn a_slip_in_a_command_gets_the_command_as_a_suggestion() {
        let mut found = Vec::new();
        commands(&Castoff::command(), &["castoff".to_owned()], &mut found);
        assert!(found.len() > 60, "{}", found.len());
        for mut path in found {
            let command = path.pop().unwrap();
            // One slip makes a word of three letters another word.
            if command.len() < 4 {
                continue;
            }
            // A letter left out, and the last two exchanged.
            let (start, end) = command.split_at(command.len() - 2);
            let exchanged: String = end.chars().rev().collect();
            let left_out = format!("{}{}", &command[..1], &command[2..]);
            for typed in [format!("{start}{exchanged}"), left_out] {
                if typed == command {
                    continue;
                }
                let words: Vec<String> = path.iter().chain([&typed]).cloned().collect();
                let said = refused(&words);
                let tip = said.lines().find(|line| line.contains("tip:")).unwrap_or_default();
                assert!(tip.contains(&format!("'{command}'")), "{path:?} {typed}: {said}");
                assert!(tip.matches('\'').count() <= 6, "more than three to choose from: {tip}");
            }
        }
    }

    #[test]
    fn every_help_has_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("\n  {path}")),
                "{path} --help has no example of it"
            );
            let shown = |sub: &&clap::Command| sub.get_name() != "help" && !sub.is_hide_set();
            for sub in command.get_subcommands().filter(shown) {
                check(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        check(&Castoff::command(), "castoff");
    }
}
