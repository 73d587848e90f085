// SPDX-License-Identifier: EUPL-1.2
//! JSON Schemas of the three files, so that editors complete and explain them. The tenant's one holds the
//! settings of every intake and connector kind that the binary has.

use std::sync::Arc;

use kop_connector_api::{ConnectorKind, HttpIntake, ScannerKind, SourceKind};
use serde_json::{Map, Value, json};

use crate::{config::MandantDatei, instance::InstanzDatei, manifest::Manifest};

/// JSON Schema of `kop.toml` with the settings of these scanners and of traces.
pub fn instance_schema(scanners: &[Arc<dyn ScannerKind>], traces: schemars::Schema) -> Value {
    let mut whole = schemars::schema_for!(InstanzDatei).to_value();
    let mut variants = Vec::new();
    for kind in scanners {
        let mut schema = part(&mut whole, &format!("virenpruefung_{}", kind.name()), kind.schema());
        require_kind(&mut schema, kind.name(), "Art der Virenprüfung");
        variants.push(schema);
    }
    if let Some(place) = whole.pointer_mut("/properties/virenpruefung") {
        let description = place["description"].take();
        *place = json!({ "description": description, "oneOf": variants });
    }
    let mut traces = part(&mut whole, "spuren", traces);
    if let Some(place) = whole.pointer_mut("/properties/spuren") {
        traces["description"] = place["description"].take();
        *place = traces;
    }
    whole
}

/// JSON Schema of `mapping.toml`.
pub fn mapping_schema() -> Value {
    schemars::schema_for!(Manifest).to_value()
}

/// JSON Schema of `mandant.toml` with the settings of these kinds, intakes and sources.
pub fn mandant_schema(
    kinds: &[Arc<dyn ConnectorKind>],
    intakes: &[Arc<dyn HttpIntake>],
    pulled: &[Arc<dyn SourceKind>],
) -> Value {
    let mut whole = schemars::schema_for!(MandantDatei).to_value();
    let mut variants = Vec::new();
    for kind in kinds {
        let mut schema = part(&mut whole, &format!("zustellung_{}", kind.name()), kind.schema());
        require_kind(&mut schema, kind.name(), "Art der Zustellung");
        variants.push(schema);
    }
    if let Some(place) = whole.pointer_mut("/$defs/EmpfaengerDatei/properties/zustellung") {
        let description = place["description"].take();
        *place = json!({ "description": description, "oneOf": variants });
    }
    let mut sources = Map::new();
    for intake in intakes {
        let schema = part(&mut whole, &format!("eingang_{}", intake.source()), intake.schema());
        sources.insert(intake.source().to_owned(), schema);
    }
    if let Some(place) = whole.pointer_mut("/properties/eingang") {
        let description = place["description"].take();
        *place = json!({
            "description": description, "type": "object", "properties": sources, "additionalProperties": false
        });
    }
    let mut variants = Vec::new();
    for kind in pulled {
        let mut schema = part(&mut whole, &format!("quelle_{}", kind.name()), kind.schema());
        require_kind(&mut schema, kind.name(), "Art der Quelle");
        if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
            let described = "Wann nach einem Fehlversuch noch einmal quittiert wird.";
            let schedule = json!({ "description": described, "$ref": "#/$defs/RetrySchedule" });
            properties.insert("wiederholung".into(), schedule);
        }
        variants.push(schema);
    }
    if let Some(place) = whole.pointer_mut("/properties/quelle") {
        let description = place["description"].take();
        *place = json!({
            "description": description, "type": "object", "additionalProperties": { "oneOf": variants },
            "propertyNames": { "pattern": "^[a-z0-9-]{1,63}$" }
        });
    }
    whole
}

/// A door's schema as a part of the whole: its definitions move to the whole's, under names of their own.
fn part(whole: &mut Value, prefix: &str, schema: schemars::Schema) -> Value {
    let mut schema = schema.to_value();
    let definitions = schema.as_object_mut().and_then(|object| {
        object.remove("$schema");
        object.remove("$defs")
    });
    rename(&mut schema, prefix);
    if let Some(Value::Object(definitions)) = definitions
        && let Some(target) =
            whole.as_object_mut().map(|object| object.entry("$defs").or_insert_with(|| json!({})))
        && let Some(target) = target.as_object_mut()
    {
        for (name, mut definition) in definitions {
            rename(&mut definition, prefix);
            target.insert(format!("{prefix}_{name}"), definition);
        }
    }
    schema
}

fn rename(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix("#/$defs/") {
                            *text = format!("#/$defs/{prefix}_{name}");
                        }
                    }
                    value => rename(value, prefix),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, prefix)),
        _ => {}
    }
}

fn require_kind(schema: &mut Value, name: &str, description: &str) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(properties) = object.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
        properties.insert("art".into(), json!({ "const": name, "description": description }));
    }
    if let Some(required) = object.entry("required").or_insert_with(|| json!([])).as_array_mut() {
        required.insert(0, json!("art"));
    }
}
