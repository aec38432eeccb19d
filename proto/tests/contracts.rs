//! The contracts only grow, and say of each part what it is.
//!
//! `contracts.txt` beside this crate lists every field, value and method with its number and type, as released. What stands
//! there must stay; what is new is added with `UPDATE_CONTRACTS=1 cargo test -p catchment-proto --test contracts`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use catchment_proto::cluster::v1::{ControlRequest, Hello, ScopeState, control_request};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(catchment_proto::FILE_DESCRIPTOR_SET).expect("descriptors")
}

fn message_lines(prefix: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{prefix}.{}", message.name());
    lines.insert(format!("message {name}"));
    for field in &message.field {
        let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
        let kind = type_name(field);
        let optional = if field.proto3_optional() { "optional " } else { "" };
        lines.insert(format!(
            "field {name} {:05} {repeated}{optional}{kind} {}",
            field.number(),
            field.name()
        ));
    }
    for inner in &message.nested_type {
        message_lines(&name, inner, lines);
    }
    for inner in &message.enum_type {
        enum_lines(&name, inner, lines);
    }
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn enum_lines(prefix: &str, values: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &values.value {
        lines.insert(format!("value {prefix}.{} {:05} {}", values.name(), value.number(), value.name()));
    }
}

fn lines() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in &descriptors().file {
        for message in &file.message_type {
            message_lines(file.package(), message, &mut lines);
        }
        for values in &file.enum_type {
            enum_lines(file.package(), values, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |streams| if streams { "stream " } else { "" };
                lines.insert(format!(
                    "method {}.{}.{} ({}{}) returns ({}{})",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type().trim_start_matches('.'),
                    stream(method.server_streaming()),
                    method.output_type().trim_start_matches('.'),
                ));
            }
        }
    }
    lines
}

#[test]
fn nothing_that_was_released_is_taken_away_or_changed() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contracts.txt");
    let now = lines();
    if std::env::var_os("UPDATE_CONTRACTS").is_some() {
        let text = now.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        });
        std::fs::write(&path, text).unwrap();
    }
    let released: BTreeSet<String> =
        std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    let gone: Vec<_> = released.difference(&now).collect();
    assert!(gone.is_empty(), "taken away or changed, which breaks old programs: {gone:#?}");
    let new: Vec<_> = now.difference(&released).collect();
    assert!(new.is_empty(), "not in contracts.txt yet (see this file's head): {new:#?}");
}

#[test]
fn every_part_says_what_it_is() {
    let mut silent = Vec::new();
    for file in &descriptors().file {
        let documented: BTreeSet<&[i32]> = file
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .filter(|location| !location.leading_comments().trim().is_empty())
            .map(|location| location.path.as_slice())
            .collect();
        let mut check = |path: &[i32], name: String| {
            if !documented.contains(path) {
                silent.push(name);
            }
        };
        for (index, service) in (0..).zip(&file.service) {
            check(&[6, index], service.name().to_owned());
            for (at, method) in (0..).zip(&service.method) {
                check(&[6, index, 2, at], format!("{}.{}", service.name(), method.name()));
            }
        }
        for (index, values) in (0..).zip(&file.enum_type) {
            check_enum(&[5, index], values, &mut check);
        }
        for (index, message) in (0..).zip(&file.message_type) {
            check_message(&[4, index], message, &mut check);
        }
    }
    assert!(silent.is_empty(), "without a comment: {silent:#?}");
}

fn check_message(path: &[i32], message: &DescriptorProto, check: &mut impl FnMut(&[i32], String)) {
    check(path, message.name().to_owned());
    for (at, field) in (0..).zip(&message.field) {
        check(&[path, &[2, at]].concat(), format!("{}.{}", message.name(), field.name()));
    }
    for (at, inner) in (0..).zip(&message.nested_type) {
        check_message(&[path, &[3, at]].concat(), inner, check);
    }
    for (at, inner) in (0..).zip(&message.enum_type) {
        check_enum(&[path, &[4, at]].concat(), inner, check);
    }
}

fn check_enum(path: &[i32], values: &EnumDescriptorProto, check: &mut impl FnMut(&[i32], String)) {
    check(path, values.name().to_owned());
    for (at, value) in (0..).zip(&values.value) {
        check(&[path, &[2, at]].concat(), value.name().to_owned());
    }
}

/// A hello and a scope's state as the first release wrote them.
const HELLO: &str =
    "0a2f0a0470726f6412066e6f64652d311880d095ffbc312205302e322e302801320d31302e302e302e353a373430315007";
const SCOPE: &str =
    "0a0a1204c0000201180a2007120e08011204100818041204100118081a1508800210bb251a0d0880e2cfaa0610c09fbaffbc31";

fn hex(text: &str) -> Vec<u8> {
    let octet = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(octet).collect()
}

#[test]
fn old_messages_still_parse() {
    let request = ControlRequest::decode(hex(HELLO).as_slice()).unwrap();
    let hello = Hello {
        cluster: "prod".to_owned(),
        node_id: "node-1".to_owned(),
        incarnation: 1_700_000_000_000,
        version: "0.2.0".to_owned(),
        contract: 1,
        grpc_address: "10.0.0.5:7401".to_owned(),
        config_revision: 7,
        ..Hello::default()
    };
    assert_eq!(request.message, Some(control_request::Message::Hello(hello)));
    let state = ScopeState::decode(hex(SCOPE).as_slice()).unwrap();
    assert_eq!(state.key.as_ref().unwrap().exporter, [192, 0, 2, 1]);
    assert_eq!(state.layouts[0].fields.iter().map(|field| field.id).collect::<Vec<_>>(), [8, 1]);
    assert_eq!((state.definitions[0].id, state.definitions[0].port), (256, 4795));
    assert_eq!(state.encode_to_vec(), hex(SCOPE));
}

#[test]
fn what_a_later_release_adds_is_skipped() {
    // Field 4000, a string that no release has yet.
    let mut bytes = hex(HELLO);
    bytes.extend_from_slice(&hex("82fa01056c61746572"));
    assert_eq!(
        ControlRequest::decode(bytes.as_slice()).unwrap(),
        ControlRequest::decode(hex(HELLO).as_slice()).unwrap()
    );
}
