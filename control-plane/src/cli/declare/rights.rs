//! Whether the caller may do the steps of a plan: the server is asked once for each deed and place.

use super::step::{Question, Step, Verdict};
use crate::cli::Desk;
use crate::cli::failure::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Puts the server's word into every step that is still open.
pub(super) async fn settle(desk: &Desk, steps: &mut [Step]) -> Result<(), Failure> {
    let mut known: BTreeMap<Question, Verdict> = BTreeMap::new();
    for step in steps {
        let Verdict::Ask(question) = &step.verdict else {
            continue;
        };
        let verdict = match known.get(question) {
            Some(verdict) => verdict.clone(),
            None => {
                let verdict = ask(desk, question).await?;
                known.insert(question.clone(), verdict.clone());
                verdict
            }
        };
        step.verdict = verdict;
    }
    Ok(())
}

async fn ask(desk: &Desk, question: &Question) -> Result<Verdict, Failure> {
    let mut query = vec![("action", question.action)];
    query.extend(question.service.as_deref().map(|service| ("service", service)));
    query.extend(question.infrastructure.as_deref().map(|name| ("infrastructure", name)));
    match desk.server.get(&["can-i"], &query).await {
        Ok(mut answer) if question.lacks.is_some() => {
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("missing".to_owned(), json!([question.lacks]));
            }
            Ok(Verdict::Forbidden(answer))
        }
        Ok(answer) if answer.get("allowed") == Some(&Value::Bool(true)) => Ok(Verdict::Allowed),
        Ok(answer) => Ok(Verdict::Forbidden(answer)),
        // What was there a moment ago, and is not seen any more.
        Err(failure) if failure.status() == Some(422) => {
            let lines = failure.lines();
            let text: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            Ok(Verdict::Impossible(text.join(" ")))
        }
        Err(failure) => Err(failure),
    }
}
