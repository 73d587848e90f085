// SPDX-License-Identifier: EUPL-1.2
//! The service's description (WSDL 1.1) with its schema inside, so that a SOAP stack needs one address only.

use std::fmt::Write;

use super::NS_BACKEND;
use crate::xml::escape;

/// Single values of `depositData`; `timestamp` is the only one that is no plain text.
const BEFORE_PARAMETERS: [&str; 3] = ["caller", "client", "clientId"];
const AFTER_PARAMETERS: [&str; 10] = [
    "customer",
    "customerId",
    "form",
    "formId",
    "id",
    "primaryDataAttachmentId",
    "primaryFormAttachmentId",
    "sender",
    "timestamp",
    "username",
];

/// The description of the service at `address`; with `login` it demands a UsernameToken with digest.
pub(super) fn wsdl(address: &str, login: bool) -> String {
    let mut location = String::new();
    escape(address, &mut location);
    let policy = if login { POLICY } else { "" };
    let reference = if login { r##"<wsp:PolicyReference URI="#anmeldung"/>"## } else { "" };
    let schema = schema();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<w:definitions name="ApplicationService" targetNamespace="{NS_BACKEND}" xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:b="{NS_BACKEND}" xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy">
{policy}<w:types>
{schema}</w:types>
<w:message name="deposit"><w:part name="parameters" element="b:deposit"/></w:message>
<w:message name="depositResponse"><w:part name="parameters" element="b:depositResponse"/></w:message>
<w:message name="ApplicationFault"><w:part name="fault" element="b:ApplicationFault"/></w:message>
<w:portType name="Application"><w:operation name="deposit">
<w:input message="b:deposit"/><w:output message="b:depositResponse"/><w:fault name="ApplicationFault" message="b:ApplicationFault"/>
</w:operation></w:portType>
<w:binding name="ApplicationPortBinding" type="b:Application">{reference}
<s:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
<w:operation name="deposit"><s:operation soapAction=""/>
<w:input><s:body use="literal"/></w:input><w:output><s:body use="literal"/></w:output>
<w:fault name="ApplicationFault"><s:fault name="ApplicationFault" use="literal"/></w:fault>
</w:operation></w:binding>
<w:service name="ApplicationService"><w:port name="ApplicationPort" binding="b:ApplicationPortBinding"><s:address location="{location}"/></w:port></w:service>
</w:definitions>
"#
    )
}

const POLICY: &str = r#"<wsp:Policy wsu:Id="anmeldung" xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" xmlns:sp="http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702"><sp:SupportingTokens><wsp:Policy><sp:UsernameToken sp:IncludeToken="http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702/IncludeToken/AlwaysToRecipient"><wsp:Policy><sp:HashPassword/></wsp:Policy></sp:UsernameToken></wsp:Policy></sp:SupportingTokens></wsp:Policy>
"#;

fn schema() -> String {
    let mut out = format!(
        "<x:schema xmlns:x=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xmime=\"http://www.w3.org/2005/05/xmlmime\" targetNamespace=\"{NS_BACKEND}\">\n"
    );
    for name in ["deposit", "depositResponse", "ApplicationFault"] {
        let _ = writeln!(out, "<x:element name=\"{name}\" type=\"b:{name}\"/>");
    }
    let one =
        |name: &str, kind: &str| format!("<x:element minOccurs=\"0\" name=\"{name}\" type=\"{kind}\"/>");
    let many = |name: &str, kind: &str| {
        format!(
            "<x:element maxOccurs=\"unbounded\" minOccurs=\"0\" name=\"{name}\" nillable=\"true\" type=\"{kind}\"/>"
        )
    };
    let texts = |names: &[&str]| -> String {
        names
            .iter()
            .map(|name| one(name, if *name == "timestamp" { "x:dateTime" } else { "x:string" }))
            .collect()
    };
    let content = "<x:element minOccurs=\"0\" name=\"content\" type=\"x:base64Binary\" \
                   xmime:expectedContentTypes=\"application/octet-stream\"/>";
    for (name, members) in [
        ("deposit", one("data", "b:depositData")),
        (
            "depositData",
            [
                many("attachments", "b:attachment"),
                texts(&BEFORE_PARAMETERS),
                many("customParameters", "b:entry"),
                texts(&AFTER_PARAMETERS),
            ]
            .concat(),
        ),
        (
            "attachment",
            [
                many("attributes", "b:entry"),
                content.to_owned(),
                texts(&["contentType", "description", "id", "name"]),
            ]
            .concat(),
        ),
        ("entry", texts(&["key", "value"])),
        ("depositResponse", one("return", "b:depositResult")),
        ("depositResult", many("attachments", "b:attachment") + &many("customParameters", "b:entry")),
        (
            "ApplicationFault",
            many("customParameters", "b:entry") + &texts(&["faultId", "message", "userMessage"]),
        ),
    ] {
        let _ = writeln!(
            out,
            "<x:complexType name=\"{name}\"><x:sequence>{members}</x:sequence></x:complexType>"
        );
    }
    out.push_str("</x:schema>\n");
    out
}

#[cfg(test)]
mod tests {
    use crate::xml;

    #[test]
    fn the_description_is_well_formed_whatever_the_address() {
        for login in [false, true] {
            let wsdl = super::wsdl("https://kop.example/a?b&c=\"<d>\"", login);
            let root = xml::read(wsdl.as_bytes()).unwrap();
            let address =
                root.child("service").and_then(|s| s.child("port")).and_then(|p| p.child("address"));
            assert_eq!(address.unwrap().attribute("", "location"), Some("https://kop.example/a?b&c=\"<d>\""));
            assert_eq!(root.child("Policy").is_some(), login);
        }
    }
}
