// SPDX-License-Identifier: EUPL-1.2
//! Compiled conditions of a route. All given ones must hold; within a list, any of its values.

use std::sync::Arc;

use kop_core::{Diagnostic, Eingang};
use kop_mapping::{Condition, JsonPath, RunInput, Tables};

use crate::config::WennDatei;

/// When a route takes a submission.
#[derive(Debug, Default)]
pub struct RouteCondition {
    /// The lists as they are configured.
    pub wenn: WennDatei,
    /// The compiled JSONPath.
    pub(crate) jsonpath: Option<JsonPath>,
    /// The compiled expression and the parameters it may ask for.
    pub(crate) expression: Option<(Condition, Arc<std::collections::BTreeMap<String, String>>)>,
}

impl RouteCondition {
    /// Whether it always holds.
    pub fn is_always(&self) -> bool {
        self.wenn == WennDatei::default()
    }

    pub(crate) fn holds(
        &self,
        eingang: &Arc<Eingang>,
        document: &serde_json::Value,
    ) -> Result<bool, Vec<Diagnostic>> {
        let kopf = &eingang.kopf;
        let authority = &eingang.zustaendige_stelle;
        let wenn = &self.wenn;
        let one_of = |list: &[String], value: Option<&String>| {
            list.is_empty() || value.is_some_and(|value| list.contains(value))
        };
        let lists = one_of(&wenn.quelle, Some(&kopf.quelle))
            && one_of(&wenn.formular, kopf.formular_id.as_ref())
            && one_of(&wenn.organisationseinheit, authority.organisationseinheit.as_ref())
            && one_of(&wenn.ags, authority.ags.as_ref())
            && one_of(&wenn.ars, authority.ars.as_ref())
            && (wenn.leistung.is_empty()
                || kopf.leistungsschluessel.iter().any(|key| wenn.leistung.contains(key)));
        if !lists || self.jsonpath.as_ref().is_some_and(|path| !path.matches(document)) {
            return Ok(false);
        }
        let Some((condition, parameters)) = &self.expression else { return Ok(true) };
        condition.holds(RunInput {
            eingang: eingang.clone(),
            tables: Arc::new(Tables::new()),
            parameters: parameters.clone(),
            // The submission's own moment, so that the same submission takes the same route tomorrow.
            now: kopf.eingangszeitpunkt,
        })
    }
}
