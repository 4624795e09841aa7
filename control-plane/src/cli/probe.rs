//! Whether a control plane works, seen from elsewhere: by whoever has no account there, such as a pod of `helm test`.
//!
//! Apart from the commands that log in. The rule a newcomer would break: it proves and sends nothing of its own, and so may
//! take any certificate.

use super::Desk;
use super::client::{Heard, Stranger};
use super::failure::Failure;
use super::span::Span;
use clap::Args;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const AGAIN: Duration = Duration::from_millis(500);

/// See whether a control plane answers, without an account
#[derive(Args, Debug)]
#[command(after_help = "Example:
  castoff probe --health http://castoff:8402 --nodes https://castoff:8401 --rest https://castoff:8400

Nothing is proven to the other side, and its certificates are not looked at: use it to see that a new installation works.")]
pub struct Probe {
    /// Where its health is: whether it is ready, and its database with it
    #[arg(long, value_name = "URL", required_unless_present_any = ["nodes", "rest"])]
    health: Option<String>,
    /// Where nodes dial it: whether it asks them for their token
    #[arg(long, value_name = "URL")]
    nodes: Option<String>,
    /// Where its REST API is: whether it asks for a login
    #[arg(long, value_name = "URL")]
    rest: Option<String>,
    /// Ask again for so long
    #[arg(long, value_name = "TIME", default_value = "0s")]
    wait: Span,
}

impl Probe {
    pub(super) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let stranger = Stranger::new()?;
        let end = Instant::now() + self.wait.duration();
        let places = [
            (Side::Health, &self.health),
            (Side::Nodes, &self.nodes),
            (Side::Rest, &self.rest),
        ];
        for (side, url) in places {
            let Some(url) = url else { continue };
            loop {
                let heard = match side {
                    Side::Health => stranger.get(url, "/readyz").await,
                    Side::Nodes => stranger.call(url, "/castoff.node.v1.Control/Follow").await,
                    Side::Rest => stranger.get(url, "/api/v1/whoami").await,
                };
                match heard.and_then(|heard| side.judge(url, &heard)) {
                    Ok(fine) => break desk.out.line(&format!("{url}: {fine}"))?,
                    Err(Failure::Unreachable(_)) if Instant::now() < end => sleep(AGAIN).await,
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Health,
    Nodes,
    Rest,
}

impl Side {
    /// What it means, if it is what a control plane says there.
    fn judge(self, url: &str, heard: &Heard) -> Result<&'static str, Failure> {
        // 16 is UNAUTHENTICATED in gRPC.
        match (self, heard.status, heard.grpc_status.as_deref()) {
            (Self::Health, 200, _) if heard.text.trim() == "ready" => Ok("ready, with its database"),
            (Self::Nodes, 200, Some("16")) => Ok("nodes are asked for their token"),
            (Self::Rest, 401, _) if heard.text.contains("\"type\"") => Ok("callers are asked to log in"),
            (Self::Health, 503, _) => Err(Failure::Unreachable(format!(
                "{url} is not ready: {}",
                heard.text.trim()
            ))),
            (_, status, _) => Err(Failure::Unreachable(format!(
                "{url} does not answer as a control plane does there ({status})"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_control_plane_says_is_fine() {
        let heard = |status, grpc: Option<&str>, text: &str| Heard {
            status,
            grpc_status: grpc.map(str::to_owned),
            text: text.to_owned(),
        };
        let problem = "{\"type\":\"about:blank\"}";
        for (side, heard, fine) in [
            (Side::Health, heard(200, None, "ready\n"), true),
            (Side::Health, heard(503, None, "the database does not answer\n"), false),
            (Side::Health, heard(200, None, "<html>"), false),
            (Side::Nodes, heard(200, Some("16"), ""), true),
            (Side::Nodes, heard(200, Some("12"), ""), false),
            (Side::Nodes, heard(200, None, ""), false),
            (Side::Rest, heard(401, None, problem), true),
            (Side::Rest, heard(200, None, problem), false),
            (Side::Rest, heard(401, None, ""), false),
        ] {
            assert_eq!(side.judge("http://c", &heard).is_ok(), fine, "{side:?} {heard:?}");
        }
    }
}
