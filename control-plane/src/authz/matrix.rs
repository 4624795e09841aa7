//! The table as text, to be reviewed by people: `policies/matrix.txt`.

#[cfg(test)]
mod tests {
    use crate::authz::action::Action;
    use crate::authz::privilege::{Role, Roles};
    use crate::authz::table::DecisionTable;
    use std::fmt::Write;

    fn render(table: &DecisionTable) -> String {
        let mut text = String::from("Who may do what. Generated from builtin.csv: see README.md.\n\n");
        let singles = Action::ALL.into_iter().filter(|action| !action.is_conjunction());
        let _ = writeln!(text, "One privilege is enough:\n");
        for action in singles {
            let enough: Vec<_> = Role::ALL
                .into_iter()
                .filter(|role| table.permits(action, Roles::of(&[*role])))
                .map(Role::name)
                .collect();
            let _ = writeln!(text, "{:<26}{}", action.name(), enough.join("  "));
        }
        let columns = [
            None,
            Some(Role::InfrastructureView),
            Some(Role::InfrastructureDeploy),
            Some(Role::InfrastructureAdmin),
        ];
        for action in Action::ALL.into_iter().filter(|action| action.is_conjunction()) {
            let _ = writeln!(
                text,
                "\n{}: on the service (rows) and on the infrastructure (columns):\n",
                action.name()
            );
            let head: Vec<_> = columns.iter().map(|role| role.map_or("nothing", Role::word)).collect();
            let _ = writeln!(
                text,
                "{:<26}{}",
                "",
                head.iter()
                    .map(|word| format!("{word:<10}"))
                    .collect::<String>()
                    .trim_end()
            );
            for row in [
                None,
                Some(Role::ServiceRead),
                Some(Role::ServiceWrite),
                Some(Role::ServiceDeploy),
                Some(Role::ServiceAdmin),
                Some(Role::ServiceOwner),
                Some(Role::PlatformAdmin),
            ] {
                let cells: String = columns
                    .iter()
                    .map(|column| {
                        let held: Vec<_> = [row, *column].into_iter().flatten().collect();
                        let may = table.permits(action, Roles::of(&held));
                        format!("{:<10}", if may { "yes" } else { "-" })
                    })
                    .collect();
                let _ = writeln!(text, "{:<26}{}", row.map_or("nothing", Role::name), cells.trim_end());
            }
        }
        text
    }

    /// The committed matrix is what the rules say. `CASTOFF_UPDATE=1` writes it.
    #[tokio::test]
    async fn the_committed_matrix_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/matrix.txt");
        let text = render(&crate::authz::load_builtin().await.unwrap());
        if std::env::var_os("CASTOFF_UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == text,
            "policies/matrix.txt is not current: run CASTOFF_UPDATE=1 cargo test matrix"
        );
    }
}
