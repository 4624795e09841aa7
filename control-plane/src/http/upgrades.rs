//! Moving the deployments of a cluster to what new ones are: the image that they run, the template by which they are made.

use super::input::Json;
use super::output::Answer;
use super::problem::{Kind, Problem};
use super::state::Api;
use crate::authz::Administer;
use crate::domain::kubernetes::{Make, Template};
use crate::domain::{Infrastructure, Invalid};
use crate::store::{Permit, Visible};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// As many as would be looked at in time when they come up wrong.
const MOST_AT_ONCE: usize = 50;

/// How many are moved at a time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUpgrade)]
pub struct UpgradeIn {
    /// 0 to 50; with 0 nothing is moved, and how far all are is said.
    #[schema(maximum = 50)]
    max_parallel: usize,
    /// The template by which pods are to be made; the newest when absent. An earlier one is the way back.
    #[schema(minimum = 1, maximum = 2)]
    template: Option<u32>,
}

/// How far the deployments of an infrastructure have come.
#[derive(Serialize, ToSchema)]
#[schema(as = Upgrade)]
pub struct UpgradeOut {
    /// What they are moved to: the infrastructure's image, else the one that the control plane was started with.
    image: String,
    /// The template that they are moved to.
    template: u32,
    /// All that run pods, or did.
    deployments: usize,
    /// Those that are of another image or template and are not being moved.
    behind: usize,
    /// Those whose pods are being replaced. One keeps its place until all of them are.
    moving: usize,
    /// What hinders those that the caller may see.
    hindered: Vec<HinderedOut>,
}

/// A deployment that cannot go on.
#[derive(Serialize, ToSchema)]
#[schema(as = Hindered)]
pub struct HinderedOut {
    /// The deployment.
    deployment: String,
    /// As its status says.
    message: String,
}

/// Move the next deployments of an infrastructure of kind kubernetes to the image that new ones run and the template by which
/// they are made (what a release of Castoff decides of a pod, beside its settings), so that no more than so many are moved at a
/// time, and say how far all have come. To be asked again until none is behind and none moves.
#[utoipa::path(post, path = "/infrastructures/{infrastructure}/upgrade", tag = "infrastructures", params(("infrastructure" = String, Path)),
    request_body = UpgradeIn, responses((status = 200, body = UpgradeOut)))]
pub async fn upgrade(
    permit: Permit<Administer, Infrastructure>,
    State(api): State<Api>,
    Json(input): Json<UpgradeIn>,
) -> Answer<axum::Json<UpgradeOut>> {
    if input.max_parallel > MOST_AT_ONCE {
        return Err(Invalid::new("/max_parallel", format!("must be 0 to {MOST_AT_ONCE}")).into());
    }
    let Some(settings) = &permit.kubernetes else {
        let why =
            "only infrastructures of kind kubernetes have an image: nodes elsewhere are the program that is there";
        return Err(Problem::new(Kind::Conflict, why));
    };
    let make = Make {
        template: template(input.template)?.number(),
        ..api.clusters.make(settings.image.as_ref())
    };
    let visible = Visible::of(permit.actor(), &api.table);
    let upgrade = api.store.upgrade(&permit, &visible, &make, input.max_parallel).await?;
    let hindered = upgrade.hindered.into_iter();
    Ok(axum::Json(UpgradeOut {
        image: make.image,
        template: make.template,
        deployments: upgrade.deployments,
        behind: upgrade.behind,
        moving: upgrade.moving,
        hindered: hindered
            .map(|(deployment, message)| HinderedOut { deployment, message })
            .collect(),
    }))
}

/// The newest, or another one that this release makes.
fn template(asked: Option<u32>) -> Result<Template, Invalid> {
    let Some(number) = asked else {
        return Ok(Template::NEWEST);
    };
    Template::of(number).ok_or_else(|| {
        let made = Template::ALL.map(|template| template.number().to_string());
        Invalid::new(
            "/template",
            format!("must be what this release makes: {}", made.join(" or ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::PartialSchema;

    #[test]
    fn a_template_is_one_that_is_made_here() {
        assert_eq!(template(None), Ok(Template::NEWEST));
        for one in Template::ALL {
            assert_eq!(template(Some(one.number())), Ok(one));
        }
        let refused = template(Some(Template::NEWEST.number() + 1)).unwrap_err();
        assert!(refused.reason.ends_with("1 or 2"), "{refused:?}");
    }

    #[test]
    fn the_document_names_those_that_are_made() {
        let document = serde_json::to_value(UpgradeIn::schema()).unwrap();
        let said = &document["properties"]["template"];
        let numbers = Template::ALL.map(Template::number);
        assert_eq!(said["minimum"], numbers[0]);
        assert_eq!(said["maximum"], Template::NEWEST.number());
    }
}
