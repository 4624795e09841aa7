//! A key as it is stored, and as it is meant.

use crate::domain::{ApiKey, KeyPlace, QuotaUse, Time, Title};
use crate::store::entity::api_keys;
use crate::store::error::stored;
use crate::store::services::parse_word;
use crate::store::{Error, json};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) fn key(row: api_keys::Model) -> Result<ApiKey, Error> {
    let place = match (row.service_id, row.deployment_id) {
        (Some(id), None) => KeyPlace::Service(id),
        (None, Some(id)) => KeyPlace::Deployment(id),
        _ => return Err(Error::Unreadable("a key's place")),
    };
    Ok(ApiKey {
        id: row.id,
        place,
        name: stored(Title::parse(&row.name), "a key's name")?,
        class: parse_word(&row.class)?,
        masked: row.masked,
        weak: row.weak,
        endpoints: json::read(&row.endpoints, "a key's endpoints")?,
        created_by_id: row.created_by_id,
        created_by: row.created_by,
        created_at: Time::from_ms(row.created_at),
        not_before: row.not_before.map(Time::from_ms),
        expires_at: row.expires_at.map(Time::from_ms),
        rate_limit: limit(row.rate_limit.as_deref())?,
        quota: limit(row.quota.as_deref())?,
        quota_use: QuotaUse {
            since: row.quota_since.map(Time::from_ms),
            calls: u64::try_from(row.quota_calls).unwrap_or(0),
        },
        used_up_until: row.used_up_until.map(Time::from_ms),
        revoked_at: row.revoked_at.map(Time::from_ms),
        last_used_at: row.last_used_at.map(Time::from_ms),
        calls: u64::try_from(row.calls).unwrap_or(0),
        revision: row.revision,
    })
}

/// A limit of a key, from the JSON that is kept of it.
pub(in crate::store) fn limit<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Error> {
    text.map(|text| json::read(text, "a key's limit")).transpose()
}

/// The JSON that is kept of a limit.
pub(super) fn limit_text<T: Serialize>(limit: Option<T>) -> Result<Option<String>, Error> {
    let text = limit.as_ref().map(serde_json::to_string).transpose();
    stored(text, "a key's limit")
}
