// SPDX-License-Identifier: EUPL-1.2
//! The example's Bauantrag as one of its messages: mapped, with its head, written and valid.

use std::{path::PathBuf, sync::Arc};

use kop_core::{Diagnostic, Stage, Tree};
use kop_flow::head;
use kop_mapping::{RunInput, RunOutput, Script};
use kop_tenant::Target;
use kop_workshop::case;
use kop_xml::{MessageSchema, WriteOptions, Written};

use crate::{
    Error,
    instance::{Instance, workspace},
};

/// One message and what it was made of.
pub struct Prepared {
    /// The mapping's script.
    pub script: Arc<Script>,
    /// What it got.
    pub input: RunInput,
    /// What it gave.
    pub run: RunOutput,
    /// The same with the head.
    pub whole: Tree,
    /// The message's schema.
    pub schema: Arc<MessageSchema>,
    /// The schema's file.
    pub entry: PathBuf,
    /// How it was written.
    pub options: WriteOptions,
    /// The message.
    pub written: Written,
}

impl Prepared {
    /// Maps the Bauantrag and writes it for a receiver of the example.
    ///
    /// # Errors
    /// When a step fails.
    pub fn new(
        instance: &Instance,
        runtime: &tokio::runtime::Runtime,
        mapping: &str,
        receiver: &str,
    ) -> Result<Self, Error> {
        let said = |problems: Vec<Diagnostic>| -> Error { format!("{problems:#?}").into() };
        let eingang = Arc::new(runtime.block_on(instance.eingang())?);
        let mapping = instance.mapping(mapping)?;
        let generation = instance.generation()?;
        let mut parameters = mapping.parameters.clone();
        parameters.extend(generation.parameters.iter().map(|(name, value)| (name.clone(), value.clone())));
        let input = RunInput {
            eingang,
            tables: mapping.tables.clone(),
            parameters: Arc::new(parameters),
            now: case::moment(),
        };
        let run = instance.host.run_blocking(&mapping.script, input.clone()).map_err(said)?;
        let Target::Xoev { standard, version, root } = &mapping.manifest.ziel else {
            return Err("keine XÖV-Nachricht".into());
        };
        let package = instance.schemas.find(standard, version).ok_or("das Profil")?;
        let schema = package.message(root).map_err(|problem| format!("{problem:?}"))?;
        let mut whole = run.tree.clone();
        let receiver = &generation.receivers.get(receiver).ok_or("der Empfänger")?.identity;
        head::add(
            &mut whole,
            &schema,
            &head::Head {
                reader: receiver,
                author: receiver,
                stage: Stage::Test,
                uuid: uuid::Uuid::from_u128(1),
                created: case::moment(),
            },
        );
        let options = WriteOptions { pins: mapping.manifest.codelisten.clone(), schema_location: false };
        let written = schema.write(&whole, &options).map_err(said)?;
        schema.validate(&written.bytes, Some(&written.paths)).map_err(said)?;
        let profile = format!("xoev-schemas/{standard}-{version}");
        let entry = workspace().join(profile).join(schema.entry_document());
        let script = mapping.script.clone();
        Ok(Self { script, input, run, whole, schema, entry, options, written })
    }
}
