// SPDX-License-Identifier: EUPL-1.2
//! What a schema itself says about a code: whether it enumerates the values (then libxml2 checks them), which
//! version of the list it was made from and which column it uses. Read while a plan is compiled.

use crate::model::{At, Kind, Model, TypeRef};

const MAX_CHAIN: usize = 32;

/// Facts on a type, apart from its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coding {
    /// Its values are enumerated in the schema.
    pub(crate) enumerated: bool,
    /// Version of the code list named in the annotation.
    pub(crate) version: Option<Box<str>>,
    /// Id of the list's column named in the annotation.
    pub(crate) column: Option<Box<str>>,
}

impl Model {
    /// What the schema says about the codes of a type.
    pub(crate) fn coding(&self, reference: Option<&TypeRef>) -> Coding {
        let Some(TypeRef::At(at)) = reference else { return Coding::default() };
        let document = self.document(*at);
        let noted = |path: &[&str]| document.annotation(at.node, path).map(Into::into);
        Coding {
            enumerated: self.enumerated(*at, 0),
            version: noted(&["appinfo", "versionCodeliste", "version"]),
            column: noted(&["appinfo", "genutzteCodeSpalte"]),
        }
    }

    fn enumerated(&self, at: At, depth: usize) -> bool {
        if depth > MAX_CHAIN {
            return false;
        }
        let document = self.document(at);
        let named = |from: u32, qname: &str| {
            let (namespace, name) = document.qname(from, qname, self.target(at))?;
            self.global(Kind::Type, namespace, name)
        };
        let at_node = |node: u32| At { node, ..at };
        document.children(at.node).any(|(node, child)| match &*child.name {
            "simpleContent" => self.enumerated(at_node(node), depth + 1),
            "restriction" | "extension" => {
                document.children(node).any(|(_, facet)| &*facet.name == "enumeration")
                    || child
                        .attr("base")
                        .and_then(|base| named(node, base))
                        .is_some_and(|base| self.enumerated(base, depth + 1))
                    || document.children(node).any(|(inner, child)| {
                        &*child.name == "simpleType" && self.enumerated(at_node(inner), depth + 1)
                    })
            }
            "union" => {
                let members = child.attr("memberTypes").unwrap_or_default().split_ascii_whitespace();
                let mut members = members.map(|member| named(node, member));
                let mut inner = document.children(node);
                members.all(|member| member.is_some_and(|member| self.enumerated(member, depth + 1)))
                    && inner.all(|(inner, _)| self.enumerated(at_node(inner), depth + 1))
            }
            _ => false,
        })
    }
}
