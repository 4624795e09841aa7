//! Versions of a service.

use super::Desk;
use super::client::Answer;
use super::failure::Failure;
use super::pack;
use super::table::{Table, cell, moment, size};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What can be done with versions.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Upload a version: an .onnx file, a .zip or .tar.gz, or a folder with service.yaml
    #[command(after_help = "Examples:
  castoff version push iris v1 iris.onnx
  castoff version push iris v2 ./iris-package

The same file again is answered with success, another under a name that is taken with exit code 6.")]
    Push {
        /// The service
        service: String,
        /// What to call the version; letters, digits, dots, underscores and hyphens
        version: String,
        /// The file or folder
        package: PathBuf,
    },
    /// The versions of a service
    #[command(visible_alias = "ls", after_help = "Example:\n  castoff version list iris")]
    List {
        /// The service
        service: String,
    },
    /// One version: its digest, its endpoints and what they take
    #[command(after_help = "Example:\n  castoff version show iris v1")]
    Show {
        /// The service
        service: String,
        /// The version
        version: String,
    },
    /// Delete a version that no deployment routes to
    #[command(visible_alias = "rm", after_help = "Example:\n  castoff version delete iris v1")]
    Delete {
        /// The service
        service: String,
        /// The version
        version: String,
    },
}

impl Command {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Push {
                service,
                version,
                package,
            } => push(desk, &service, &version, &package).await,
            Self::List { service } => {
                let items = desk
                    .server
                    .list(&["services", &service, "versions"], &[], usize::MAX)
                    .await?;
                desk.out
                    .list(&items, &["NAME", "SIZE", "ENDPOINTS", "DIGEST", "BY", "CREATED"], row)
            }
            Self::Show { service, version } => {
                let found = desk
                    .server
                    .get(&["services", &service, "versions", &version], &[])
                    .await?;
                desk.out.show(&found, facts)
            }
            Self::Delete { service, version } => {
                desk.server
                    .delete(&["services", &service, "versions", &version])
                    .await?;
                desk.out
                    .done(&Value::Null, &format!("deleted version {version} of {service}"))
            }
        }
    }
}

async fn push(desk: &Desk, service: &str, version: &str, package: &Path) -> Result<(), Failure> {
    let kind = std::fs::metadata(package).map_err(|error| Failure::file(package, &error))?;
    // Asked before much is packed or sent: whoever may not see the service learns it at once.
    desk.server.get(&["services", service], &[]).await?;
    let file = if kind.is_dir() {
        let folder = package.to_owned();
        let packing = tokio::task::spawn_blocking(move || pack::folder(&folder));
        packing.await.map_err(|error| Failure::Local(error.to_string()))??
    } else {
        std::fs::File::open(package).map_err(|error| Failure::file(package, &error))?
    };
    let bytes = file.metadata().map_err(|error| Failure::file(package, &error))?.len();
    let answer = upload(desk, [service, version], file, bytes).await?;
    let what = if answer.status == 201 {
        "uploaded"
    } else {
        "already there, with the same content:"
    };
    let digest = cell(&answer.body, "/digest");
    desk.out.done(
        &answer.body,
        &format!("{what} {service} {version} ({}, {digest})", size(bytes)),
    )?;
    if !desk.out.json() && !desk.out.quiet() {
        desk.out.table(&endpoints(&answer.body))?;
    }
    Ok(())
}

/// Uploads a package of so many bytes as a version of a service, and shows how far it is.
pub(super) async fn upload(
    desk: &Desk,
    [service, version]: [&str; 2],
    file: std::fs::File,
    bytes: u64,
) -> Result<Answer, Failure> {
    let bar = bar(desk, bytes);
    let progress = bar.clone();
    let file = tokio::fs::File::from_std(file);
    let path = ["services", service, "versions", version];
    let answer = desk
        .server
        .upload(&path, file, bytes, move |sent| progress.inc(sent))
        .await;
    bar.finish_and_clear();
    answer
}

fn bar(desk: &Desk, bytes: u64) -> ProgressBar {
    if desk.out.quiet() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    let shape = "{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(shape) {
        bar.set_style(style);
    }
    bar
}

fn row(version: &Value) -> Vec<String> {
    let endpoints = version
        .get("endpoints")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let names: Vec<_> = endpoints.iter().map(|endpoint| cell(endpoint, "/name")).collect();
    // `sha256:` and twelve digits tell versions apart; `show` has them all.
    let digest: String = cell(version, "/digest").chars().take(19).collect();
    vec![
        cell(version, "/name"),
        size(version.get("size").and_then(Value::as_u64).unwrap_or_default()),
        names.join(","),
        digest,
        cell(version, "/created_by"),
        moment(version, "/created_at"),
    ]
}

fn facts(version: &Value) -> Table {
    let mut facts = Table::facts();
    facts.fact("name", cell(version, "/name"));
    facts.fact("digest", cell(version, "/digest"));
    facts.fact(
        "size",
        size(version.get("size").and_then(Value::as_u64).unwrap_or_default()),
    );
    facts.fact("opset", cell(version, "/opset"));
    facts.fact(
        "created",
        format!("{} by {}", moment(version, "/created_at"), cell(version, "/created_by")),
    );
    for endpoint in version.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
        facts.fact(
            "endpoint",
            format!("{} ({})", cell(endpoint, "/name"), cell(endpoint, "/kind")),
        );
        facts.fact("  inputs", tensors(endpoint, "inputs"));
        facts.fact("  outputs", tensors(endpoint, "outputs"));
        facts.fact("  columns", cell(endpoint, "/columns"));
        facts.fact("  labels", cell(endpoint, "/labels"));
        if endpoint.get("max_batch_size").and_then(Value::as_u64) > Some(1) {
            facts.fact("  max batch size", cell(endpoint, "/max_batch_size"));
        }
        if endpoint.pointer("/test_queries/path").is_some() {
            facts.fact("  test queries", cell(endpoint, "/test_queries/path"));
        }
    }
    facts
}

fn endpoints(version: &Value) -> Table {
    let mut table = Table::new(&["ENDPOINT", "KIND", "INPUTS", "OUTPUTS"]);
    for endpoint in version.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
        table.row([
            cell(endpoint, "/name"),
            cell(endpoint, "/kind"),
            tensors(endpoint, "inputs"),
            tensors(endpoint, "outputs"),
        ]);
    }
    table
}

/// `X FP32[-1,4]`, one after the other.
fn tensors(endpoint: &Value, name: &str) -> String {
    let tensor = |one: &Value| {
        format!(
            "{} {}[{}]",
            cell(one, "/name"),
            cell(one, "/datatype"),
            cell(one, "/shape")
        )
    };
    let all = endpoint.get(name).and_then(Value::as_array).into_iter().flatten();
    all.map(tensor).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tensors_read_at_a_glance() {
        let endpoint = json!({"inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "t", "datatype": "BYTES", "shape": [-1]}]});
        assert_eq!(tensors(&endpoint, "inputs"), "X FP32[-1,4], t BYTES[-1]");
        assert_eq!(tensors(&endpoint, "outputs"), "");
    }
}
