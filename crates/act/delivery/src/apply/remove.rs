//! Taking a service down. Data goes only when a person said so.

use flow::{StepCall, StepError};
use serde_json::{Value, json};
use state::{Commit, Key, Precondition, Put};

use super::{Applier, Input, failed, input};
use crate::{
    books::{Versioned, draft},
    reconcile::start::data_directory,
    record::{self, ServiceRecord, Work},
};

impl Applier {
    pub(super) async fn remove(&self, call: StepCall) -> Result<Value, StepError> {
        let input: Input = input(&call)?;
        let Work::Remove { name, delete_data, .. } = &input.work else {
            return Err(StepError::fatal("not a removal"));
        };
        let ctx = Self::ctx(&call, &input.cause);
        let found: Option<Versioned<ServiceRecord>> =
            self.books.get(&ctx.scope, record::SERVICE, name).await.map_err(failed)?;
        let Some(found) = found else { return Ok(Value::Null) };
        if !found.body.removing {
            self.books
                .change_service(&ctx, name, |record| {
                    let body = json!({"before": {"release": record.release}, "delete_data": delete_data});
                    let entry = draft(
                        &ctx,
                        "service.removing",
                        record.entity.as_str(),
                        format!("`{name}` is taken down"),
                        body,
                    );
                    record.removing = true;
                    Ok(Some(entry))
                })
                .await
                .map_err(failed)?;
        }
        self.note(&call, "stopping");
        self.wait_for(&call, name, |now| match now {
            Some(now) => (now.record.removing && now.ids.is_empty()).then_some(Ok(())),
            None => Some(Ok(())),
        })
        .await?;
        if *delete_data {
            self.note(&call, "deleting data");
            let directory = data_directory(&self.ports, &ctx.scope, name);
            self.ports
                .tasks
                .blocking("delete data", move || delete(&directory))
                .await
                .map_err(|error| StepError::retryable(error.to_string()))?
                .map_err(|error| StepError::retryable(format!("data could not be deleted: {error}")))?;
        }
        self.finish_removal(&call, &input, name, *delete_data).await
    }

    /// A platform service keeps its record while it keeps its data: port, user and credentials are
    /// needed to bring it back.
    async fn finish_removal(
        &self,
        call: &StepCall,
        input: &Input,
        name: &str,
        delete_data: bool,
    ) -> Result<Value, StepError> {
        let ctx = Self::ctx(call, &input.cause);
        let found: Option<Versioned<ServiceRecord>> =
            self.books.get(&ctx.scope, record::SERVICE, name).await.map_err(failed)?;
        let Some(found) = found else { return Ok(Value::Null) };
        let mut record = found.body;
        let key = Key::new(&ctx.scope, record::SERVICE, name);
        let why = if delete_data {
            format!("`{name}` was taken down, its data deleted")
        } else {
            format!("`{name}` was taken down")
        };
        let body = json!({"definition": record.definition, "data_deleted": delete_data});
        let entry = draft(&ctx, "service.removed", record.entity.as_str(), why, body);
        let mut puts: Vec<Put> = self.unbind(&ctx, name).await?;
        if record.is_platform_service() && !delete_data {
            record.release = None;
            record.removing = false;
            record.changed_by = Some(entry.id.clone());
            puts.push(crate::books::put_service(&ctx.scope, &record));
        } else {
            puts.push(Put::Remove(key.clone()));
            for release in self.books.releases(&ctx.scope, name).await.map_err(failed)? {
                puts.push(Put::Remove(Key::new(&ctx.scope, record::RELEASE, release.id.as_str())));
                let unpinned = self.ports.secrets.unpin(ctx.clone(), release.id).await;
                unpinned.map_err(|error| StepError::from_fault(&error))?;
            }
        }
        let commit = Commit {
            preconditions: vec![Precondition::Version(key, found.version)],
            puts,
            entries: vec![entry],
            ..Commit::default()
        };
        self.books.commit(commit).await.map_err(failed)?;
        self.shared.wake();
        Ok(Value::Null)
    }
}

/// Deletes a directory; one that is not there is fine. Links in it are removed, never followed.
fn delete(directory: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
