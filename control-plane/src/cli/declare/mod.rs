//! Declarative use: files say what there should be, `plan` what that would change, `apply` does it, and `export` writes
//! what there is as such files.
//!
//! Apart from the commands that do one thing each. Files are read and judged before the server is asked anything; what is
//! to be done is decided in one piece, by pure code, before anything is done; and it is all or nothing in one respect: a
//! plan with a step that the caller may not do, or that cannot be, is not begun.

mod act;
mod deployment_steps;
mod desired;
mod difference;
mod export;
mod infrastructure_steps;
mod key_steps;
mod local;
mod plan;
#[cfg(test)]
mod plan_tests;
mod reader;
mod rights;
mod schema;
mod sources;
mod state;
mod step;
mod yaml;

pub use export::Export;

use super::Desk;
use super::failure::Failure;
use super::output::complain;
use super::span::Span;
use super::wait;
use super::{suggestion, table};
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use step::{Step, Verdict};

/// What is to be sent so that settings are as wanted; none when they are. Of these the API takes the whole.
pub(super) fn changed(wanted: &Map<String, Value>, there: &Value, whole: &[&str]) -> Option<Map<String, Value>> {
    let changes = difference::between(wanted, there);
    (!changes.is_empty()).then(|| difference::patch(wanted, there, whole, &changes))
}

/// What is declared, and whether the rest goes.
#[derive(Args, Debug)]
pub struct Files {
    /// A file of YAML, a folder of them (.yaml, .yml, not what lies deeper), or - for standard input; several are read as one
    #[arg(short, long = "file", value_name = "FILE|FOLDER|-", required = true)]
    file: Vec<PathBuf>,
    /// Remove what the files leave out of the lists that they have
    ///
    /// Of a thing with a list `grants`, the grants of other groups; of one with a list `keys`, other keys, which are revoked
    /// first; and deployments that no file names, of services under `services` on infrastructures that the files name, which
    /// are switched off first. Never services, versions or infrastructures. The plan shows what goes
    #[arg(long)]
    prune: bool,
}

/// Show what would be done.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  castoff plan -f castoff.yaml
  castoff plan -f services/ -f prod.yaml --prune --exit-code

Nothing is changed. For each step it says whether you may do it, and if not, what is missing and who can give it.

Exit code 0, also when there is something to do (10 with --exit-code); 4 when there is a step that you may not do, 6 when
there is one that cannot be done as things are, 7 when a file is wrong.")]
pub struct Plan {
    #[command(flatten)]
    files: Files,
    /// Exit code 10 when there is something to do
    #[arg(long)]
    exit_code: bool,
}

/// Do it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  castoff apply -f castoff.yaml
  castoff apply -f castoff.yaml --yes --note 'release 42' --wait 2m

Shows the plan and asks before anything is done. When one step of it is not yours to do, or cannot be done, nothing is.
What is done: services, versions, infrastructures, grants, deployments, keys, then what is pruned. At the first failure it
stops and says what was not done; run again it goes on. Run twice it does nothing the second time.

A file:
  services:
    iris:
      description: Which iris is it
      versions:
        v1: iris.onnx                       # a file or folder, from this file's folder on
      grants:
        devops: [read, deploy]
  deployments:
    iris-on-dev:
      service: iris
      infrastructure: dev
      version: v1
      keys:
        web-shop: {save: web-shop.key}      # a new file for a new key; or {import: FILE}

What a file does not say stays as it is. `castoff export` writes such a file of what there is.")]
pub struct Apply {
    #[command(flatten)]
    files: Files,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Why, for the history of deployments
    #[arg(long)]
    note: Option<String>,
    /// Wait until the deployments that were changed run, so long at most each [when given without a span: 60s]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "60s")]
    wait: Option<Span>,
}

impl Files {
    /// The steps that lead to what the files say, each with whether it may be done.
    async fn steps(&self, desk: &Desk) -> Result<Vec<Step>, Failure> {
        let desired = sources::read(&self.file)?;
        let state = state::State::read(desk, &desired, self.prune).await?;
        let local = local::Local::look(&desired, &state).await?;
        let mut steps = plan::steps(plan::Facts {
            desired: &desired,
            state: &state,
            local: &local,
            prune: self.prune,
        });
        rights::settle(desk, &mut steps).await?;
        Ok(steps)
    }
}

impl Plan {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let steps = self.files.steps(desk).await?;
        if desk.out.json() {
            desk.out.raw(&report(&steps, &[]))?;
        } else {
            show(desk, &steps)?;
        }
        stands(&steps)?;
        match self.exit_code && !steps.is_empty() {
            true => Err(Failure::Differs),
            false => Ok(()),
        }
    }
}

impl Apply {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let steps = self.files.steps(desk).await?;
        if !desk.out.json() {
            show(desk, &steps)?;
        }
        if let Err(failure) = stands(&steps) {
            if desk.out.json() {
                desk.out.raw(&report(&steps, &[]))?;
            }
            complain("nothing was done");
            return Err(failure);
        }
        if !steps.is_empty() {
            self.agree(desk)?;
        }
        let mut acting = act::Acting::new(desk, self.note.as_deref());
        let mut done = Vec::new();
        let mut failed = None;
        for step in &steps {
            if let Err(failure) = acting.act(step).await {
                failed = Some(failure);
                break;
            }
            done.push(step.title());
            if !desk.out.json() {
                desk.out.done(&Value::Null, &format!("done: {}", step.title()))?;
            }
        }
        if desk.out.json() {
            desk.out.raw(&report(&steps, &done))?;
        }
        if let Some(mut failure) = failed {
            suggestion::add(&desk.server, &mut failure).await;
            let left = steps.get(done.len()..).unwrap_or_default();
            complain(&format!(
                "stopped: {} of {} steps are done; not done:",
                done.len(),
                steps.len()
            ));
            left.iter().for_each(|step| complain(&format!("  {}", step.title())));
            complain("the same command goes on where this stopped");
            return Err(failure);
        }
        if let Some(most) = self.wait {
            for (name, wanted) in &acting.to_run {
                wait::until_running(desk, name, *wanted, most).await?;
            }
        }
        Ok(())
    }

    /// Asks on a terminal; elsewhere nobody would answer.
    fn agree(&self, desk: &Desk) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if desk.out.json() {
            let text = "nothing was done: with -o json nobody is asked; give --yes to do what the plan says";
            return Err(Failure::Usage(text.to_owned()));
        }
        let read = self.files.file.iter().any(|file| file == Path::new("-"));
        if read || !std::io::stdin().is_terminal() {
            let text = "nothing was done: there is no terminal to ask; give --yes to do what the plan says";
            return Err(Failure::Usage(text.to_owned()));
        }
        let _ = write!(std::io::stderr().lock(), "Do this? Only yes is taken for yes: ");
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.map_err(|error| Failure::Local(error.to_string()))?;
        match answer.trim() {
            "yes" => Ok(()),
            _ => Err(Failure::Local("nothing was done".to_owned())),
        }
    }
}

fn show(desk: &Desk, steps: &[Step]) -> Result<(), Failure> {
    for line in steps.iter().flat_map(Step::lines) {
        desk.out.line(&line)?;
    }
    desk.out.line(&step::summary(steps))
}

/// Whether all of it can be done. What stands against it is printed already.
fn stands(steps: &[Step]) -> Result<(), Failure> {
    if steps.iter().any(|step| matches!(step.verdict, Verdict::Forbidden(_))) {
        return Err(Failure::Forbidden);
    }
    match steps.iter().filter(|step| !step.stands()).count() {
        0 => Ok(()),
        number => {
            let what = if number == 1 {
                "1 step"
            } else {
                &format!("{number} steps")
            };
            Err(Failure::Conflict(format!(
                "{what} of the plan cannot be done, as marked with !"
            )))
        }
    }
}

/// For programs: the steps, and which of them are done.
fn report(steps: &[Step], done: &[String]) -> Value {
    let each: Vec<Value> = steps.iter().map(Step::json).collect();
    json!({"steps": each, "done": done.len(), "summary": table::printable(&step::summary(steps))})
}
