//! Moving an infrastructure's deployments to another image or template: the server does a few at a time, the command asks it
//! to go on.

use super::Desk;
use super::failure::Failure;
use super::span::Span;
use super::table::{Table, cell};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const POLL: Duration = Duration::from_secs(1);

/// Move deployments to the image and template that new ones have, a few at a time.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  castoff infra upgrade prod --max-parallel 0\n  castoff infra upgrade prod --max-parallel 3\n  castoff infra upgrade prod --template 1\n\nWhich image that is: castoff infra set prod --image IMAGE, else the one of the server. The template is how a release of\nCastoff makes pods (probes, volumes, annotations); the newest, unless you name one. An upgrade of Castoff itself replaces\nno pod: castoff status DEPLOYMENT says what waits. Ctrl-C begins no more; the same command goes on."
)]
pub struct Upgrade {
    /// The infrastructure
    infrastructure: String,
    /// So many deployments at a time; 0 moves none and says how far all are
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=50))]
    max_parallel: u32,
    /// The template by which pods are made, to go back to an earlier one; the newest otherwise
    #[arg(long, value_name = "N")]
    template: Option<u32>,
    /// How long to wait for the next one to be through
    #[arg(long, default_value = "10m", value_name = "SPAN")]
    patience: Span,
}

impl Upgrade {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let path = ["infrastructures", self.infrastructure.as_str(), "upgrade"];
        let mut body = json!({"max_parallel": self.max_parallel});
        if let (Some(template), Some(body)) = (self.template, body.as_object_mut()) {
            body.insert("template".to_owned(), template.into());
        }
        let mut before = None;
        let mut since = Instant::now();
        loop {
            let now = desk.server.post(&path, &[], Some(&body)).await?.body;
            let left = ["/behind", "/moving"].map(|at| now.pointer(at).and_then(Value::as_u64).unwrap_or(0));
            if self.max_parallel == 0 || left == [0, 0] {
                return desk.out.show(&now, facts);
            }
            if before != Some(left) {
                desk.out.note(&format!("{} to be moved, {} moving", left[0], left[1]));
                (before, since) = (Some(left), Instant::now());
            }
            if since.elapsed() > self.patience.duration() {
                desk.out.show(&now, facts)?;
                return Err(Failure::Waited(format!(
                    "no deployment was through within {}: castoff status DEPLOYMENT says why; mend it, or set another image (or --template), and type the same again",
                    self.patience.query()
                )));
            }
            sleep(POLL).await;
        }
    }
}

fn facts(upgrade: &Value) -> Table {
    let mut facts = Table::facts();
    for (name, at) in [
        ("image", "/image"),
        ("template", "/template"),
        ("deployments", "/deployments"),
        ("to be moved", "/behind"),
        ("moving", "/moving"),
    ] {
        facts.fact(name, cell(upgrade, at));
    }
    let hindered = upgrade.get("hindered").and_then(Value::as_array);
    for one in hindered.into_iter().flatten() {
        facts.fact(&cell(one, "/deployment"), cell(one, "/message"));
    }
    facts
}
