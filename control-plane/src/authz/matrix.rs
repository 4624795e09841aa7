//! The table as text, for people who do not read rules: `policies/matrix.txt`, committed and compared.

use super::action::{Action, Half};
use super::privilege::{Role, Roles};
use super::table::DecisionTable;
use std::fmt::Write;

const HEAD: &str = "\
Who may do what. Written by a test from model.conf and builtin.csv: see README.md.

A column is somebody who holds this one privilege and no other. What is not \"yes\" is denied.
Whoever may not see a thing is told that it is not there; whoever may see it is told what is missing.
";

fn says(action: Action) -> &'static str {
    match action {
        Action::SeeService => "see a service and its versions",
        Action::ListServiceKeys => "list its API keys, masked",
        Action::WriteVersions => "upload, download, delete versions",
        Action::AdministerService => "settings, grants, keys; delete it",
        Action::SeeInfrastructure => "see an infrastructure",
        Action::AdministerInfrastructure => "settings, grants; delete it",
        Action::SeeDeployment => "See a deployment, its status, nodes, logs, history, sample code, its keys masked",
        Action::ChangeDeployment => {
            "Create, change, enable, disable, roll back, delete a deployment; its keys; test queries"
        }
        Action::CreateService => "create services",
        Action::AdministerPlatform => "users, groups, members, service accounts; create infrastructures",
    }
}

fn on(half: Half) -> impl Iterator<Item = Option<Role>> {
    let of_half = Role::ALL.into_iter().filter(move |role| role.half() == half).map(Some);
    let admin = Some(Some(Role::PlatformAdmin)).filter(|_| half != Half::Platform);
    [None].into_iter().chain(of_half).chain(admin)
}

fn head(role: Option<Role>) -> &'static str {
    match role {
        None => "nothing",
        Some(Role::PlatformAdmin) => "platform admin",
        Some(role) => role.word(),
    }
}

/// One line: its start, then each cell as wide as the head above it.
fn line<'a>(
    text: &mut String,
    start: &str,
    heads: impl Iterator<Item = Option<Role>>,
    cells: impl Iterator<Item = &'a str>,
) {
    let cells = heads
        .zip(cells)
        .map(|(role, cell)| format!("{cell:<width$}", width = head(role).len().max(8) + 2));
    let _ = writeln!(
        text,
        "{}",
        format!("{start:<28}{}", cells.collect::<String>()).trim_end()
    );
}

fn render(table: &DecisionTable) -> String {
    let yes = |may: bool| if may { "yes" } else { "-" };
    let may = |action, held: &[Option<Role>]| {
        let held: Vec<_> = held.iter().copied().flatten().collect();
        yes(table.permits(action, Roles::of(&held)))
    };
    let mut text = HEAD.to_owned();
    for half in [Half::Service, Half::Infrastructure, Half::Platform] {
        let _ = writeln!(
            text,
            "\n\nWith a privilege on {}",
            super::table::place(half, None, None)
        );
        text.push('\n');
        line(&mut text, "", on(half), on(half).map(head));
        for action in Action::ALL.into_iter().filter(|action| action.halves() == [half]) {
            line(
                &mut text,
                action.name(),
                on(half),
                on(half).map(|role| may(action, &[role])),
            );
            let _ = writeln!(text, "  {}", says(action));
        }
    }
    for action in Action::ALL.into_iter().filter(|action| action.is_conjunction()) {
        let _ = writeln!(text, "\n\n{} ({})", says(action), action.name());
        text.push_str("Needs both: a privilege on its service (down) and one on its infrastructure (across).\n\n");
        let across = || on(Half::Infrastructure);
        line(&mut text, "", across(), across().map(head));
        for row in on(Half::Service) {
            line(
                &mut text,
                head(row),
                across(),
                across().map(|column| may(action, &[row, column])),
            );
        }
    }
    text
}

/// The committed matrix is what the rules say. `CASTOFF_UPDATE=1` writes it.
#[tokio::test]
async fn the_committed_matrix_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/matrix.txt");
    let text = render(&super::load_builtin().await.unwrap());
    if std::env::var_os("CASTOFF_UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "policies/matrix.txt is not current: run CASTOFF_UPDATE=1 cargo test matrix"
    );
}
