//! Sees to it that the durable copy is what this node obeys: written, written again when it could not be, and put right
//! when somebody else has changed it.
//!
//! Apart from [`apply`](super::apply), which decides what is in force, and from [`copy`](super::copy), which knows how it
//! lies on disk. The rule a newcomer would break: what could not be written is no reason to serve something older; it
//! is said, and it is not acknowledged.

use super::copy::{DurableCopy, Traces};
use super::durable::on_disk;
use super::overlay::Overlay;
use castoff_wire::proto::Signed;
use std::io;

/// The keeper of one durable copy. Nobody else writes there while it lives.
pub struct Keeper {
    copy: DurableCopy,
    /// What it left behind when it wrote last; nothing when that failed, or before the first time.
    traces: Option<Traces>,
    trouble: Option<String>,
}

impl Keeper {
    /// A keeper of what lies there.
    pub fn new(copy: DurableCopy) -> Self {
        Self {
            copy,
            traces: None,
            trouble: None,
        }
    }

    /// Why the copy is not what it should be, in one line.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Keeps a config, the offer beside it, and revocations. Whether it is on disk now.
    pub async fn keep(&mut self, config: Signed, offered: Option<Signed>, overlay: Overlay) -> bool {
        self.write(move |copy| copy.keep(&config, offered.as_ref(), &overlay))
            .await
    }

    /// Keeps an offer and revocations.
    pub async fn keep_offered(&mut self, offered: Signed, overlay: Overlay) -> bool {
        self.write(move |copy| copy.keep_offered(&offered, &overlay)).await
    }

    /// Keeps revocations.
    pub async fn keep_overlay(&mut self, overlay: Overlay) -> bool {
        self.write(move |copy| copy.keep_overlay(&overlay)).await
    }

    /// Forgets the offer.
    pub async fn drop_offered(&mut self) -> bool {
        self.write(|copy| copy.drop_offered()).await
    }

    /// Whether somebody else has written since.
    pub async fn is_touched(&self) -> bool {
        let Some(traces) = self.traces.clone() else {
            return false;
        };
        let copy = self.copy.clone();
        on_disk(move || Ok(copy.traces() != traces)).await.unwrap_or(false)
    }

    async fn write(&mut self, write: impl FnOnce(&DurableCopy) -> io::Result<()> + Send + 'static) -> bool {
        let copy = self.copy.clone();
        let written = on_disk(move || write(&copy).map(|()| copy.traces())).await;
        match written {
            Ok(traces) => {
                self.traces = Some(traces);
                if self.trouble.take().is_some() {
                    tracing::info!("the durable copy is written again");
                }
                true
            }
            Err(error) => {
                self.traces = None;
                let trouble = format!("the durable copy cannot be written: {error}");
                // Once: it is tried again and again.
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(trouble, "the control plane is not told that the config is in force");
                }
                self.trouble = Some(trouble);
                false
            }
        }
    }
}
