//! Infrastructures of kind kubernetes, on a real cluster.

mod admitted;
mod alone;
mod chart;
mod drained;
mod edits;
mod exposure;
mod forbidden;
mod frozen;
mod images;
mod in_flight;
mod kills;
mod life;
mod load;
mod logs;
mod many;
mod moved;
mod objects;
mod scaling;
mod silence;
mod stages;
mod status;
mod strangers;
mod templates;
mod test_queries;
mod throttled;
mod tokens;
mod troubles;
mod two;
mod upgrades;
mod walls;

use acceptance::edge::Key;
use acceptance::harbour::{Harbour, arguments, small};
use acceptance::{Request, models};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The cluster without nodes for one test alone, which may end its programs or define kinds there.
fn second_alone() -> MutexGuard<'static, ()> {
    static SECOND: Mutex<()> = Mutex::new(());
    SECOND.lock().unwrap_or_else(PoisonError::into_inner)
}

fn call(url: &str, key: Option<&Key>) -> u16 {
    let mut request = Request::post(format!("{url}/public/api/v1/iris/iris/predict")).json(&models::setosa());
    if let Some(key) = key {
        request = request.header("x-api-key", &key.key);
    }
    request.try_send().map_or(0, |answer| answer.status)
}
