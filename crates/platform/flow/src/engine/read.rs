//! Reading flows: truth is the journal, so any engine can answer.

use std::collections::HashMap;

use base::{Ctx, id::FlowId};
use state::{Page, Scan};

use super::{Engine, load};
use crate::{
    Error, Question, Result, Status, StepStatus, Summary,
    record::{FLOW, Header, STEP, StepRecord, asking_term, flow_key, open_term},
};

/// Which flows to list, in order of their start.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Unfinished or ended ones only.
    pub open: Option<bool>,
    /// From [`Page::next`].
    pub after: Option<String>,
    /// At most [`Scan::LIMIT_MAX`]; zero means that many.
    pub limit: usize,
}

impl Engine {
    /// A flow without its steps.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unreadable`], [`Error::State`].
    pub async fn summary(&self, ctx: &Ctx, flow: &FlowId) -> Result<Summary> {
        let stored = self.inner.state.get(flow_key(&ctx.scope, flow)).await?;
        let stored = stored.ok_or_else(|| Error::NotFound { flow: flow.clone() })?;
        Ok(Summary::of(&ctx.scope, flow, &load::decode::<Header>(&stored)?))
    }

    /// A flow with all its steps. Steps may be a commit ahead of the flow's own state.
    ///
    /// # Errors
    /// As [`Engine::summary`].
    pub async fn status(&self, ctx: &Ctx, flow: &FlowId) -> Result<Status> {
        let summary = self.summary(ctx, flow).await?;
        let definition = load::definition(&self.inner, &ctx.scope, flow).await?;
        let found = load::steps(&self.inner, &ctx.scope, flow).await?;
        let mut records: HashMap<String, StepRecord> =
            found.into_iter().map(|(name, record, _)| (name, record)).collect();
        let step = definition
            .steps
            .iter()
            .map(|step| StepStatus::of(&step.name, records.remove(&step.name).unwrap_or_default()));
        Ok(Status { summary, step: step.collect() })
    }

    /// The flows of the context's scope.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::State`].
    pub async fn list(&self, ctx: &Ctx, query: ListQuery) -> Result<Page<Summary>> {
        let limit = if query.limit == 0 { Scan::LIMIT_MAX } else { query.limit };
        let term = query.open.map(open_term);
        let scan = Scan { after: query.after, limit, term, ..Scan::of(&ctx.scope, FLOW) };
        let page = self.inner.state.scan(scan).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for stored in &page.items {
            if let Ok(flow) = FlowId::parse(&stored.key.id) {
                items.push(Summary::of(&ctx.scope, &flow, &load::decode::<Header>(stored)?));
            }
        }
        Ok(Page { items, next: page.next })
    }

    /// What people are asked in the context's scope, first page of at most [`Scan::LIMIT_MAX`].
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::State`].
    pub async fn questions(&self, ctx: &Ctx) -> Result<Vec<Question>> {
        let scan = Scan { term: Some(asking_term()), ..Scan::of(&ctx.scope, STEP) };
        let page = self.inner.state.scan(scan).await?;
        let mut questions = Vec::new();
        for stored in &page.items {
            let record: StepRecord = load::decode(stored)?;
            let Some((flow, step)) = stored.key.id.split_once('/') else { continue };
            if let (Ok(flow), Some(ask)) = (FlowId::parse(flow), record.ask) {
                questions.push(Question { scope: ctx.scope.clone(), flow, step: step.to_owned(), ask });
            }
        }
        Ok(questions)
    }
}
